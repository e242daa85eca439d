package trust_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/airdeck/airdeck/internal/offline"
)

// offlineVariable is set for a process that is to be killed when it makes a socket: alone,
// or also in a network without routes. It may be told to make one.
const offlineVariable = "AIRDECK_TEST_OFFLINE"

func init() {
	alone = func() error {
		mode := os.Getenv(offlineVariable)
		if mode == "" {
			return nil
		}
		if err := offline.KillSockets(); err != nil {
			return err
		}
		if mode == "dial" {
			_, err := net.Dial("tcp", "127.0.0.1:9")
			return fmt.Errorf("a socket was made: %w", err)
		}
		return nil
	}
}

// The tests again, in a process that is killed when it makes a socket, and in a
// network of its own where the system lets us have one.
func TestOffline(t *testing.T) {
	if os.Getenv(offlineVariable) != "" {
		return // this is that process
	}
	run := func(mode string, namespace bool) (string, error) {
		// What takes long does nothing that the others do not.
		c := exec.Command(os.Args[0], "-test.skip", "TestTooManySignatures")
		c.Env = append(os.Environ(), offlineVariable+"="+mode)
		if namespace {
			offline.Isolate(c)
		}
		out, err := c.CombinedOutput()
		return string(out), err
	}
	var exit *exec.ExitError
	if out, err := run("dial", false); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
		t.Fatalf("a process that makes a socket lives on: %v\n%s", err, out)
	}
	out, err := run("tests", true)
	if err != nil && !errors.As(err, &exit) { // it did not start: namespaces are not for us here
		t.Logf("no network of our own: %v", err)
		out, err = run("tests", false)
	}
	if err != nil || !strings.Contains(out, "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}
