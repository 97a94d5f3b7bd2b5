package webhook

import (
	"slices"
	"strconv"
)

// A signatureInput is a member of Signature-Input: what one signature covers,
// and when and how it was made.
type signatureInput struct {
	label string
	// text is the whole value as it came: "@signature-params" signs it.
	text       string
	components [maxComponents]string
	n          int // of components
	// foreign: a component has parameters, which change its value in ways that are
	// not known here.
	foreign bool

	created, expires       int64 // seconds
	hasCreated, hasExpires bool
	keyID, alg, nonce      string // "" when they are not there
}

// covers reports whether the signature covers a component.
func (in *signatureInput) covers(name string) bool {
	return slices.Contains(in.components[:in.n], name)
}

const inputShape = `not like "sig1=("@method" "@target-uri" "content-digest");created=1618884473", in the one spelling of RFC 9651`

// parseInputs reads Signature-Input, and gives each of its members to yield
// until that returns false. It returns what is wrong, or "".
func parseInputs(field string, yield func(in *signatureInput) bool) (fault string) {
	if len(field) > maxField {
		return "longer than 4096 bytes"
	}
	s := scanner{field}
	var seen [maxMembers]string
	for n, more := 0, true; more; n++ {
		if n == maxMembers {
			return "more than 16 signatures"
		}
		label, ok := s.member()
		if !ok {
			return inputShape
		}
		if slices.Contains(seen[:n], label) {
			return "a label is there twice"
		}
		seen[n] = label
		in := signatureInput{label: label}
		start := s.rest
		if fault := in.parse(&s); fault != "" {
			return fault
		}
		in.text = start[:len(start)-len(s.rest)]
		if more, ok = s.more(); !ok {
			return inputShape
		}
		if !yield(&in) {
			return ""
		}
	}
	return ""
}

// parse reads an inner list of components with its parameters.
func (in *signatureInput) parse(s *scanner) (fault string) {
	if !s.skip('(') {
		return inputShape
	}
	for !s.skip(')') {
		if in.n > 0 && !s.skip(' ') {
			return inputShape
		}
		name, ok := s.text()
		if !ok || !validComponent(name) {
			return inputShape
		}
		if in.n == maxComponents {
			return "a signature covers more than 16 components"
		}
		for s.skip(';') {
			in.foreign = true
			if _, ok := s.key(); !ok || s.skip('=') && !s.item() {
				return inputShape
			}
		}
		if in.covers(name) && !in.foreign {
			return "a signature covers a component twice"
		}
		in.components[in.n] = name
		in.n++
	}
	return in.parseParameters(s)
}

func (in *signatureInput) parseParameters(s *scanner) (fault string) {
	var seen [maxParameters]string
	for n := 0; s.skip(';'); n++ {
		if n == maxParameters {
			return "a signature has more than 16 parameters"
		}
		name, ok := s.key()
		if !ok {
			return inputShape
		}
		if slices.Contains(seen[:n], name) {
			return "a parameter is there twice"
		}
		seen[n] = name
		if ok = s.skip('='); ok {
			ok = in.parseParameter(s, name)
		} else {
			ok = !knownParameter(name) // "true", of which those are none
		}
		if !ok {
			return "the parameter " + name + " is not of the type that it has, or not in the one spelling of RFC 9651"
		}
	}
	return ""
}

func (in *signatureInput) parseParameter(s *scanner, name string) (ok bool) {
	switch name {
	case "created":
		in.created, ok = s.integer()
		in.hasCreated = ok
	case "expires":
		in.expires, ok = s.integer()
		in.hasExpires = ok
	case "keyid":
		in.keyID, ok = s.text()
	case "alg":
		in.alg, ok = s.text()
	case "nonce":
		in.nonce, ok = s.text()
	case "tag":
		_, ok = s.text()
	default:
		ok = s.item()
	}
	return ok
}

// knownParameter reports whether name is one of RFC 9421 section 2.3.
func knownParameter(name string) bool {
	switch name {
	case "created", "expires", "keyid", "alg", "nonce", "tag":
		return true
	}
	return false
}

// validComponent reports whether name is that of a header in lower case, or one
// that begins with '@'.
func validComponent(name string) bool {
	if name == "" || len(name) > maxLabel || name == "@signature-params" {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (!tokenByte(c) || 'A' <= c && c <= 'Z') && (c != '@' || i > 0) {
			return false
		}
	}
	return name != "@"
}

// appendInput appends the value of a member of Signature-Input.
func appendInput(dst []byte, components []string, created int64, keyID, alg string) []byte {
	for i, name := range components {
		dst = append(dst, "( "[min(i, 1)], '"')
		dst = append(dst, name...)
		dst = append(dst, '"')
	}
	dst = append(dst, ");created="...)
	dst = strconv.AppendInt(dst, created, 10)
	dst = append(dst, `;keyid="`...)
	dst = append(dst, keyID...)
	dst = append(dst, `";alg="`...)
	dst = append(dst, alg...)
	return append(dst, '"')
}

// findSignature returns the base64 of the member of Signature with this label,
// "" when it has none. It reads all of the header, so that what is malformed is
// refused wherever it stands.
func findSignature(field, label string) (text, fault string) {
	if len(field) > maxField {
		return "", "longer than 4096 bytes"
	}
	const shape = `not like "sig1=:{base64}:", with ", " between signatures`
	s := scanner{field}
	var seen [maxMembers]string
	for n, more := 0, true; more; n++ {
		if n == maxMembers {
			return "", "more than 16 signatures"
		}
		key, ok := s.member()
		if !ok {
			return "", shape
		}
		if slices.Contains(seen[:n], key) {
			return "", "a label is there twice"
		}
		seen[n] = key
		value, ok := s.bytes()
		if !ok {
			return "", shape
		}
		if key == label {
			text = value
		}
		if more, ok = s.more(); !ok {
			return "", shape
		}
	}
	return text, ""
}
