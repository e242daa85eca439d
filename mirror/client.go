package mirror

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/airdeck/airdeck/layout"
)

// ClientOptions are the options of [NewClient]. The zero value reads the Docker
// configuration and verifies certificates against those of the system.
type ClientOptions struct {
	// Credential is used for the registry CredentialHost, before the Docker
	// configuration, and for no other.
	Credential     Credential
	CredentialHost string

	// CAFile has certificates, in PEM, that are trusted beside the system's.
	CAFile string
	// CertFile and KeyFile are the client's certificate and key, in PEM.
	CertFile, KeyFile string
	// InsecureSkipTLSVerify accepts any certificate.
	InsecureSkipTLSVerify bool
	// PlainHTTP lists the hosts (host or host:port) that speak HTTP without TLS.
	// Loopback is tried with TLS first and needs no entry.
	PlainHTTP []string

	// UserAgent names the program to registries.
	UserAgent string
	// StallTimeout is how long a transfer may move no byte. 0 means a minute.
	StallTimeout time.Duration
	// Progress is told the events of all operations.
	Progress layout.Progress
}

// Credential is a user name and a password, or a password that is a token. It
// prints as nothing of it.
type Credential struct {
	Username, Password string
}

// String hides the credential.
func (Credential) String() string { return "[credential]" }

// GoString hides the credential.
func (Credential) GoString() string { return "[credential]" }

// Client is a client of registries. It is safe for concurrent use.
type Client struct {
	o     ClientOptions
	http  *http.Client
	probe *http.Client // without retries, for finding the scheme of loopback
	store credentials.Store
	cache auth.Cache

	mu      sync.Mutex
	schemes map[string]func() bool // of loopback hosts: plain HTTP?
}

// NewClient makes a client.
//
// Errors: [layout.ClassLocal] for files that can't be read or hold no
// certificates.
func NewClient(o ClientOptions) (*Client, error) {
	tlsConfig, err := o.tlsConfig()
	if err != nil {
		return nil, err
	}
	store, err := credentialStore()
	if err != nil {
		return nil, err
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.TLSClientConfig = tlsConfig
	base.MaxIdleConnsPerHost = 32
	c := &Client{o: o, store: store, cache: auth.NewCache(), schemes: map[string]func() bool{}}
	c.over(base)
	return c, nil
}

// over has the client send its requests by a transport.
func (c *Client) over(base http.RoundTripper) {
	stall := c.o.StallTimeout
	if stall == 0 {
		stall = time.Minute
	}
	watched := &stallTransport{base: base, timeout: stall}
	c.probe = &http.Client{Transport: &stallTransport{base: base, timeout: probeTimeout}}
	c.http = &http.Client{
		Transport:     newRepeater(wholeTransport{digestTransport{originTransport{watched, c.speaksPlain}}}, c.o.Progress),
		CheckRedirect: checkRedirect,
	}
}

// credentialStore opens the Docker configuration. Who has no home has none.
func credentialStore() (credentials.Store, error) {
	if _, err := os.UserHomeDir(); err != nil && os.Getenv("DOCKER_CONFIG") == "" {
		return credentials.NewMemoryStore(), nil
	}
	s, err := credentials.NewStoreFromDocker(credentials.StoreOptions{AllowPlaintextPut: true, DetectDefaultNativeStore: true})
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "docker configuration: %w", err)
	}
	return s, nil
}

func (o *ClientOptions) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.InsecureSkipTLSVerify} //nolint:gosec // only where the operator says so
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, layout.Errorf(layout.ClassLocal, "CA file: %w", err)
		}
		if c.RootCAs, err = x509.SystemCertPool(); err != nil {
			c.RootCAs = x509.NewCertPool()
		}
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, layout.Errorf(layout.ClassLocal, "CA file %s holds no certificate in PEM", o.CAFile)
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, layout.Errorf(layout.ClassLocal, "client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// checkRedirect keeps what began with TLS on TLS, and everything on HTTP. Its errors
// have a class, so that nobody asks again.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from, to := via[len(via)-1].URL.Scheme, req.URL.Scheme
	if to != "https" && (to != "http" || from == "https") {
		return layout.Errorf(layout.ClassRemote, "refused: the registry redirects from %s to %s", from, to)
	}
	if len(via) >= 10 {
		return layout.Errorf(layout.ClassRemote, "stopped after 10 redirects")
	}
	return nil
}

