package trust_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
)

// dials counts what tried to open a connection.
var dials atomic.Int64

type refusing struct{}

var errDial = errors.New("a test of this package opens a connection")

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	dials.Add(1)
	return nil, errDial
}

// alone makes the process one that can't open a connection, where the system has a
// way to; see TestOffline.
var alone = func() error { return nil }

// Nothing here opens a connection: what goes by the defaults of net/http or asks for
// a name is counted, and fails the tests.
func TestMain(m *testing.M) {
	http.DefaultTransport = refusing{}
	http.DefaultClient = &http.Client{Transport: refusing{}}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, errDial
	}}
	if err := alone(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	code := m.Run()
	if n := dials.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "%d times: %v\n", n, errDial)
		code = 1
	}
	os.Exit(code)
}
