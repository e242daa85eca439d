package mirror

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/airdeck/airdeck/layout"
)

// noticedPause is how long a pause is that a person is told of.
const noticedPause = 5 * time.Second

// host is what is known of a host: how much it bears at once, and until when it wants
// to be left alone. A request has its turn until it is answered, and the download of a
// blob until its body ends. Who reads a body must not wait for another turn.
type host struct {
	name     string
	progress layout.Progress

	mu       sync.Mutex
	answered bool // once
	busy     int  // requests that have their turn
	limit    int  // of these; 0 is any number
	good     int  // answers since the limit was changed
	cuts     int  // how often it was halved
	queue    []chan struct{}
	until    time.Time // it wants to be left alone
	said     string    // with these words
}

// send sends a request when it is its turn and the host may be asked, and takes the time
// off what is left. passing says that the same request may have another answer later.
func (h *host) send(req *http.Request, base http.RoundTripper, left *time.Duration) (resp *http.Response, passing bool, err error) {
	cuts, err := h.enter(req)
	if err != nil {
		closeBody(req)
		return nil, false, err
	}
	leave := sync.OnceFunc(h.leave)
	begun := time.Now()
	defer func() { *left -= time.Since(begun) }()
	if err := h.rest(req.Context(), *left); err != nil {
		leave()
		closeBody(req)
		return nil, false, err
	}
	resp, err = base.RoundTrip(req)
	passing = passes(resp, err) && req.Context().Err() == nil
	h.learn(cuts, resp, passing)
	if err == nil && req.Method == http.MethodGet && resp.StatusCode/100 == 2 && asksForBlob(req) {
		resp.Body = turn{resp.Body, leave}
	} else {
		leave()
	}
	return resp, passing, err
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// turn is the body of a blob.
type turn struct {
	io.ReadCloser
	leave func()
}

func (t turn) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil {
		t.leave()
	}
	return n, err
}

func (t turn) Close() error {
	defer t.leave()
	return t.ReadCloser.Close()
}

// enter waits for the turn of a request, and gives how often the limit had been halved
// by then. A request for a range goes on with a download that has its turn: oras-go
// ends the one when the other has begun.
func (h *host) enter(req *http.Request) (cuts int, err error) {
	ctx := req.Context()
	h.mu.Lock()
	defer h.mu.Unlock()
	if req.Header.Get("Range") != "" {
		h.busy++
		return h.cuts, nil
	}
	mine := make(chan struct{})
	h.queue = append(h.queue, mine)
	h.admit()
	h.mu.Unlock()
	select {
	case <-mine:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	h.mu.Lock()
	if err == nil {
		return h.cuts, nil
	}
	if i := slices.Index(h.queue, mine); i >= 0 {
		h.queue = slices.Delete(h.queue, i, i+1)
	} else { // the turn came all the same
		h.busy--
		h.admit()
	}
	return 0, err
}

// admit gives those who wait their turn, as far as there is room. h.mu is held.
func (h *host) admit() {
	for len(h.queue) > 0 && (h.limit == 0 || h.busy < h.limit) {
		close(h.queue[0])
		h.queue = h.queue[1:]
		h.busy++
	}
}

func (h *host) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy--
	h.admit()
}

// learn halves what may be under way at once if a request failed that was begun since
// it was halved last, and lets it grow by one when as many went well.
func (h *host) learn(cuts int, resp *http.Response, passing bool) {
	var pause time.Duration
	var said string
	if passing && resp != nil {
		if pause, _ = retryAfter(resp.Header); pause > 0 {
			said = refusal(resp).Error()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answered = h.answered || resp != nil
	switch {
	case passing && cuts == h.cuts:
		h.limit, h.good = max(1, h.busy/2), 0
		h.cuts++
	case !passing && resp != nil && h.limit > 0:
		if h.good++; h.good >= h.limit {
			h.limit, h.good = h.limit+1, 0
			h.admit()
		}
	}
	if until := time.Now().Add(pause); pause > 0 && until.After(h.until) {
		if until.Sub(h.until) >= noticedPause && pause >= noticedPause && pause <= Patience {
			h.progress.Note(fmt.Sprintf("%s asks for a pause of %s", h.name, pause.Round(time.Second)))
		}
		h.until, h.said = until, said
	}
}

// rest lasts until the host may be asked.
func (h *host) rest(ctx context.Context, left time.Duration) error {
	for {
		h.mu.Lock()
		pause, said := time.Until(h.until), h.said
		h.mu.Unlock()
		if pause <= 0 {
			return nil
		}
		if left -= pause; left < 0 {
			return layout.Errorf(layout.ClassRemote, "%s, and asks for a pause of %s (a request is given up after %s; a later run goes on from here)", said, pause.Round(time.Second), Patience)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// repeats is how often a request is repeated.
func (h *host) repeats() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.answered {
		return repeats
	}
	return firstRepeats
}
