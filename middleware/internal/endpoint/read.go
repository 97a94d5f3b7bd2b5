package endpoint

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keytoll/keytoll/errors"
)

// MaxBody is how many bytes of a body are read.
const MaxBody = 64 << 10

// RequireJSON refuses a request that does not say that its body is JSON, also one
// with an empty body: so no form of another origin can send it.
func RequireJSON(r *http.Request) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == "application/json" && len(r.Header["Content-Type"]) == 1 {
		return nil
	}
	return Refuse(http.StatusUnsupportedMediaType, "unsupported_media_type", "send the header Content-Type: application/json, also with an empty body")
}

// ReadJSON reads the body of r, which must be one JSON object, into v, a pointer
// to a struct. An empty body leaves v as it is. What is not exactly that is a
// [*Problem]: more than [MaxBody] bytes, text that is not UTF-8, something after
// the object, null, and members that v does not have, spelt otherwise or there
// twice.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return Refuse(http.StatusRequestEntityTooLarge, "body_too_large", "the request body is too large; send at most 64 KiB")
		}
		return Invalid("the body could not be read")
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	if !utf8.Valid(text) {
		return Invalid("the body is not UTF-8")
	}
	if err := checkMembers(text, reflect.TypeOf(v).Elem()); err != nil {
		return err
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(v); err != nil {
		return unreadable(err)
	}
	return nil
}

// unreadable says what of a body does not fit, without repeating any of it.
func unreadable(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		where, is := e.Field, e.Value
		if where == "" {
			where = "the body"
		}
		is, _, _ = strings.Cut(is, " ") // "number 1.5"
		return Invalid(where + ": a " + is + " does not fit; give " + kindOf(e.Type))
	}
	if _, ok := errors.AsType[*time.ParseError](err); ok {
		return Invalid("a time is not one of RFC 3339; give one such as 2026-12-31T00:00:00Z")
	}
	if said := errors.MessageOf(err); said != "" {
		return Invalid(said)
	}
	return Invalid("the body is not the JSON object that this takes")
}

// kindOf names what JSON calls a type.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a string"
}

// checkMembers refuses what encoding/json lets pass: names in another case, names
// twice, null, and something after the object.
func checkMembers(text []byte, t reflect.Type) error {
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	if first, err := in.Token(); err != nil || first != json.Delim('{') {
		return Invalid("the body is not a JSON object")
	}
	if err := object(in, t, 0); err != nil {
		return err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return Invalid("something follows the JSON object")
	}
	return nil
}

// maxDepth is how deep objects and arrays may lie in each other.
const maxDepth = 8

// object checks the rest of an object, of type t unless that is nil.
func object(in *json.Decoder, t reflect.Type, depth int) error {
	seen := make(map[string]bool)
	for in.More() {
		token, err := in.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return notJSON()
		}
		member, known := memberOf(t, name)
		switch {
		case !known:
			return Invalid("the member " + quote(name) + " is not one that this takes; " + membersOf(t))
		case seen[name]:
			return Invalid("the member " + quote(name) + " is there twice; give it once")
		}
		seen[name] = true
		if err := value(in, member, name, depth+1); err != nil {
			return err
		}
	}
	return closed(in)
}

// value checks one value, of type t unless that is nil, of the member of that name.
func value(in *json.Decoder, t reflect.Type, name string, depth int) error {
	token, err := in.Token()
	switch {
	case err != nil:
		return notJSON()
	case depth > maxDepth:
		return Invalid("the body is too deep")
	case token == nil:
		return Invalid("null does not fit the member " + quote(name) + "; leave it out")
	case token == json.Delim('{'):
		return object(in, t, depth)
	case token == json.Delim('['):
		var element reflect.Type
		if t != nil && t.Kind() == reflect.Slice {
			element = t.Elem()
		}
		for in.More() {
			if err := value(in, element, name, depth+1); err != nil {
				return err
			}
		}
		return closed(in)
	}
	return nil
}

func closed(in *json.Decoder) error {
	if _, err := in.Token(); err != nil {
		return notJSON()
	}
	return nil
}

func notJSON() error { return Invalid("the body is not JSON") }

// memberOf returns the type of a member of t, nil where it is not known, and
// whether t may have such a member.
func memberOf(t reflect.Type, name string) (reflect.Type, bool) {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() == reflect.Map {
		if t != nil {
			t = t.Elem()
		}
		return t, true
	}
	if t.Kind() != reflect.Struct {
		return nil, true // Decode refuses it
	}
	for f := range fields(t) {
		if f.name == name {
			return f.Type, true
		}
	}
	return nil, false
}

// membersOf says which members a t takes.
func membersOf(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var names []string
	for f := range fields(t) {
		names = append(names, f.name)
	}
	if len(names) == 0 {
		return "leave it out"
	}
	return "give no others than " + strings.Join(names, ", ")
}

// quote returns a name for a message if it is a plain one. Others are not repeated:
// whoever mixes things up may have put a key there.
func quote(name string) string {
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < 'a' || c > 'z') || i >= 24 {
			return "with that name"
		}
	}
	return strconv.Quote(name)
}
