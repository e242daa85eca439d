package registrytest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

// FindSecret looks for a secret in what somebody could read: as it is, URL-encoded,
// in hexadecimal, and in base64, wherever in the encoded text it may begin. It gives
// the form in which it is there, or "".
func FindSecret(in []byte, secret string) string {
	for form, text := range forms(secret) {
		if bytes.Contains(in, []byte(text)) {
			return form
		}
	}
	return ""
}

func forms(secret string) map[string]string {
	var escaped strings.Builder
	for i := range len(secret) {
		fmt.Fprintf(&escaped, "%%%02X", secret[i])
	}
	x := hex.EncodeToString([]byte(secret))
	out := map[string]string{
		"plain":                      secret,
		"in a query":                 url.QueryEscape(secret),
		"in a path":                  url.PathEscape(secret),
		"all escaped":                escaped.String(),
		"all escaped, in lower case": strings.ToLower(escaped.String()),
		"hex":                        x,
		"hex, in upper case":         strings.ToUpper(x),
	}
	for before := range 3 {
		// What stands before and after it in its group of three bytes changes the first
		// and the last characters; what lies between is the same wherever it stands.
		padded := append(make([]byte, before), secret...)
		first := (before*8 + 5) / 6
		last := len(padded) * 8 / 6
		out[fmt.Sprintf("base64 after %d bytes", before)] = base64.StdEncoding.EncodeToString(padded)[first:last]
		out[fmt.Sprintf("base64 for URLs after %d bytes", before)] = base64.URLEncoding.EncodeToString(padded)[first:last]
	}
	return out
}
