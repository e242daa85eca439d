package mirror

import (
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// Wherever a registry leads its clients to, its credential does not go there.
func TestCredentialsStayHome(t *testing.T) {
	f := newFixture(t)
	for _, token := range []string{"", canaryToken} {
		home := registrytest.Start(registrytest.Options{Username: canaryUser, Password: canaryPassword, Token: token})
		defer home.Close()
		credential := ClientOptions{Credential: Credential{canaryUser, canaryPassword}, CredentialHost: home.Host}
		a, b := f.artifact("a", 5000), f.artifact("b", 6000)
		if _, err := f.send(f.client(credential), nil, home, map[string]ocispec.Descriptor{"app:v1": a}); err != nil {
			t.Fatal(err)
		}
		if sent := home.Traffic.Bytes(); registrytest.FindSecret(sent, canaryPassword) == "" || token != "" && registrytest.FindSecret(sent, token) == "" {
			t.Fatal("the registry itself did not get the credential")
		}
		for n, c := range registrytest.Origins() {
			t.Run(c.Name, func(t *testing.T) {
				elsewhere := registrytest.StartElsewhere(home)
				defer elsewhere.Close()
				home.Reset()
				home.Fail(c.Faults(home, elsewhere)...)
				_, err := f.client(credential).Pull(f.ctx, []layout.Reference{ref(t, home.Host+"/app:v1")}, newStore(t), nil)
				_, perr := f.send(f.client(credential), nil, home, map[string]ocispec.Descriptor{fmt.Sprintf("b%d:v1", n): b})
				said := fmt.Sprint(err, perr)
				for _, secret := range []string{canaryUser, canaryPassword, canaryToken} {
					if form := registrytest.FindSecret(elsewhere.Traffic.Bytes(), secret); form != "" {
						t.Errorf("%s went elsewhere, %s", secret, form)
					}
					if registrytest.FindSecret([]byte(said), secret) != "" {
						t.Errorf("the error shows it: %s", said)
					}
				}
			})
		}
	}
	for _, v := range []string{fmt.Sprint(Credential{"ada", canaryPassword}), fmt.Sprintf("%+v", Credential{"ada", canaryPassword}), fmt.Sprintf("%#v", ClientOptions{Credential: Credential{"ada", canaryPassword}})} {
		if strings.Contains(v, canaryPassword) {
			t.Errorf("printed: %s", v)
		}
	}
}

// A token service that a registry names gets the password without TLS only where
// that was asked for.
func TestTokenServiceWithoutTLS(t *testing.T) {
	f := newFixture(t)
	home := registrytest.Start(registrytest.Options{Username: canaryUser, Password: canaryPassword, Token: canaryToken})
	defer home.Close()
	elsewhere := registrytest.StartElsewhere(home)
	defer elsewhere.Close()
	for _, c := range registrytest.Origins() {
		if c.Name == registrytest.TokensElsewhere {
			home.Fail(c.Faults(home, elsewhere)...)
		}
	}
	o := ClientOptions{Credential: Credential{canaryUser, canaryPassword}, CredentialHost: home.Host}
	pull := func() error {
		_, err := f.client(o).Pull(f.ctx, []layout.Reference{ref(t, home.Host+"/app:v1")}, newStore(t), nil)
		return err
	}
	if err := pull(); layout.ClassOf(err) != layout.ClassOrigin {
		t.Errorf("class %s: %v", layout.ClassOf(err), err)
	}
	if sent := elsewhere.Traffic.Bytes(); len(sent) != 0 {
		t.Errorf("it was asked: %s", sent)
	}
	o.PlainHTTP = []string{strings.TrimPrefix(elsewhere.URL, "http://")}
	if err := pull(); err == nil || registrytest.FindSecret(elsewhere.Traffic.Bytes(), canaryPassword) == "" {
		t.Errorf("it was not asked for a token: %v", err)
	}
}
