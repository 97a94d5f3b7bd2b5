package webhook

import (
	"net/http"
	"net/textproto"
	"strings"
)

const (
	maxBase      = 16 << 10 // bytes of a signature base
	componentURI = "@target-uri"
)

// A covered is what the components of RFC 9421 section 2 are taken from.
type covered struct {
	method string
	target address
	header http.Header
	own    http.Header // goes before header: what a signer is about to set
}

// appendBase appends the signature base of RFC 9421 section 2.5: one line for
// each component, and one for text, which is the list of them. It returns what
// is wrong, and of which header, or "".
func (c *covered) appendBase(dst []byte, components []string, text string) (base []byte, name, fault string) {
	for _, name := range components {
		dst = append(dst, '"')
		dst = append(dst, name...)
		dst = append(dst, `": `...)
		if name[0] == '@' {
			var ok bool
			if dst, ok = c.appendDerived(dst, name); !ok {
				return nil, name, "a derived component that is not known here; use @method, @target-uri and @authority"
			}
		} else {
			value, fault := c.field(name)
			if fault != "" {
				return nil, name, fault
			}
			dst = append(dst, value...)
		}
		if len(dst) > maxBase {
			return nil, name, tooMuch
		}
		dst = append(dst, '\n')
	}
	dst = append(dst, `"@signature-params": `...)
	return append(dst, text...), "", ""
}

// appendDerived appends the value of a derived component, RFC 9421 section 2.2.
func (c *covered) appendDerived(dst []byte, name string) (_ []byte, ok bool) {
	switch name {
	case "@method":
		dst = append(dst, c.method...)
	case componentURI:
		dst = append(dst, c.target.scheme...)
		dst = append(dst, "://"...)
		dst = append(dst, c.target.authority...)
		dst = append(dst, c.target.request...)
	case "@authority":
		dst = append(dst, c.target.authority...)
	case "@scheme":
		dst = append(dst, c.target.scheme...)
	case "@path":
		path, _, _ := strings.Cut(c.target.request, "?")
		dst = append(dst, path...)
	case "@query":
		_, query, _ := strings.Cut(c.target.request, "?")
		dst = append(dst, '?')
		dst = append(dst, query...)
	default:
		return dst, false
	}
	return dst, true
}

// field returns the value of a header that is there on one line. Of several
// lines, RFC 9421 would sign what a join makes of them, and the handler might
// read but one.
func (c *covered) field(name string) (value, fault string) {
	name = textproto.CanonicalMIMEHeaderKey(name)
	values := c.own[name]
	if values == nil {
		values = c.header[name]
	}
	switch len(values) {
	case 1:
	case 0:
		return "", missing
	default:
		return "", "is there on several lines; send one"
	}
	if len(values[0]) > maxBase {
		return "", tooMuch // before anything looks at all of it, perhaps for each signature
	}
	value = textproto.TrimString(values[0])
	if strings.ContainsAny(value, "\r\n\x00") {
		return "", "has a line break"
	}
	return value, ""
}

// What is wrong with what a signature covers.
const (
	missing = "missing; the signature covers it, and something between dropped it"
	tooMuch = "what the signature covers is longer than 16384 bytes"
)
