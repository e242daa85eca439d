package mirror

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// The registry of the fuzz targets, and a secret that no other host must see. Other
// hosts are addresses: a name would be looked up where there is no network.
const (
	liarHost   = "r.io"
	liarSecret = "c4n4ry-s3cr3t"
	tokenPath  = "/token"
)

// liar is a transport to a registry that changes answers as the dice have it, and
// none any more when these have come to their end. The answers are what a real
// transport would make of their bytes. It watches over what is sent.
type liar struct {
	t       *testing.T
	honest  http.Handler
	private bool // it asks for a user name

	mu      sync.Mutex
	dice    *storagetest.Dice
	sent    func(req *http.Request, body []byte)                      // before the answer
	granted func(req *http.Request, body []byte, resp *http.Response) // for an answer that says yes
}

func (l *liar) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "" || req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return nil, fmt.Errorf("no address: %q", req.URL.Redacted())
	}
	l.guard(req)
	body, err := l.read(req)
	if err != nil {
		return nil, err
	}
	resp, err := l.answer(req, body)
	if err != nil && errors.Is(err, errStall) {
		<-req.Context().Done()
		return nil, context.Cause(req.Context())
	}
	return resp, err
}

func (l *liar) answer(req *http.Request, body []byte) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent != nil {
		l.sent(req, body)
	}
	if !strings.EqualFold(req.URL.Hostname(), liarHost) {
		return parse(req, answerOf(http.StatusNotFound, nil, nil), nil)
	}
	rec := httptest.NewRecorder()
	if user, _, _ := req.BasicAuth(); l.private && user == "" {
		rec.Header().Set("WWW-Authenticate", `Basic realm="liar"`)
		rec.WriteHeader(http.StatusUnauthorized)
	} else if req.URL.Path == tokenPath {
		_, _ = rec.WriteString(`{"token":"t","access_token":"t"}`)
	} else {
		again := req.Clone(req.Context())
		again.Body, again.RequestURI = io.NopCloser(bytes.NewReader(body)), req.URL.RequestURI()
		l.honest.ServeHTTP(rec, again)
	}
	status, header, content := rec.Code, rec.Header(), rec.Body.Bytes()
	if req.Method != http.MethodHead && header.Get("Content-Length") == "" {
		header.Set("Content-Length", fmt.Sprint(len(content)))
	}
	if req.Method == http.MethodHead {
		content = nil
	}
	raw, broken := l.lie(req, status, header, content)
	if raw == nil {
		return nil, broken
	}
	resp, err := parse(req, raw, broken)
	if err == nil && resp.StatusCode < 300 && l.granted != nil {
		l.granted(req, body, resp)
	}
	return resp, err
}

// read takes what the client sends, and gives up as it does.
func (l *liar) read(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer req.Body.Close()
	return io.ReadAll(req.Body)
}

// guard looks for the secret.
func (l *liar) guard(req *http.Request) {
	user, password, basic := req.BasicAuth()
	secret := basic && user+password != "" || strings.Contains(req.URL.String(), liarSecret) || strings.Contains(fmt.Sprint(req.Header), liarSecret)
	if secret && (req.URL.Scheme != "https" || !strings.EqualFold(req.URL.Hostname(), liarHost)) {
		l.t.Errorf("the credential is sent to %s", req.URL.Redacted())
	}
}

var (
	liarStatuses = []int{200, 201, 202, 204, 206, 301, 307, 308, 400, 401, 403, 404, 405, 408, 416, 429, 500, 501, 503}
	liarHeaders  = []string{
		"Docker-Content-Digest", "Content-Length", "Content-Type", "Location", "Link", "WWW-Authenticate", "Retry-After", "OCI-Subject",
		"Content-Range", "Range", "Accept-Ranges", "Content-Encoding", "Transfer-Encoding", "OCI-Filters-Applied", "Docker-Upload-UUID",
	}
	liarValues = []string{
		"", "0", "1", "-1", "9223372036854775807", "99999999999999999999", "bytes", "bytes 0-0/1", "bytes 5-1/*", "chunked", "gzip", "text/html",
		ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, "application/json; charset=utf-8", ";;", "sha256:short", digest.FromString("lie").String(),
		"https://192.0.2.7/v2/", "http://r.io/v2/", "https://r.io/v2/a/blobs/uploads/x", "/v2/a/blobs/uploads/../../..", "//192.0.2.7", "::", "?n=1&last=x",
		`<https://192.0.2.7/v2/>; rel="next"`, `</v2/a/referrers/x?p=2>; rel="next"`, "<", `Basic realm="x"`,
		`Bearer realm="https://r.io/token",service="r.io"`, `Bearer realm="https://r.io/token",scope="repository:a:pull"`, `Bearer realm="http://r.io/token"`, `Bearer realm="https://127.0.0.1/token"`, "Bearer", `Digest realm="x"`,
	}
	liarCodes = []string{"BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "DENIED", "TOOMANYREQUESTS", "\x1b]0;title\a", "UNAUTHORIZED", "BLOB_UPLOAD_UNKNOWN"}
)

