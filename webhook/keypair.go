package webhook

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"

	"github.com/keytoll/keytoll/errors"
)

// GenerateKeyPair returns a new Ed25519 key pair: private signs, and public is
// for receivers, who can verify with it and not sign.
func GenerateKeyPair() (private, public Secret) {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // documented never to fail
	private = newSecret(SecretPrivate, ed25519.NewKeyFromSeed(seed))
	return private, private.Public()
}

// PrivateKeyFromString parses the half of a key pair that signs, in the form of
// Standard Webhooks: "whsk_" followed by the padded standard base64 of 64
// bytes, which are the seed and the public key. It is as strict as
// [SecretFromString].
func PrivateKeyFromString(text string) (Secret, error) {
	key, fault := decodeKey(text, privatePrefix, ed25519.PrivateKeySize)
	if fault == "" {
		fault = patternFault(key[:ed25519.SeedSize])
	}
	if fault == "" && !ed25519.PrivateKey(key).Equal(ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])) {
		fault = "the second half of the key is not the public key of the first; copy it again, whole"
	}
	if fault != "" {
		return Secret{}, secretFault("PrivateKeyFromString", fault)
	}
	return newSecret(SecretPrivate, key), nil
}

// PublicKeyFromString parses the half of a key pair that verifies, in the form
// of Standard Webhooks: "whpk_" followed by the padded standard base64 of 32
// bytes. It is as strict as [SecretFromString], and refuses the few keys under
// which signatures can be forged.
func PublicKeyFromString(text string) (Secret, error) {
	key, fault := decodeKey(text, publicPrefix, ed25519.PublicKeySize)
	if fault == "" {
		fault = publicFault(key)
	}
	if fault != "" {
		return Secret{}, secretFault("PublicKeyFromString", fault)
	}
	return newSecret(SecretPublic, key), nil
}

// SecretFromSigner takes an Ed25519 key that is held elsewhere, such as in a
// key management service. It signs through [crypto.SignMessage], pure Ed25519
// over the whole message, which the signer has to support at the length of the
// messages. Public is called once, here. The Secret cannot be revealed, and so
// not be stored either: an endpoint's keys cannot hold it.
func SecretFromSigner(signer crypto.Signer) (Secret, error) {
	fault := "the signer is nil; give one that holds an Ed25519 key"
	var public ed25519.PublicKey
	if signer != nil {
		var ok bool
		if public, ok = signer.Public().(ed25519.PublicKey); !ok || len(public) != ed25519.PublicKeySize {
			fault = fmt.Sprintf("the signer's public key is a %T; give one that holds an Ed25519 key", signer.Public())
		} else {
			fault = publicFault(public)
		}
	}
	if fault != "" {
		return Secret{}, secretFault("SecretFromSigner", fault)
	}
	s := newSecret(SecretSigner, append([]byte(nil), public...))
	s.m.signer = &signer
	return s, nil
}

// Public returns the half of s that verifies, for keys of a pair; the zero
// Secret for all others.
func (s Secret) Public() Secret {
	if s.m == nil || s.Kind().shared() {
		return Secret{}
	}
	return newSecret(SecretPublic, append([]byte(nil), s.public()...))
}

// public returns the Ed25519 key that verifies what s signs; nil if s is
// shared.
func (s Secret) public() ed25519.PublicKey {
	switch s.Kind() {
	case SecretPrivate:
		return s.bytes()[ed25519.SeedSize:]
	case SecretPublic, SecretSigner:
		return s.bytes()
	}
	return nil
}

// signs reports whether s can sign.
func (s Secret) signs() bool { return s.m != nil && s.Kind() != SecretPublic }

// sign returns the Ed25519 signature of message. What a signer elsewhere
// returns is verified: a signature of another form would be refused by every
// receiver.
func (s Secret) sign(message []byte) ([]byte, error) {
	if s.Kind() == SecretPrivate {
		return ed25519.Sign(s.bytes(), message), nil
	}
	signature, err := crypto.SignMessage(*s.m.signer, rand.Reader, message, &ed25519.Options{})
	if err != nil {
		return nil, &errors.Error{Code: errors.Unavailable, Msg: "the signer failed", Err: err}
	}
	if !ed25519.Verify(s.public(), message, signature) {
		return nil, &errors.Error{Msg: "the signer made a signature that its public key does not verify; it has to sign pure Ed25519", Err: ErrMessage}
	}
	return signature, nil
}

// decodeKey returns the size bytes that follow the prefix of text, or what is
// wrong with it.
func decodeKey(text, prefix string, size int) (key []byte, fault string) {
	if len(text) > 1<<10 {
		return nil, fmt.Sprintf("the key has far more than %d bytes; give %d", size, size)
	}
	key, fault = decode(text, prefix)
	if fault == "" && len(key) != size {
		fault = fmt.Sprintf("the key has %d bytes; give %d", len(key), size)
	}
	return key, fault
}

// publicFault refuses the points of small order, under which anybody can find
// signatures: those of order 8 by their bytes, whatever the sign, and the
// others, which are nearly all zeros or ones, as patterns. RFC 8032, section
// 5.1.3 for the encoding.
func publicFault(key []byte) string {
	if fault := patternFault(key); fault != "" {
		return fault
	}
	y := [ed25519.PublicKeySize]byte(key)
	y[len(y)-1] &^= 0x80
	if y == smallOrder[0] || y == smallOrder[1] {
		return "the public key is a point of small order, under which anybody can sign; ask the sender for another"
	}
	return ""
}

// smallOrder holds the y of the points of order 8, and is never written to.
var smallOrder = [2][ed25519.PublicKeySize]byte{
	{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
	{
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
}
