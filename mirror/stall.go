package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// stalledError ends a transfer that moves no byte. It is a timeout to those who
// decide about repeating.
type stalledError struct{ after time.Duration }

func (e *stalledError) Error() string {
	return fmt.Sprintf("the registry moved no byte for %s", e.after)
}
func (e *stalledError) Timeout() bool   { return true }
func (e *stalledError) Temporary() bool { return true }

// answerFactor is how much longer than for a byte an answer to an upload may
// take: registries on object stores copy the blob to its place before they
// answer.
const answerFactor = 5

// stallTransport gives up requests that move no byte in either direction for a
// while. There is no limit on the whole: a blob of 100 GB takes as long as it
// takes.
type stallTransport struct {
	base    http.RoundTripper
	timeout time.Duration
}

func (t *stallTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{ctx: ctx, timeout: t.timeout}
	w.timer = time.AfterFunc(t.timeout, func() { cancel(&stalledError{t.timeout}) })
	w.stop = func() { w.timer.Stop(); cancel(nil) }
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watchedBody{rc: req.Body, w: w, upload: true}
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		err = w.cause(err)
		w.stop()
		return nil, err
	}
	w.moved(1)
	resp.Body = &watchedBody{rc: resp.Body, w: w}
	return resp, nil
}

type watch struct {
	ctx     context.Context // of the request
	timeout time.Duration
	timer   *time.Timer
	stop    func()
}

func (w *watch) moved(factor int) { w.timer.Reset(w.timeout * time.Duration(factor)) }

// cause tells a stall from what it looks like to the transport: a cancelled
// request.
func (w *watch) cause(err error) error {
	var s *stalledError
	if errors.As(context.Cause(w.ctx), &s) {
		return s
	}
	return err
}

type watchedBody struct {
	rc     io.ReadCloser
	w      *watch
	upload bool
	once   sync.Once
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.rc.Read(p)
	switch {
	case b.upload && err == io.EOF:
		b.w.moved(answerFactor)
	case err == nil:
		b.w.moved(1)
	case err != io.EOF:
		err = b.w.cause(err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	if !b.upload {
		b.once.Do(b.w.stop)
	}
	return b.rc.Close()
}