// lie gives the bytes of an answer, and how they break off; or no bytes, and why.
func (l *liar) lie(req *http.Request, status int, header http.Header, content []byte) ([]byte, error) {
	d := l.dice
	switch d.N(20) {
	case 1:
		return nil, io.ErrUnexpectedEOF
	case 2:
		return nil, errStall
	case 3, 4:
		status = storagetest.Pick(d, liarStatuses...)
	case 5:
		status, content = storagetest.Pick(d, liarStatuses...), fmt.Appendf(nil, `{"errors":[{"code":%q,"message":%q}]}`, storagetest.Pick(d, liarCodes...), d.Bytes(8))
		header.Set("Content-Length", fmt.Sprint(len(content)))
		header.Set("Content-Type", "application/json")
	case 6, 7:
		header.Set(storagetest.Pick(d, liarHeaders...), storagetest.Pick(d, liarValues...))
	case 8:
		header.Del(storagetest.Pick(d, liarHeaders...))
	case 9:
		header.Set(storagetest.Pick(d, liarHeaders[:3]...), string(d.Bytes(12)))
	case 10:
		if len(content) > 0 {
			content[d.N(256)*7%len(content)] ^= byte(1 << d.N(8))
		}
	case 11:
		content = content[:d.N(256)*7%(len(content)+1)]
	case 12:
		content = append(content, d.Bytes(4)...)
		header.Set("Content-Length", fmt.Sprint(len(content)))
	case 13:
		content = d.Bytes(d.N(64))
		header.Set("Content-Length", fmt.Sprint(len(content)))
	case 14: // the body breaks off
		return answerOf(status, header, content[:len(content)/2]), io.ErrUnexpectedEOF
	case 15: // or stalls
		return answerOf(status, header, content[:len(content)/2]), errStall
	case 16:
		return d.Bytes(d.N(100)), nil
	case 17: // another origin, and without TLS
		status = storagetest.Pick(d, 307, 308, 302)
		header.Set("Location", storagetest.Pick(d, "https://192.0.2.7", "http://"+liarHost, "http://192.0.2.7")+req.URL.RequestURI())
	}
	if req.Method == http.MethodHead {
		content = nil
	}
	return answerOf(status, header, content), nil
}

var errStall = errors.New("nothing comes any more")

func answerOf(status int, header http.Header, content []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = header.Write(&b)
	b.WriteString("\r\n")
	b.Write(content)
	return b.Bytes()
}

// parse makes of bytes what a transport makes of them.
func parse(req *http.Request, raw []byte, broken error) (*http.Response, error) {
	var rest io.Reader = failing{broken}
	if errors.Is(broken, errStall) {
		rest = stalling{req.Context()}
	}
	return http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(raw), rest)), req)
}

// failing is the end of a connection.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// stalling gives nothing until nobody waits any more.
type stalling struct{ ctx context.Context }

func (s stalling) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, context.Cause(s.ctx)
}

// liarClient is a client whose every request goes to the liar.
func liarClient(t *testing.T, l *liar) *Client {
	t.Helper()
	return clientOver(t, l, ClientOptions{Credential: Credential{"ada", liarSecret}, CredentialHost: liarHost})
}

// wantClassed demands that an error says whose fault it is, and of this machine it
// is not; in one line, and without the secret.
func wantClassed(ctx context.Context, t *testing.T, err error) {
	t.Helper()
	if ctx.Err() != nil {
		t.Fatalf("no end: %v", err)
	}
	if layout.ClassOf(err) == layout.ClassLocal {
		t.Fatalf("not a fault of this machine: %v", err)
	}
	if strings.Contains(err.Error(), liarSecret) || strings.Contains(err.Error(), url.QueryEscape(liarSecret)) {
		t.Fatalf("the secret is told: %v", err)
	}
}
