package registrytest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
)

// Fault is something that goes wrong. What is wrong with an answer is wrong with
// those to who may ask; the rest meets everybody.
type Fault struct {
	Method string         // "" is any
	Path   *regexp.Regexp // nil is any
	Skip   int            // requests that fit and go well first
	Times  int            // requests that fail; 0 is all

	Status int               // answer with this
	Code   string            // and this error code of the distribution protocol
	Header map[string]string // set in the answer, whether or not Status is set; "" removes

	Drop      bool  // close the connection without an answer
	CutSend   int64 // >0: break the connection after so many bytes of the request
	CutBody   int64 // >0: break the connection after so many bytes of the answer
	Stall     bool  // answer nothing until the client has gone
	StallSend int64 // >0: read so many bytes of the request, and then nothing
	StallBody int64 // >0: send so many bytes of the answer, and then nothing

	Body   func([]byte) []byte // what becomes of the body of the answer
	Answer http.HandlerFunc    // answers in the place of the registry
}

// Silent reports whether a client has to wait for what does not come.
func (f Fault) Silent() bool { return f.Stall || f.StallSend > 0 || f.StallBody > 0 }

// Fits reports whether a request is one that the fault is about.
func (f Fault) Fits(method, path string) bool {
	return (f.Method == "" || f.Method == method) && (f.Path == nil || f.Path.MatchString(path))
}

// Fail adds faults. The first that fits a request decides.
func (r *Registry) Fail(faults ...Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range faults {
		r.faults = append(r.faults, &f)
	}
}

// Struck counts the requests since the last Reset that met a fault.
func (r *Registry) Struck() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.struck
}

// fault finds the fault that a request meets. r.mu is held.
func (r *Registry) fault(req *http.Request) *Fault {
	for _, f := range r.faults {
		if !f.Fits(req.Method, req.URL.Path) {
			continue
		}
		if f.changes() && req.URL.Path != tokenPath && !r.authorized(req) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times < 0 {
			continue
		}
		if f.Times == 1 {
			f.Times = -1 // spent
		} else if f.Times > 1 {
			f.Times--
		}
		r.struck++
		return f
	}
	return nil
}

// changes is true for a fault that changes what the registry answers.
func (f *Fault) changes() bool {
	return f.Status == 0 && f.Answer == nil && !f.Drop && !f.Stall && f.CutSend == 0 && f.StallSend == 0
}

// fail answers a request that meets a fault.
func (r *Registry) fail(w http.ResponseWriter, req *http.Request, f *Fault) {
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Stall:
		// The server notices that a client has gone when it has read the request.
		go func() { _, _ = io.Copy(io.Discard, req.Body) }()
		r.silence(req)
	case f.CutSend > 0:
		_, _ = io.CopyN(io.Discard, req.Body, f.CutSend)
		panic(http.ErrAbortHandler)
	case f.StallSend > 0:
		_, _ = io.CopyN(io.Discard, req.Body, f.StallSend)
		r.silence(req)
	case f.Answer != nil:
		f.Answer(w, req)
	case f.Status != 0:
		_, _ = io.Copy(io.Discard, req.Body)
		f.header(w)
		answer(w, f.Status, f.Code)
	default:
		r.changed(w, req, f)
	}
}

// changed gives what the registry answers, and something is wrong with it.
func (r *Registry) changed(w http.ResponseWriter, req *http.Request, f *Fault) {
	rec := httptest.NewRecorder()
	r.honest(rec, req)
	body := rec.Body.Bytes()
	if f.Body != nil {
		body = f.Body(body)
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	if req.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	f.header(w)
	w.WriteHeader(rec.Code)
	send := func(n int64) {
		_, _ = w.Write(body[:n])
		_ = http.NewResponseController(w).Flush()
	}
	switch n := int64(len(body)); {
	case f.CutBody > 0 && f.CutBody < n:
		send(f.CutBody)
		panic(http.ErrAbortHandler)
	case f.StallBody > 0 && f.StallBody < n:
		send(f.StallBody)
		r.silence(req)
	default:
		_, _ = w.Write(body)
	}
}

func (f *Fault) header(w http.ResponseWriter) {
	for k, v := range f.Header {
		if v == "" {
			w.Header().Del(k)
		} else {
			w.Header().Set(k, v)
		}
	}
}

// silence lasts until the client or the registry goes.
func (r *Registry) silence(req *http.Request) {
	select {
	case <-req.Context().Done():
	case <-r.closed:
	}
	panic(http.ErrAbortHandler)
}

func answer(w http.ResponseWriter, status int, code string) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	if code != "" {
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"as the test has it"}]}`, code)
	}
}
