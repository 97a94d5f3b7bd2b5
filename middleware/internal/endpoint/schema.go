package endpoint

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A node is an object of JSON.
type node = map[string]any

// schemas are those of the types of one description, by name.
type schemas node

// of returns the schema of t as it is read or written. Structs with a name get a
// place of their own and are referred to.
func (s schemas) of(t reflect.Type) node {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return node{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[credits.Amount]():
		return node{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]{1,6})?$`, "description": "Credits as decimal text."}
	case isText(t):
		return node{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return node{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return node{"type": "integer", "format": "int64"}
	case reflect.Float64:
		return node{"type": "number"}
	case reflect.Slice:
		return node{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return node{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.named(t)
	}
	return node{"type": "string"}
}

// isText reports whether t is written as a string.
func isText(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) && !t.Implements(reflect.TypeFor[json.Marshaler]())
}

// named returns a reference to the schema of a struct, which it makes once.
func (s schemas) named(t reflect.Type) node {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	ref := node{"$ref": "#/components/schemas/" + name}
	if _, made := s[name]; made {
		return ref
	}
	members, required := node{}, []string{}
	s[name] = node{} // before its members, which may refer to it
	for f := range fields(t) {
		member := s.of(f.Type)
		if words := f.Tag.Get("enum"); words != "" {
			member["enum"] = strings.Fields(words)
		}
		if doc := f.Tag.Get("doc"); doc != "" {
			member["description"] = doc
		}
		members[f.name] = member
		if !f.optional || f.Tag.Get("required") != "" {
			required = append(required, f.name)
		}
	}
	made := node{"type": "object", "properties": members}
	if t != reflect.TypeFor[Problem]() { // which may say more
		made["additionalProperties"] = false
	}
	if len(required) > 0 {
		made["required"] = required
	}
	s[name] = made
	return ref
}
