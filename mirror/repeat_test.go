package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// clocked is a transport that notes when it is asked for what, and answers as a test
// has it. n counts from 0. A test runs it in a bubble, where nothing but pauses takes time.
type clocked struct {
	answer func(n int, req *http.Request) (*http.Response, error)

	mu    sync.Mutex
	begun time.Time
	at    []time.Duration
	asked []string
}

func (c *clocked) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	c.mu.Lock()
	n := len(c.at)
	c.at = append(c.at, time.Since(c.begun))
	c.asked = append(c.asked, req.Method+" "+req.URL.Path)
	c.mu.Unlock()
	return c.answer(n, req)
}

// says is an answer with a status and headers, as name and value.
func says(req *http.Request, status int, header ...string) (*http.Response, error) {
	h := http.Header{"Content-Length": {"0"}}
	for pair := range slices.Chunk(header, 2) {
		h.Set(pair[0], pair[1])
	}
	return parse(req, answerOf(status, h, nil), nil)
}

// client is a client that asks nobody else.
func (c *clocked) client(t *testing.T, o ClientOptions) *Client {
	t.Helper()
	c.begun = time.Now()
	return clientOver(t, c, o)
}

// clientOver is a client whose every request goes to rt.
func clientOver(t *testing.T, rt http.RoundTripper, o ClientOptions) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	c.over(rt)
	return c
}

// get asks for a manifest of the registry.
func get(t *testing.T, c *Client, host string) error {
	t.Helper()
	repo, err := c.repository(t.Context(), host, "app")
	if err != nil {
		t.Fatal(err)
	}
	_, err = repo.Manifests().Resolve(t.Context(), "v1")
	return explain("look up", host+"/app:v1", err)
}

// isThere answers that the manifest is there.
func isThere(req *http.Request) (*http.Response, error) {
	return says(req, http.StatusOK, "Docker-Content-Digest", digest.FromString("x").String(), "Content-Type", "a/b")
}

// A registry is asked again when it wants to be, by its own clock, and never earlier,
// however late that is.
func TestRetryAfter(t *testing.T) {
	date := func(d time.Duration) string {
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d).Format(http.TimeFormat) // when bubbles begin
	}
	for name, tt := range map[string]struct {
		status int
		header []string
		pause  time.Duration
	}{
		"seconds":                   {429, []string{"Retry-After", "7"}, 7 * time.Second},
		"of a 503":                  {503, []string{"Retry-After", "30"}, 30 * time.Second},
		"at once":                   {429, []string{"Retry-After", "0"}, leastPause},
		"ten minutes":               {429, []string{"Retry-After", "600"}, 10 * time.Minute},
		"a date":                    {429, []string{"Retry-After", date(90 * time.Second)}, 90 * time.Second},
		"a date that is over":       {429, []string{"Retry-After", date(-time.Hour)}, leastPause},
		"a date by another clock":   {429, []string{"Retry-After", date(1000*time.Hour + 40*time.Second), "Date", date(1000 * time.Hour)}, 40 * time.Second},
		"as long as we have for it": {429, []string{"Retry-After", fmt.Sprint(int(Patience/time.Second) - 1)}, Patience - time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := &clocked{answer: func(n int, req *http.Request) (*http.Response, error) {
					if n == 0 {
						return says(req, tt.status, tt.header...)
					}
					return isThere(req)
				}}
				if err := get(t, rt.client(t, ClientOptions{}), "r.io"); err != nil {
					t.Error(err)
				}
				if !slices.Equal(rt.at, []time.Duration{0, tt.pause}) {
					t.Errorf("asked at %v, want once more after %v", rt.at, tt.pause)
				}
			})
		})
	}
}

