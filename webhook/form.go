package webhook

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strings"
	"unicode"
)

// Bounds of a Scheme's text.
const (
	maxSchemeName   = 32
	maxSchemeHeader = 80
	maxSigned       = 256 // bytes of Scheme.Signed
	maxEntry        = 32  // bytes of an entry without a separator
	maxVersion      = 16  // characters before the delimiter of an entry
)

// A form is a Scheme made ready to sign and verify. It does not change.
type form struct {
	Scheme // with canonical header names and defaults filled in

	before, after []part // of what is hashed, around the body
	whole         whole  // nil for schemes that only Scheme describes
	newHash       func() hash.Hash
	sumSize       int // bytes of an HMAC
	textSize      int // characters of an HMAC
	pairSize      int // characters of an Ed25519 signature
	delimiter     byte
	signsID       bool
	signsTime     bool
}

// A part is a piece of what is hashed: what stands before a value, then the
// value.
type part struct {
	literal string
	place   string // placeID, placeTimestamp or "" for nothing
}

// appendParts appends parts with the values of one message.
func appendParts(dst []byte, parts []part, id, timestamp string) []byte {
	for _, p := range parts {
		dst = append(dst, p.literal...)
		switch p.place {
		case placeID:
			dst = append(dst, id...)
		case placeTimestamp:
			dst = append(dst, timestamp...)
		}
	}
	return dst
}

// newForm reads a scheme; faults are whatever is wrong with it.
func newForm(s Scheme) (f *form, faults []string) {
	if s == (Scheme{}) {
		s = Standard("")
	}
	if s.Hash == "" {
		s.Hash = hashSHA256
	}
	for _, name := range []*string{&s.IDHeader, &s.TimestampHeader, &s.SignatureHeader} {
		*name = http.CanonicalHeaderKey(*name)
	}
	f = &form{Scheme: s, whole: wholeOf(s)}
	check := func(ok bool, fault string) {
		if !ok {
			faults = append(faults, fault)
		}
	}
	check(validName(s.Name, maxSchemeName), "name: not 1 to 32 characters of A-Z, a-z, 0-9, '.', '_', '-'")
	check(validHeader(s.SignatureHeader), "signature header: "+headerFault)
	check(s.IDHeader == "" || validHeader(s.IDHeader), "id header: "+headerFault)
	check(s.TimestampHeader == "" || validHeader(s.TimestampHeader), "timestamp header: "+headerFault)
	check(s.SignatureHeader != s.IDHeader && s.SignatureHeader != s.TimestampHeader && (s.IDHeader == "" || s.IDHeader != s.TimestampHeader), "headers: two have one name; give each its own")
	if f.whole != nil {
		return f, append(faults, f.whole.check(&f.Scheme)...)
	}
	faults = append(faults, f.readSigned()...)
	faults = append(faults, f.readEntries()...)
	switch s.Hash {
	case hashSHA256:
		f.newHash, f.sumSize = sha256.New, sha256.Size
	case hashSHA512:
		f.newHash, f.sumSize = sha512.New, sha512.Size
	default:
		check(false, `hash: give "sha256" or "sha512"; older ones are not safe`)
	}
	switch s.Encoding {
	case encodingBase64:
		f.textSize, f.pairSize = base64.StdEncoding.EncodedLen(f.sumSize), base64.StdEncoding.EncodedLen(ed25519.SignatureSize)
	case encodingHex:
		f.textSize, f.pairSize = hex.EncodedLen(f.sumSize), hex.EncodedLen(ed25519.SignatureSize)
	default:
		check(false, `encoding: give "base64" or "hex"`)
	}
	return f, faults
}

