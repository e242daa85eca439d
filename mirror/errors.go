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
	"regexp"
	"slices"
	"strings"

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

// shorten takes methods and addresses out of an error: the reference is named
// already, and addresses may hold tokens. Of what is no address of a registry, the
// host and the path stay.
func shorten(err error) error {
	var (
		u    *url.Error
		resp *errcode.ErrorResponse
	)
	text := err.Error()
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		text = "the registry asks for a user name and a password"
	case errors.As(err, &u):
		text = strings.ReplaceAll(text, u.Error(), broken(u.Err))
	case errors.As(err, &resp):
		text = strings.ReplaceAll(text, resp.Error(), answered(resp.StatusCode, resp.Errors))
	}
	return &rephrased{err, withoutAddresses(text)}
}

// answered says what a registry answers.
func answered(status int, errs errcode.Errors) string {
	said := fmt.Sprintf("the registry answers %d %s", status, http.StatusText(status))
	for _, e := range errs {
		said += ": " + printable(e.Error())
	}
	return said
}

// broken says what net/http says of a connection that ends.
func broken(err error) string {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection broke off in the answer"
	case errors.Is(err, io.EOF):
		return "the connection was closed without an answer"
	}
	return err.Error()
}

// request is how net/http and oras-go name one.
var request = regexp.MustCompile(`\b[A-Za-z]+ "(https?://[^"]*)": `)

func withoutAddresses(text string) string {
	return request.ReplaceAllStringFunc(text, func(s string) string {
		u, err := url.Parse(request.FindStringSubmatch(s)[1])
		if err != nil || strings.HasPrefix(u.Path, "/v2/") {
			return ""
		}
		return u.Host + u.Path + ": "
	})
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

// again runs a transfer until it succeeds, fails for good, or has failed too
// often.
func again(ctx context.Context, transfer func() error) error {
	for attempt := 0; ; attempt++ {
		err := transfer()
		if err == nil || attempt == transferAttempts-1 || !transient(ctx, err) {
			return err
		}
		if err := sleep(ctx, retry.DefaultBackoff(attempt, nil)); err != nil {
			return err
		}
	}
}

// againIfCorrupt asks once more for content that does not hash: a cache on the way may
// have been at fault.
func againIfCorrupt(transfer func() error) error {
	err := transfer()
	var corrupt *layout.CorruptError
	if errors.As(err, &corrupt) {
		err = transfer()
	}
	return err
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
