package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// plainJobs is how many transfers run at once: as many as airdeck has by default.
const plainJobs = 4

// plainClient speaks with a registry in the fewest requests there are.
type plainClient struct {
	http http.Client
	url  string // of the registry
	bufs sync.Pool
}

func newPlainClient(registry string) *plainClient {
	return &plainClient{
		http: http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: plainJobs, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
		}},
		url:  "http://" + registry,
		bufs: sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }},
	}
}

func (c *plainClient) do(ctx context.Context, method, address string, header http.Header, body io.Reader, size int64, want ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if body != nil {
		req.ContentLength = size
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	for _, w := range want {
		if resp.StatusCode == w {
			return resp, nil
		}
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	resp.Body.Close()
	return nil, fmt.Errorf("%s %s: %s\n%s", method, address, resp.Status, b)
}

// plainFetch fetches what a layout lists from a registry, each digest once, hashes
// it and writes it to files.
func plainFetch(ctx context.Context, dir, registry, out string) error {
	all, err := readContent(dir)
	if err != nil {
		return err
	}
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	c := newPlainClient(registry)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(plainJobs)
	seen := map[digest.Digest]bool{}
	fetch := func(kind, repo, reference string, d ocispec.Descriptor) {
		if seen[d.Digest] {
			return
		}
		seen[d.Digest] = true
		g.Go(func() error {
			return c.fetch(ctx, fmt.Sprintf("%s/v2/%s/%s/%s", c.url, repo, kind, reference), d, out)
		})
	}
	for _, a := range all.artifacts {
		fetch("manifests", a.repo, a.tag, a.manifest)
		for _, b := range a.blobs {
			fetch("blobs", a.repo, b.Digest.String(), b)
		}
	}
	return g.Wait()
}

func (c *plainClient) fetch(ctx context.Context, address string, d ocispec.Descriptor, out string) error {
	header := http.Header{}
	if d.MediaType == ocispec.MediaTypeImageManifest {
		header.Set("Accept", d.MediaType)
	}
	resp, err := c.do(ctx, http.MethodGet, address, header, nil, 0, http.StatusOK)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(filepath.Join(out, d.Digest.Encoded()))
	if err != nil {
		return err
	}
	defer f.Close()
	buf := c.bufs.Get().(*[]byte)
	defer c.bufs.Put(buf)
	err = hashBlob(d.Digest.Encoded(), resp.Body, *buf, func(p []byte) error {
		_, err := f.Write(p)
		return err
	})
	if err != nil {
		return err
	}
	return f.Close()
}

// plainPush pushes a layout from its files: each blob once, from where the registry
// mounts it into the other repositories that need it, and then the manifests.
func plainPush(ctx context.Context, dir, registry string) error {
	all, err := readContent(dir)
	if err != nil {
		return err
	}
	p := &pusher{plainClient: newPlainClient(registry), content: all, first: map[digest.Digest]string{}}
	for _, step := range []func(context.Context) error{p.blobs, p.mounts, p.manifests} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

type pusher struct {
	*plainClient
	content *content
	first   map[digest.Digest]string // the repository that has a blob
}

func (p *pusher) blobs(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(plainJobs)
	for _, a := range p.content.artifacts {
		for _, b := range a.blobs {
			if p.first[b.Digest] == "" {
				p.first[b.Digest] = a.repo
				g.Go(func() error { return p.blob(ctx, a.repo, b) })
			}
		}
	}
	return g.Wait()
}

func (p *pusher) blob(ctx context.Context, repo string, d ocispec.Descriptor) error {
	resp, err := p.do(ctx, http.MethodPost, p.url+"/v2/"+repo+"/blobs/uploads/", nil, nil, 0, http.StatusAccepted)
	if err != nil {
		return err
	}
	resp.Body.Close()
	at, err := resp.Location()
	if err != nil {
		return err
	}
	q := at.Query()
	q.Set("digest", d.Digest.String())
	at.RawQuery = q.Encode()
	f, err := os.Open(p.content.path(d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	return p.done(p.do(ctx, http.MethodPut, at.String(), header, f, d.Size, http.StatusCreated))
}

func (p *pusher) mounts(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(plainJobs)
	placed := map[string]bool{}
	for _, a := range p.content.artifacts {
		for _, b := range a.blobs {
			from, at := p.first[b.Digest], a.repo+"@"+b.Digest.String()
			if from == a.repo || placed[at] {
				continue
			}
			placed[at] = true
			q := url.Values{"mount": {b.Digest.String()}, "from": {from}}
			g.Go(func() error {
				return p.done(p.do(ctx, http.MethodPost, p.url+"/v2/"+a.repo+"/blobs/uploads/?"+q.Encode(), nil, nil, 0, http.StatusCreated))
			})
		}
	}
	return g.Wait()
}

func (p *pusher) manifests(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(plainJobs)
	for _, a := range p.content.artifacts {
		g.Go(func() error {
			f, err := os.Open(p.content.path(a.manifest.Digest))
			if err != nil {
				return err
			}
			defer f.Close()
			header := http.Header{"Content-Type": {a.manifest.MediaType}}
			return p.done(p.do(ctx, http.MethodPut, p.url+"/v2/"+a.repo+"/manifests/"+a.tag, header, f, a.manifest.Size, http.StatusCreated))
		})
	}
	return g.Wait()
}

func (p *pusher) done(resp *http.Response, err error) error {
	if err == nil {
		resp.Body.Close()
	}
	return err
}
