package mirror

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/airdeck/airdeck/layout"
)

// explain says what failed with which registry, in one line with a remedy where
// there is one. What is no fault of this machine or of the content has
// [layout.ClassRemote].
func explain(op, what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	host, _, _ := strings.Cut(what, "/")
	wrapped := fmt.Errorf("%s %s: %w%s", op, what, shorten(err), hint(host, err))
	if errors.Is(err, layout.ErrNotFound) || hasClass(err) {
		return wrapped
	}
	return &layout.Error{Class: layout.ClassRemote, Err: wrapped}
}

func hasClass(err error) bool {
	var e *layout.Error
	var c *layout.CorruptError
	return errors.As(err, &e) || errors.As(err, &c)
}

// shorten takes the method and address out of an error: the reference is named
// already, and addresses may hold tokens.
func shorten(err error) error {
	var (
		u    *url.Error
		resp *errcode.ErrorResponse
	)
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return &rephrased{err, "the registry asks for a user name and a password"}
	case errors.As(err, &u):
		return &rephrased{err, strings.ReplaceAll(err.Error(), u.Error(), u.Err.Error())}
	case errors.As(err, &resp):
		text := fmt.Sprintf("the registry answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
		for _, d := range resp.Errors {
			text += ": " + printable(d.Error())
		}
		return &rephrased{err, strings.ReplaceAll(err.Error(), resp.Error(), text)}
	}
	return err
}

// rephrased is an error in other words.
type rephrased struct {
	err  error
	text string
}

func (e *rephrased) Error() string { return e.text }
func (e *rephrased) Unwrap() error { return e.err }

// printable keeps a registry's words to one line of plain text.
func printable(s string) string {
	out := []rune(s)
	if len(out) > 200 {
		out = append(out[:200], '…')
	}
	for i, r := range out {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			out[i] = ' '
		}
	}
	return string(out)
}

func hint(host string, err error) string {
	var (
		unknown x509.UnknownAuthorityError
		noTLS   tls.RecordHeaderError
		resp    *errcode.ErrorResponse
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &noTLS):
		return fmt.Sprintf(" (the registry speaks plain HTTP: --plain-http %s)", host)
	case errors.As(err, &unknown):
		return " (is it a private CA? --ca-file)"
	case errors.Is(err, auth.ErrBasicCredentialNotFound),
		errors.As(err, &resp) && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden):
		return fmt.Sprintf(" (airdeck login %s)", host)
	}
	return ""
}

// transferAttempts is how often a transfer is tried that can't be repeated as a
// request: the upload of a blob, and the reading of an answer's body.
const transferAttempts = 5

// repeater marks the errors of requests that were repeated in vain, so that they
// are not repeated by [again] as well.
type repeater struct {
	patient, first http.RoundTripper
	answered       sync.Map // hosts that have answered once
}

// newRepeater repeats what passes. A host that never answered is more likely
// mistyped than restarting, and gets one more chance.
func newRepeater(base http.RoundTripper) *repeater {
	transport := func(attempts int) http.RoundTripper {
		p := requestPolicy
		p.MaxRetry = attempts
		return &retry.Transport{Base: base, Policy: func() retry.Policy { return &p }}
	}
	return &repeater{patient: transport(5), first: transport(1)}
}

func (r *repeater) RoundTrip(req *http.Request) (*http.Response, error) {
	base := r.patient
	if _, ok := r.answered.Load(req.URL.Host); !ok {
		base = r.first
	}
	resp, err := base.RoundTrip(req)
	if err == nil {
		r.answered.Store(req.URL.Host, true)
		// Now that the host is known to be there, its first answer may be waited out.
		if passes, _ := requestPolicy.Retryable(resp, nil); passes && base == r.first {
			if again, ok := rewind(req); ok {
				resp.Body.Close()
				return r.patient.RoundTrip(again)
			}
		}
		return resp, nil
	}
	if repeatable(req) {
		err = &exhaustedError{err}
	}
	return nil, err
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

// again runs a transfer until it succeeds, fails for good, or has failed too
// often.
func again(ctx context.Context, transfer func() error) error {
	for attempt := 0; ; attempt++ {
		err := transfer()
		if err == nil || attempt == transferAttempts-1 || !transient(ctx, err) {
			return err
		}
		pause := time.NewTimer(retry.DefaultBackoff(attempt, nil))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
	}
}

// body marks what goes wrong while an answer is read. HTTP/2 has words of its own
// for a connection that breaks.
type body struct{ io.ReadCloser }

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &bodyError{err}
	}
	return n, err
}

type bodyError struct{ err error }

func (e *bodyError) Error() string { return e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// brokenConnection tells a connection that could not be made or broke from a
// request that nobody will answer otherwise.
func brokenConnection(err error) bool {
	var (
		cert *tls.CertificateVerificationError
		dns  *net.DNSError
	)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, http.ErrSchemeMismatch),
		errors.As(err, &cert), errors.As(err, &dns) && !dns.IsTemporary, errors.Is(err, fs.ErrClosed), hasClass(err):
		return false
	}
	return true
}

// transient reports whether another try may succeed.
func transient(ctx context.Context, err error) bool {
	var (
		exhausted *exhaustedError
		resp      *errcode.ErrorResponse
		urlw      *url.Error
	)
	switch {
	case ctx.Err() != nil, errors.As(err, &exhausted):
		return false
	case errors.As(err, &resp):
		// Answers to other methods were asked for again already. A token may expire
		// during an upload; the next one begins with a new token.
		return resp.Method == http.MethodPut && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusRequestTimeout ||
			resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 ||
			isCode(resp.Errors, errcode.ErrorCodeBlobUploadUnknown, errcode.ErrorCodeBlobUploadInvalid))
	}
	var body *bodyError
	return (errors.As(err, &urlw) || errors.As(err, &body)) && brokenConnection(err)
}

func isCode(errs errcode.Errors, codes ...string) bool {
	return slices.ContainsFunc(errs, func(e errcode.Error) bool { return slices.Contains(codes, e.Code) })
}
