package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/airdeck/airdeck/layout"
)

const (
	// MaxBundleSignatures bounds the signatures of one bundle. Each costs a verification
	// for each key.
	MaxBundleSignatures = 100

	// MaxSignatureSize bounds one signature, in bytes. With certificates and the proofs
	// of a log it has some 10 KB.
	MaxSignatureSize = 256 << 10
)

// bundleType is the media type of what is written.
const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// SignIndex signs the bytes of an index.json. What it gives is a Sigstore bundle of
// version 0.3 with a message signature, in one line
// (https://docs.sigstore.dev/about/bundle/).
func SignIndex(index []byte, key *PrivateKey) ([]byte, error) {
	sig, err := key.signer.SignMessage(bytes.NewReader(index))
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "sign with %s: %w", key.Public.Name, err)
	}
	sum := sha256.Sum256(index)
	b, err := protojson.Marshal(&protobundle.Bundle{
		MediaType: bundleType,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: key.Public.hint}},
		},
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
			Signature:     sig,
		}},
	})
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "sign with %s: %w", key.Public.Name, err)
	}
	// protojson varies the white space at will, so that nobody relies on it.
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "sign with %s: %w", key.Public.Name, err)
	}
	return append(line.Bytes(), '\n'), nil
}

// Unknown is the state of a signature of a bundle that none of the keys has made, or of
// something else.
const Unknown State = "unknown"

// IndexSignature is a signature of a bundle.
type IndexSignature struct {
	State State  `json:"state"`
	Key   string `json:"key,omitempty"`   // the name of the key, where it is verified
	KeyID string `json:"keyID,omitempty"` // its ID
	Hint  string `json:"hint,omitempty"`  // what the signature itself says of its key, which proves nothing
	Error string `json:"error,omitempty"`
}

// CheckIndex checks the signatures of an index.json: Sigstore bundles, one after the
// other, as SignIndex and cosign sign-blob write them. signers may be nil: then nothing is
// demanded, and nothing is called good.
//
// Each key counts once. A signature that none of the keys has made says nothing: others
// may have signed too.
//
// The error is of [layout.ClassSignature] where not enough of the signers have signed,
// and of [layout.ClassLimit] for more than [MaxBundleSignatures].
func CheckIndex(index, signatures []byte, signers *Signers) ([]IndexSignature, error) {
	parts, err := split(signatures)
	if err != nil {
		return nil, err
	}
	out := make([]IndexSignature, 0, len(parts))
	signed := map[string]bool{}
	for _, raw := range parts {
		s := checkIndex(index, raw, signers)
		if s.State == Verified {
			signed[s.KeyID] = true
		}
		out = append(out, s)
	}
	if signers == nil {
		return out, nil
	}
	switch need := max(signers.Threshold, 1); {
	case len(parts) == 0:
		err = layout.Errorf(layout.ClassSignature, "the bundle is not signed, and a signature is demanded")
	case len(signed) == 0:
		err = layout.Errorf(layout.ClassSignature, "none of the %d signatures of the bundle is by a key that is trusted", len(parts))
	case len(signed) < need:
		err = layout.Errorf(layout.ClassSignature, "%d of the keys that are trusted have signed the bundle, and %d have to", len(signed), need)
	}
	return out, err
}

// split cuts the signatures apart.
func split(b []byte) ([]json.RawMessage, error) {
	var out []json.RawMessage
	if len(b) > MaxBundleSignatures*MaxSignatureSize {
		return nil, layout.Errorf(layout.ClassLimit, "the signatures of the bundle have %d bytes", len(b))
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		switch {
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, layout.Errorf(layout.ClassSignature, "the signatures of the bundle are no JSON: %w", err)
		case len(raw) > MaxSignatureSize:
			return nil, layout.Errorf(layout.ClassLimit, "a signature of the bundle has %d bytes, over the limit of %d", len(raw), MaxSignatureSize)
		case len(out) == MaxBundleSignatures:
			return nil, layout.Errorf(layout.ClassLimit, "the bundle has more than %d signatures", MaxBundleSignatures)
		}
		out = append(out, raw)
	}
}

func checkIndex(index []byte, raw json.RawMessage, signers *Signers) IndexSignature {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(raw); err != nil {
		return IndexSignature{State: Invalid, Error: err.Error()}
	}
	out := IndexSignature{State: Unchecked, Hint: b.GetVerificationMaterial().GetPublicKey().GetHint()}
	if b.GetMessageSignature() == nil {
		out.State, out.Error = Invalid, "it is no signature of a message"
		return out
	}
	if signers == nil {
		return out
	}
	out.State = Unknown
	for _, k := range signers.Keys {
		if err := verifyIndex(&b, index, k); err == nil {
			out.State, out.Key, out.KeyID = Verified, k.Name, k.ID
			return out
		}
	}
	return out
}

func verifyIndex(b *bundle.Bundle, index []byte, key *PublicKey) error {
	v, err := keyVerifier(key)
	if err != nil {
		return err
	}
	_, err = v.Verify(entity{b}, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(index)), verify.WithKey()))
	return err
}
