package mirror

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// layered is a registry with an artifact of so many layers.
func layered(n int) hosted {
	c := storagetest.NewContent()
	list := make([]ocispec.Descriptor, n)
	for i := range list {
		list[i] = c.Add(storagetest.BlobType, fmt.Appendf(nil, "layer %d, which may break in its middle", i))
	}
	c.Name(c.AddImage(c.Add(storagetest.ConfigType, []byte("{}")), list...), liarHost+"/a:v1")
	return hosted{c}
}

// serve is what the registry answers, whole.
func (h hosted) serve(req *http.Request) (http.Header, []byte, int) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Header(), rec.Body.Bytes(), rec.Code
}

// pull pulls the artifact, and demands every byte of it.
func (h hosted) pull(t *testing.T, c *Client, jobs int) {
	t.Helper()
	ref, _ := firstReference(h.Content)
	dst := storagetest.NewMemory()
	got, err := c.Pull(t.Context(), []layout.Reference{ref}, dst, &PullOptions{Jobs: jobs, NoReferrers: true})
	if err != nil {
		t.Fatal(err)
	}
	if v := dst.Content(nil, got.Entries...).Judge(); !v.Whole {
		t.Errorf("pulled, and %+v", v)
	}
}

// crowded is a registry that gives blobs to so many at once, a second each, and refuses
// the others.
type crowded struct {
	hosted
	room func(now time.Duration) int

	every time.Duration

	mu    sync.Mutex
	begun time.Time
	busy  int
	most  map[time.Duration]int // by each such time: how many asked at once
}

func (c *crowded) RoundTrip(req *http.Request) (*http.Response, error) {
	header, content, status := c.serve(req)
	if !blobs.MatchString(req.URL.Path) {
		return parse(req, answerOf(status, header, content), nil)
	}
	time.Sleep(time.Millisecond) // so that some are under way when one is refused
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Since(c.begun)
	c.most[now/c.every] = max(c.most[now/c.every], c.busy+1)
	if c.busy >= c.room(now) {
		return says(req, http.StatusTooManyRequests)
	}
	c.busy++
	resp, err := parse(req, answerOf(status, header, content), nil)
	resp.Body = &slow{rc: resp.Body, leave: sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.busy--
	})}
	return resp, err
}

// slow is a body that takes a second.
type slow struct {
	rc    io.ReadCloser
	leave func()
}

func (s *slow) Read(p []byte) (int, error) {
	n, err := s.rc.Read(p)
	if err == io.EOF {
		time.Sleep(time.Second)
		s.leave()
	}
	return n, err
}

func (s *slow) Close() error {
	s.leave()
	return s.rc.Close()
}

// A registry that refuses some of what is asked at once is asked less at once, and more
// again when it does not refuse any more. It gives everything in the end.
func TestFewerAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const jobs = 8
		r := &crowded{hosted: layered(600), every: time.Minute, most: map[time.Duration]int{}, begun: time.Now()}
		r.room = func(now time.Duration) int {
			if now > time.Second && now < 3*time.Minute {
				return 2
			}
			return jobs
		}
		r.pull(t, clientOver(t, r, ClientOptions{}), jobs)
		last := time.Since(r.begun) / time.Minute
		if last < 3 || r.most[0] != jobs || r.most[1] > 3 || r.most[2] > 3 || r.most[last] != jobs {
			t.Errorf("at once, by minute: %v, want %d until it refuses, about 2 while it does, and %d again", r.most, jobs, jobs)
		}
	})
}

// What was under way when a registry first refused is refused for the same reason, and
// does not count again.
func TestHalvedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const jobs, refuses = 8, 200 * time.Millisecond
		r := &crowded{hosted: layered(100), every: refuses, most: map[time.Duration]int{}, begun: time.Now()}
		r.room = func(now time.Duration) int {
			if now < refuses {
				return 0
			}
			return jobs
		}
		r.pull(t, clientOver(t, r, ClientOptions{}), jobs)
		if r.most[1] < jobs/2 || r.most[1] == jobs {
			t.Errorf("%d at once were refused, and then there were %d", jobs, r.most[1])
		}
	})
}

// thorny is a registry that wants a token, has its blobs elsewhere, breaks off in each of
// them, and refuses everything once, so that few requests may be under way at once.
type thorny struct {
	hosted

	mu      sync.Mutex
	refused map[string]bool
	ranges  int
}

func (r *thorny) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	key := fmt.Sprint(req.URL, req.Header["Authorization"], req.Header["Range"])
	refuse := !r.refused[key]
	r.refused[key] = true
	r.mu.Unlock()
	switch {
	case refuse:
		return says(req, http.StatusTooManyRequests)
	case req.URL.Path == tokenPath:
		return parse(req, answerOf(http.StatusOK, nil, []byte(`{"token":"t"}`)), nil)
	case req.URL.RawQuery == "" && req.Header.Get("Authorization") == "":
		return says(req, http.StatusUnauthorized, "WWW-Authenticate", `Bearer realm="https://`+liarHost+tokenPath+`"`)
	case req.URL.RawQuery == "" && blobs.MatchString(req.URL.Path):
		return says(req, http.StatusTemporaryRedirect, "Location", req.URL.Path+"?elsewhere")
	}
	header, content, status := r.serve(req)
	if !blobs.MatchString(req.URL.Path) {
		return parse(req, answerOf(status, header, content), nil)
	}
	header.Set("Accept-Ranges", "bytes")
	var first, last int
	if _, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
		return parse(req, answerOf(status, header, content[:len(content)/2]), io.ErrUnexpectedEOF)
	}
	r.mu.Lock()
	r.ranges++
	r.mu.Unlock()
	part := content[first : last+1]
	header.Set("Content-Length", fmt.Sprint(len(part)))
	return parse(req, answerOf(http.StatusPartialContent, header, part), nil)
}

// Requests lead to others: for tokens, along redirects, for the rest of a blob. None
// waits for the turn of one that waits for it.
func TestTurnsDoNotLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &thorny{hosted: layered(20), refused: map[string]bool{}}
		c := clientOver(t, r, ClientOptions{})
		r.pull(t, c, 4)
		if r.ranges < 20 {
			t.Errorf("%d parts were asked for", r.ranges)
		}
		if h := c.http.Transport.(*repeater).host(liarHost); h.busy != 0 || len(h.queue) != 0 || h.cuts == 0 {
			t.Errorf("%d still have their turn, %d wait; it was cut %d times", h.busy, len(h.queue), h.cuts)
		}
	})
}
