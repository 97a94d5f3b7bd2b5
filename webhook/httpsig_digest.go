package webhook

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"slices"
)

// The header of RFC 9530, and the two of its algorithms that are not broken.
const (
	digestHeader = "Content-Digest"
	digest256    = "sha-256"
	digest512    = "sha-512"
)

// A contentDigest is what Content-Digest says of a body. Where it names both
// algorithms, both have to be right.
type contentDigest struct {
	sum256         [sha256.Size]byte
	sum512         [sha512.Size]byte
	has256, has512 bool
}

// parse reads "sha-256=:{base64}:, sha-512=:{base64}:". Other algorithms are
// passed over. It returns what is wrong, or "".
func (d *contentDigest) parse(field string) (fault string) {
	if len(field) > maxField {
		return "longer than 4096 bytes"
	}
	const shape = `not like "sha-256=:{base64}:", with ", " between entries`
	s := scanner{field}
	var seen [maxMembers]string
	for n, more := 0, true; more; n++ {
		if n == maxMembers {
			return "more than 16 entries"
		}
		key, ok := s.member()
		if !ok {
			return shape
		}
		if slices.Contains(seen[:n], key) {
			return "an algorithm is there twice"
		}
		seen[n] = key
		text, ok := s.bytes()
		if !ok {
			return shape
		}
		switch key {
		case digest256:
			d.has256 = decodeBytes(d.sum256[:], text)
			ok = d.has256
		case digest512:
			d.has512 = decodeBytes(d.sum512[:], text)
			ok = d.has512
		}
		if !ok {
			return key + " is not the padded base64 of its length"
		}
		if more, ok = s.more(); !ok {
			return shape
		}
	}
	if !d.has256 && !d.has512 {
		return "neither sha-256 nor sha-512; ask the sender for one of them"
	}
	return ""
}

// matches compares in constant time.
func (d *contentDigest) matches(body []byte) bool {
	same := d.has256 || d.has512
	if d.has256 {
		sum := sha256.Sum256(body)
		same = subtle.ConstantTimeCompare(sum[:], d.sum256[:]) == 1 && same
	}
	if d.has512 {
		sum := sha512.Sum512(body)
		same = subtle.ConstantTimeCompare(sum[:], d.sum512[:]) == 1 && same
	}
	return same
}

// appendDigest appends the value of Content-Digest for body.
func appendDigest(dst, body []byte) []byte {
	sum := sha256.Sum256(body)
	dst = append(dst, digest256...)
	dst = append(dst, '=')
	return appendBytes(dst, sum[:])
}