// repository opens a repository of a registry.
func (c *Client) repository(ctx context.Context, host, name string) (*remote.Repository, error) {
	ref := registry.Reference{Registry: host, Repository: name}
	if err := ref.Validate(); err != nil {
		return nil, layout.Errorf(layout.ClassName, "%s/%s: %w", host, name, err)
	}
	client, plain := c.authClient(ctx, host)
	return &remote.Repository{
		Client: client, Reference: ref, PlainHTTP: plain, MaxMetadataBytes: layout.MaxManifestSize,
		ReferrerListMaxPages: 1000, SkipReferrersGC: true,
	}, nil
}

// authClient answers challenges of one registry with that registry's credential.
func (c *Client) authClient(ctx context.Context, host string) (*auth.Client, bool) {
	a := &auth.Client{Client: c.http, Cache: c.cache, Credential: c.credential, Header: http.Header{}}
	if c.o.UserAgent != "" {
		a.SetUserAgent(c.o.UserAgent)
	}
	if isLoopback(host) {
		// The token service of a registry on this machine is on this machine.
		a.BlockedRealmPrefixes = []netip.Prefix{}
	}
	return a, c.plainHTTP(ctx, host)
}

func (c *Client) credential(ctx context.Context, host string) (auth.Credential, error) {
	if c.o.Credential != (Credential{}) && sameHost(host, c.o.CredentialHost) {
		return auth.Credential{Username: c.o.Credential.Username, Password: c.o.Credential.Password}, nil
	}
	return credentials.Credential(c.store)(ctx, host)
}

// sameHost knows that oras-go asks Docker Hub under the name of its API.
func sameHost(a, b string) bool {
	return (registry.Reference{Registry: a}).Host() == (registry.Reference{Registry: b}).Host()
}

func isLoopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	ip, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && ip.IsLoopback()
}

// speaksPlain reports whether plain HTTP is spoken with a host as a registry, and asks
// nobody.
func (c *Client) speaksPlain(host string) bool {
	c.mu.Lock()
	f := c.schemes[host]
	c.mu.Unlock()
	return slices.Contains(c.o.PlainHTTP, host) || f != nil && f()
}

// probeAttempts is how often a loopback host is asked whether it speaks TLS, and
// probeTimeout how long it may take to say so.
const (
	probeAttempts = 3
	probeTimeout  = 10 * time.Second
)

// plainHTTP tells whether to speak HTTP without TLS to a host. Only a loopback
// host is asked which it speaks: to ask any other is to invite a downgrade.
func (c *Client) plainHTTP(ctx context.Context, host string) bool {
	if slices.Contains(c.o.PlainHTTP, host) {
		return true
	}
	if !isLoopback(host) {
		return false
	}
	c.mu.Lock()
	f := c.schemes[host]
	if f == nil {
		f = sync.OnceValue(func() bool {
			req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, "https://"+host+"/v2/", nil)
			if err != nil {
				return false
			}
			// A connection that breaks tells nothing, and what is found out here holds for all
			// that follows.
			for range probeAttempts {
				var resp *http.Response
				if resp, err = c.probe.Do(req); err == nil {
					resp.Body.Close()
				}
				if err == nil || !brokenConnection(err) {
					break
				}
			}
			return errors.Is(err, http.ErrSchemeMismatch)
		})
		c.schemes[host] = f
	}
	c.mu.Unlock()
	return f()
}

// Login checks the credential of the options with their registry and keeps it in
// the Docker configuration, or in the credential helper that is configured
// there.
func (c *Client) Login(ctx context.Context) error {
	host := c.o.CredentialHost
	reg, err := remote.NewRegistry(host)
	if err != nil {
		return layout.Errorf(layout.ClassName, "registry %q: %w", host, err)
	}
	client, plain := c.authClient(ctx, host)
	reg.Client, reg.PlainHTTP = client, plain
	err = credentials.Login(ctx, c.store, reg, auth.Credential{Username: c.o.Credential.Username, Password: c.o.Credential.Password})
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) && resp.StatusCode == http.StatusUnauthorized {
		return layout.Errorf(layout.ClassRemote, "log in to %s: the registry refuses the user name or the password", host)
	}
	return explain("log in to", host, err)
}

// Logout removes the credential of a registry from the Docker configuration.
func (c *Client) Logout(ctx context.Context, host string) error {
	if err := credentials.Logout(ctx, c.store, host); err != nil {
		return layout.Errorf(layout.ClassLocal, "log out of %s: %w", host, err)
	}
	return nil
}
