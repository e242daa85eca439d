package vectors_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/internal/offline"
)

// strict is set where a system that gives us no network without routes is a failure.
const strict = "AIRDECK_NAMESPACES"

// The work with signatures again, in a network of its own that has a loopback device
// and no routes.
func TestWithoutRoutes(t *testing.T) {
	if os.Getenv(binaryVariable) != "" {
		return // this is there
	}
	names := []string{
		"bundle", "bundle-wrong-key", "bundle-threshold", "artifact-referrer", "artifact-wrong-key", "artifact-tag", "artifact-attested",
		"artifact-keyless", "artifact-keyless-tag", "artifact-keyless-expired", "artifact-keyless-stranger", "artifact-keyless-log-expired",
	}
	c := exec.Command(os.Args[0], "-test.v", "-test.run", "^(TestSignedWork|TestVectors)$/^signed-("+strings.Join(names, "|")+")$")
	c.Env = append(os.Environ(), binaryVariable+"="+airdeckBinary)
	offline.Isolate(c)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() == refused) {
		const remedy = "allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns; in a container its seccomp profile)"
		if os.Getenv(strict) == "" {
			t.Skipf("no network of our own: %v: %s\n%s", err, remedy, out)
		}
		t.Fatalf("no network of our own: %v: %s\n%s", err, remedy, out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range append(names, "") {
		want := "--- PASS: TestVectors/signed-" + name + " "
		if name == "" {
			want = "--- PASS: TestSignedWork "
		}
		if !strings.Contains(string(out), want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}

// An airdeck that is not to talk with a registry is killed when it would.
func TestKilledAtSocket(t *testing.T) {
	d := newDesk(t)
	d.write("password", "secret\n")
	o := run(t, launched{Args: []string{airdeckBinary, "login", d.registry.Host, "--username", "x", "--password-stdin"}, Stdin: d.path("password"), Out: d.path("home"), Env: os.Environ()})
	if o.Code != -1 {
		t.Errorf("exit code %d: it lives on\n%s", o.Code, o.Stderr)
	}
}