// A registry that wants to be left alone for too long is not asked again at all.
func TestRetryAfterTooLong(t *testing.T) {
	for name, tt := range map[string]struct {
		after, said string
		at          []time.Duration
	}{
		"seconds":           {"901", "15m1s", []time.Duration{0}},
		"more than a clock": {"99999999999999999999", "8760h0m0s", []time.Duration{0}},
		"a date":            {"Sun, 02 Jan 2000 00:00:00 GMT", "24h0m0s", []time.Duration{0}},
		"time after time":   {"400", "6m40s", []time.Duration{0, 400 * time.Second, 800 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := &clocked{answer: func(_ int, req *http.Request) (*http.Response, error) {
					return says(req, 429, "Retry-After", tt.after)
				}}
				err := get(t, rt.client(t, ClientOptions{}), "r.io")
				want := "look up r.io/app:v1: the registry answers 429 Too Many Requests, and asks for a pause of " + tt.said +
					" (a request is given up after 15m0s; a later run goes on from here)"
				if layout.ClassOf(err) != layout.ClassRemote || err.Error() != want {
					t.Errorf("error %v\n want %s", err, want)
				}
				if !slices.Equal(rt.at, tt.at) {
					t.Errorf("asked at %v, want %v", rt.at, tt.at)
				}
			})
		})
	}
}

// What a registry says to one request, it says to all; and a person is told.
func TestEverybodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &clocked{answer: func(n int, req *http.Request) (*http.Response, error) {
			if n == 0 {
				return says(req, 429, "Retry-After", "60")
			}
			return isThere(req)
		}}
		var notes []string
		c := rt.client(t, ClientOptions{Progress: func(e layout.Event) { notes = append(notes, e.Text) }})
		var wg sync.WaitGroup
		for i, host := range []string{"r.io", "r.io", "other.io"} {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				for range 2 {
					if err := get(t, c, host); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for i, at := range rt.at[1:] {
			if other := i < 2; other != (at == 2*time.Second) || !other && at < time.Minute {
				t.Errorf("asked at %v", rt.at)
			}
		}
		if len(rt.at) != 7 || !slices.Equal(notes, []string{"r.io asks for a pause of 1m0s"}) {
			t.Errorf("asked at %v, told %q", rt.at, notes)
		}
	})
}

// Without a word of the registry's, pauses double, and no two clients keep step.
func TestPausesGrow(t *testing.T) {
	pauses := map[time.Duration]bool{}
	for range 4 {
		synctest.Test(t, func(t *testing.T) {
			rt := &clocked{answer: func(_ int, req *http.Request) (*http.Response, error) { return says(req, 503, "Retry-After", "soon") }}
			err := get(t, rt.client(t, ClientOptions{}), "r.io")
			if layout.ClassOf(err) != layout.ClassRemote || !strings.HasSuffix(err.Error(), "503 Service Unavailable") || len(rt.at) != 1+repeats {
				t.Fatalf("asked at %v: %v", rt.at, err)
			}
			for i, at := range rt.at[1:] {
				pause, want := at-rt.at[i], 250*time.Millisecond<<i
				if pause < want*9/10 || pause > want*11/10 {
					t.Errorf("pause %d lasts %v, want about %v", i, pause, want)
				}
			}
			pauses[rt.at[1]] = true
		})
	}
	if len(pauses) == 1 {
		t.Errorf("all first pauses last %v", pauses)
	}
}

// A request that nobody answers in all the time that there is for it is given up before
// it was repeated as often as others.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &clocked{answer: func(n int, req *http.Request) (*http.Response, error) {
			if n == 0 {
				return isThere(req)
			}
			<-req.Context().Done()
			return nil, context.Cause(req.Context())
		}}
		c := rt.client(t, ClientOptions{StallTimeout: 6 * time.Minute})
		if err := get(t, c, "r.io"); err != nil {
			t.Fatal(err)
		}
		err := get(t, c, "r.io")
		want := "look up r.io/app:v1: the registry moved no byte for 6m0s (given up after 15m0s; a later run goes on from here)"
		if layout.ClassOf(err) != layout.ClassRemote || err.Error() != want || len(rt.at) != 1+3 {
			t.Errorf("asked at %v: %v", rt.at, err)
		}
	})
}

