package mirror

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

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
	wrapped := fmt.Errorf("%s %s: %w%s", op, what, shorten(err), hint(err))
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

// shorten takes the method and address from in front of an error: the reference
// is named already, and addresses may hold tokens.
func shorten(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) {
		return &statusError{resp}
	}
	return err
}

type statusError struct{ resp *errcode.ErrorResponse }

func (e *statusError) Error() string {
	text := fmt.Sprintf("the registry answers %d %s", e.resp.StatusCode, http.StatusText(e.resp.StatusCode))
	for _, d := range e.resp.Errors {
		text += ": " + printable(d.Error())
	}
	return text
}

func (e *statusError) Unwrap() error { return e.resp }

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

func hint(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		resp    *errcode.ErrorResponse
		host    = hostOf(err)
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Sprintf(" (the registry speaks plain HTTP: --plain-http %s)", host)
	case errors.As(err, &unknown):
		return " (is it a private CA? --ca-file)"
	case errors.As(err, &resp) && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden):
		return fmt.Sprintf(" (airdeck login %s)", resp.URL.Host)
	}
	return ""
}

func hostOf(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		if parsed, perr := url.Parse(u.URL); perr == nil {
			return parsed.Host
		}
	}
	return "HOST"
}

// transferAttempts is how often a blob is tried. Each of an upload's requests is
// repeated on its own where it can be; this counts those that can't.
const transferAttempts = 5

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

// transient reports whether another try may succeed.
func transient(ctx context.Context, err error) bool {
	if ctx.Err() != nil || hasClass(err) || errors.Is(err, http.ErrSchemeMismatch) {
		return false
	}
	var (
		resp *errcode.ErrorResponse
		cert *tls.CertificateVerificationError
		netw net.Error
		urlw *url.Error
	)
	switch {
	case errors.As(err, &cert):
		return false
	case errors.As(err, &resp):
		return resp.StatusCode == http.StatusRequestTimeout || resp.StatusCode == http.StatusTooManyRequests ||
			resp.StatusCode >= 500 || isCode(resp, errcode.ErrorCodeBlobUploadUnknown, errcode.ErrorCodeBlobUploadInvalid)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return true
	case errors.As(err, &netw) && netw.Timeout():
		return true
	}
	// What is left of net/http's errors are broken connections in other words.
	return errors.As(err, &urlw) && !errors.Is(err, syscall.ECONNREFUSED) && !isLookup(err)
}

func isLookup(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns)
}

func isCode(resp *errcode.ErrorResponse, codes ...string) bool {
	for _, e := range resp.Errors {
		for _, c := range codes {
			if e.Code == c {
				return true
			}
		}
	}
	return false
}
