package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/airdeck/airdeck/layout"
)

// Patience is how long one request may take with its repetitions and the pauses before
// them; waiting for the turn does not count. A registry that wants to be left alone for
// longer than is left of it is not asked again in this run: asked earlier it would
// refuse again, and count that too.
const Patience = 15 * time.Minute

const (
	// repeats is how often a request is repeated, and firstRepeats how often while its
	// host has never answered: that is more likely mistyped than restarting.
	repeats, firstRepeats = 5, 1
	// leastPause is how long nobody is asked again, whatever he says.
	leastPause = 100 * time.Millisecond
)

// repeater repeats what passes, if it has no body or one that can be rewound, and has
// no more under way at a host than it bears. It marks the errors of requests that were
// repeated in vain, so that they are not repeated by [again] as well.
type repeater struct {
	base     http.RoundTripper
	progress layout.Progress
	hosts    sync.Map // of *host, by name
}

func newRepeater(base http.RoundTripper, progress layout.Progress) *repeater {
	return &repeater{base: base, progress: progress}
}

func (r *repeater) host(name string) *host {
	h, ok := r.hosts.Load(name)
	if !ok {
		h, _ = r.hosts.LoadOrStore(name, &host{name: name, progress: r.progress})
	}
	return h.(*host)
}

func (r *repeater) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.repeat(req)
	if err != nil && repeatable(req) {
		err = &exhaustedError{err}
	}
	return resp, err
}

func (r *repeater) repeat(req *http.Request) (*http.Response, error) {
	h, left := r.host(req.URL.Host), Patience
	for attempt := 0; ; attempt++ {
		resp, passing, err := h.send(req, r.base, &left)
		if !passing || attempt >= h.repeats() {
			return resp, err
		}
		next, ok := rewind(req)
		if !ok {
			return resp, err
		}
		pause := retry.DefaultBackoff(attempt, nil)
		if resp != nil {
			if _, ok := retryAfter(resp.Header); ok {
				pause = leastPause // the host is left alone for the rest of it
			}
			err = refusal(resp)
			resp.Body.Close()
		}
		if left -= pause; left < 0 {
			return nil, fmt.Errorf("%w (given up after %s; a later run goes on from here)", err, Patience)
		}
		if err := sleep(req.Context(), pause); err != nil {
			return nil, err
		}
		req = next
	}
}

// rewind gives a request that can be sent once more.
func rewind(req *http.Request) (*http.Request, bool) {
	if !repeatable(req) {
		return nil, false
	}
	if req.GetBody == nil {
		return req, true
	}
	b, err := req.GetBody()
	req = req.Clone(req.Context())
	req.Body = b
	return req, err == nil
}

// repeatable is true for requests without a body, and with one that can be
// rewound.
func repeatable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

type exhaustedError struct{ err error }

func (e *exhaustedError) Error() string { return e.err.Error() }
func (e *exhaustedError) Unwrap() error { return e.err }

// passes reports whether the same request may have another answer in a while.
func passes(resp *http.Response, err error) bool {
	if err != nil {
		return brokenConnection(err)
	}
	// What is not implemented will not be in a minute either.
	return resp.StatusCode == http.StatusRequestTimeout || resp.StatusCode == http.StatusTooManyRequests ||
		resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented && !isVerdict(resp)
}

// isVerdict reports whether a registry has refused a manifest for what is in it,
// whatever status it gives that: distribution answers 500 where it does not like
// the addresses of a layer.
func isVerdict(resp *http.Response) bool {
	return resp.Request != nil && resp.Request.Method == http.MethodPut &&
		isCode(words(resp), errcode.ErrorCodeManifestBlobUnknown, errcode.ErrorCodeManifestInvalid, errcode.ErrorCodeManifestUnknown)
}

// maxErrorSize bounds what is read of an answer that says what went wrong, in bytes.
const maxErrorSize = 64 << 10

// words are what an answer lists as having gone wrong. The body can be read again.
func words(resp *http.Response) errcode.Errors {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorSize))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b), resp.Body), resp.Body}
	var said struct{ Errors errcode.Errors }
	if err != nil || json.Unmarshal(b, &said) != nil {
		return nil
	}
	return said.Errors
}

// refusal is an answer as an error.
func refusal(resp *http.Response) error {
	return layout.Errorf(layout.ClassRemote, "%s", answered(resp.StatusCode, words(resp)))
}

// retryAfter reads both forms of RFC 9110, section 10.2.3. A date is compared with that
// of the answer, where there is one: clocks differ.
func retryAfter(h http.Header) (time.Duration, bool) {
	const longest = 365 * 24 * time.Hour
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s >= 0 || errors.Is(err, strconv.ErrRange) && v[0] != '-' {
		return time.Duration(min(s, int(longest/time.Second))) * time.Second, true
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(0, t.Sub(now)), longest), true
}

// sleep lasts for a while, or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