// What will have the same answer, and what can't be sent again, is sent once.
func TestSentOnce(t *testing.T) {
	invalid := `{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}`
	once := func() io.Reader { return io.MultiReader(strings.NewReader("once")) }
	for name, tt := range map[string]struct {
		method string
		body   io.Reader
		status int
		said   string
		want   int
	}{
		"400":                       {"GET", nil, 400, "", 1},
		"403":                       {"GET", nil, 403, "", 1},
		"404":                       {"GET", nil, 404, "", 1},
		"501":                       {"GET", nil, 501, "", 1},
		"a manifest is judged":      {"PUT", strings.NewReader("again"), 500, invalid, 1},
		"429 for an upload":         {"PUT", once(), 429, "", 1},
		"503 for an upload":         {"PUT", once(), 503, "", 1},
		"500 for a manifest":        {"PUT", strings.NewReader("again"), 500, "", 1 + repeats},
		"408":                       {"GET", nil, 408, "", 1 + repeats},
		"500 that is no manifest's": {"POST", nil, 500, invalid, 1 + repeats},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := &clocked{answer: func(_ int, req *http.Request) (*http.Response, error) {
					return parse(req, answerOf(tt.status, http.Header{"Content-Length": {fmt.Sprint(len(tt.said))}}, []byte(tt.said)), nil)
				}}
				req, err := http.NewRequestWithContext(t.Context(), tt.method, "https://r.io/v2/app/manifests/v1", tt.body)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := rt.client(t, ClientOptions{}).http.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if b, err := io.ReadAll(resp.Body); err != nil || string(b) != tt.said || resp.StatusCode != tt.status || len(rt.at) != tt.want {
					t.Errorf("asked %d times, want %d: %d %q %v", len(rt.at), tt.want, resp.StatusCode, b, err)
				}
			})
		})
	}
}

// An upload can't be repeated as a request; it begins again, and not before the registry
// wants that.
func TestUploadWaits(t *testing.T) {
	for after, want := range map[string]int{"600": 2, "3600": 1} {
		synctest.Test(t, func(t *testing.T) {
			content := storagetest.NewContent()
			blob := content.Add(storagetest.BlobType, []byte("a layer"))
			puts := 0
			rt := &clocked{answer: func(_ int, req *http.Request) (*http.Response, error) {
				switch {
				case req.Method == http.MethodPost:
					return says(req, http.StatusAccepted, "Location", "/v2/app/blobs/uploads/1")
				case puts == 0:
					puts++
					return says(req, 429, "Retry-After", after)
				}
				puts++
				return says(req, http.StatusCreated)
			}}
			repo, err := rt.client(t, ClientOptions{}).repository(t.Context(), "r.io", "app")
			if err != nil {
				t.Fatal(err)
			}
			err = again(t.Context(), func() error {
				rc, err := content.Fetch(t.Context(), blob)
				if err != nil {
					return err
				}
				return repo.Blobs().Push(t.Context(), blob, rc)
			})
			if (err == nil) != (want == 2) || puts != want || err != nil && !strings.Contains(err.Error(), "asks for a pause of 1h0m0s") {
				t.Errorf("%s: sent %d times: %v", after, puts, err)
			}
			if n := len(rt.at); want == 2 && (n != 4 || rt.at[2] < 10*time.Minute || rt.at[2] > 10*time.Minute+leastPause) {
				t.Errorf("%v at %v", rt.asked, rt.at)
			}
		})
	}
}

// Who waits to be asked again is no obstacle to giving up.
func TestPauseIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &clocked{answer: func(_ int, req *http.Request) (*http.Response, error) { return says(req, 429, "Retry-After", "600") }}
		c := rt.client(t, ClientOptions{})
		var wg sync.WaitGroup
		// The first waits for the registry, and the others for the first.
		for i, patience := range []time.Duration{2 * time.Minute, time.Minute, time.Minute} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				time.Sleep(time.Duration(i) * time.Second)
				repo, err := c.repository(ctx, "r.io", "app")
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := repo.Manifests().Resolve(ctx, "v1"); !errors.Is(err, context.DeadlineExceeded) || time.Since(rt.begun) != patience {
					t.Errorf("after %v: %v", time.Since(rt.begun), err)
				}
			})
		}
		wg.Wait()
		if len(rt.at) != 1 {
			t.Errorf("asked at %v", rt.at)
		}
		if h := c.http.Transport.(*repeater).host("r.io"); h.busy != 0 || len(h.queue) != 0 {
			t.Errorf("%d still have their turn, and %d wait", h.busy, len(h.queue))
		}
	})
}
