package offline

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// variable says what this process is to try.
const variable = "AIRDECK_TEST_OFFLINE"

func TestMain(m *testing.M) {
	what := os.Getenv(variable)
	if what == "" {
		os.Exit(m.Run())
	}
	err := map[string]func() error{"sockets": KillSockets, "datagrams": KillDatagrams, "network": Loopback}[what]()
	if err == nil {
		_, err = net.Dial(os.Args[1], os.Args[2])
	}
	fmt.Fprintln(os.Stderr, err)
	if errors.Is(err, syscall.ECONNREFUSED) {
		os.Exit(10)
	}
	if errors.Is(err, syscall.ENETUNREACH) {
		os.Exit(11)
	}
	os.Exit(1)
}

func try(what, network, address string) *exec.Cmd {
	c := exec.Command(os.Args[0], network, address)
	c.Env = append(os.Environ(), variable+"="+what)
	return c
}

// nobody listens there.
const nobody = "127.0.0.1:9"

func TestKilled(t *testing.T) {
	for _, tt := range []struct {
		what, network string
		killed        bool
	}{{"sockets", "tcp", true}, {"sockets", "udp", true}, {"datagrams", "udp", true}, {"datagrams", "tcp", false}} {
		c := try(tt.what, tt.network, nobody)
		out, err := c.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("%+v: %v\n%s", tt, err, out)
		}
		if got := exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGSYS; got != tt.killed {
			t.Errorf("%+v: %v\n%s", tt, err, out)
		}
		if !tt.killed && exit.ExitCode() != 10 {
			t.Errorf("%+v: %v\n%s", tt, err, out)
		}
	}
}

// Where there is such a network, it has a loopback device and no way out.
func TestIsolated(t *testing.T) {
	for address, want := range map[string]int{nobody: 10, "192.0.2.1:443": 11} {
		c := try("network", "tcp", address)
		Isolate(c)
		out, err := c.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() == 1 {
			t.Skipf("no network of our own: %v\n%s", err, out)
		}
		if exit.ExitCode() != want {
			t.Errorf("%s: %v\n%s", address, err, out)
		}
	}
}