// readSigned takes Signed apart.
func (f *form) readSigned() (faults []string) {
	check := func(ok bool, fault string) {
		if !ok {
			faults = append(faults, "signed: "+fault)
		}
	}
	check(len(f.Signed) <= maxSigned && !strings.ContainsFunc(f.Signed, invisible), "not up to 256 visible ASCII characters")
	parts, rest, last, bodies := &f.before, f.Signed, "", 0
	for rest != "" {
		literal, after, ok := strings.Cut(rest, "{")
		name, tail, closed := strings.Cut(after, "}")
		place := "{" + name + "}"
		if !ok {
			place, tail = "", ""
		} else if !closed || !slices.Contains([]string{placeID, placeTimestamp, placeBody}, place) {
			check(false, "a brace that belongs to none of {id}, {timestamp} and {body}")
			return faults
		}
		if last != "" && place != "" {
			check(literal != "" && !wordByte(literal[0]) && !wordByte(literal[len(literal)-1]), "between "+last+" and "+place+" has to stand something that begins and ends with none of A-Z, a-z, 0-9, '_', '-'")
		}
		switch place {
		case placeBody:
			*parts = append(*parts, part{literal: literal})
			parts = &f.after
			bodies++
		case placeID:
			check(!f.signsID, "{id} is there twice")
			f.signsID = true
			*parts = append(*parts, part{literal, place})
		case placeTimestamp:
			check(!f.signsTime, "{timestamp} is there twice")
			f.signsTime = true
			*parts = append(*parts, part{literal, place})
		default:
			*parts = append(*parts, part{literal: literal})
		}
		rest, last = tail, place
	}
	check(bodies == 1, "give {body} once")
	check(!f.signsID || f.IDHeader != "", "{id} is signed; name the id header")
	times := 0
	for _, where := range []string{f.TimestampHeader, f.TimestampEntry} {
		if where != "" {
			times++
		}
	}
	check(!f.signsTime || times == 1, "{timestamp} is signed; name its header or its entry, one of them")
	check(f.signsTime || times == 0, "{timestamp} is not signed; leave its header and its entry empty, or anybody could set it")
	return faults
}

// readEntries reads how entries of the signature header begin.
func (f *form) readEntries() (faults []string) {
	check := func(ok bool, fault string) {
		if !ok {
			faults = append(faults, fault)
		}
	}
	if f.Separator == "" {
		check(len(f.Entry) <= maxEntry && !strings.ContainsFunc(f.Entry, invisible), "entry: not up to 32 visible ASCII characters")
		check(f.TimestampEntry == "", "timestamp entry: there is no separator; give one, or a timestamp header")
		check(f.PublicEntry == "" || f.Entry == "", "entry: there is no separator, and a public entry; give a separator, or one of the two")
		check(len(f.PublicEntry) <= maxEntry && !strings.ContainsFunc(f.PublicEntry, invisible), "public entry: not up to 32 visible ASCII characters")
		return faults
	}
	check(slices.Contains([]string{" ", ",", ";"}, f.Separator), `separator: give " ", "," or ";"`)
	check(f.Entry != "" || f.PublicEntry != "", "entry: empty; say how a signature begins")
	seen := ""
	for _, e := range []struct{ name, text string }{{"entry", f.Entry}, {"public entry", f.PublicEntry}, {"timestamp entry", f.TimestampEntry}} {
		if e.text == "" {
			continue
		}
		end := len(e.text) - 1
		if !validVersion(e.text[:end]) || wordByte(e.text[end]) || invisible(rune(e.text[end])) || e.text[end:] == f.Separator {
			check(false, e.name+": not 1 to 16 of a-z and 0-9 and one other character that is not the separator")
			continue
		}
		check(f.delimiter == 0 || f.delimiter == e.text[end], e.name+": ends with another character than the other entries")
		check(!strings.Contains(seen, "\n"+e.text), e.name+": that of another entry")
		f.delimiter = e.text[end]
		seen += "\n" + e.text
	}
	return faults
}

// takes says what is wrong with a secret of that kind for f; "" if nothing.
func (f *form) takes(kind SecretKind) string {
	switch {
	case f.whole != nil:
		return f.whole.takes(&f.Scheme, kind)
	case kind.shared() && f.Entry == "" && f.PublicEntry != "":
		return "is shared; this scheme wants an Ed25519 key pair"
	case !kind.shared() && f.PublicEntry == "":
		return "is of an Ed25519 key pair; this scheme wants a shared one, see SecretFromRaw"
	case kind == SecretEncoded && f.SignatureHeader == stripeHeader:
		return "was decoded, and Stripe hashes with its text; give the whole text, \"whsec_\" included, to SecretFromRaw"
	}
	return ""
}

// appendText appends a signature as it stands in a header.
func (f *form) appendText(dst, signature []byte) []byte {
	if f.Encoding == encodingHex {
		return hex.AppendEncode(dst, signature)
	}
	return base64.StdEncoding.AppendEncode(dst, signature)
}

const headerFault = "not 1 to 80 letters, digits and '-' that begin and end with a letter or a digit, or one that HTTP uses itself"

// validHeader reports whether name, in canonical form, can carry what a scheme
// needs.
func validHeader(name string) bool {
	if name == "" || len(name) > maxSchemeHeader || strings.Trim(name, "-") != name {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !wordByte(c) || c == '_' {
			return false
		}
	}
	return !slices.Contains([]string{
		"Accept", "Accept-Encoding", "Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Cookie",
		"Date", "Expect", "Host", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "Via",
	}, name)
}

// invisible reports whether r is anything but visible ASCII.
func invisible(r rune) bool { return r <= ' ' || r > unicode.MaxASCII-1 }
