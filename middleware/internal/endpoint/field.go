package endpoint

import (
	"iter"
	"reflect"
	"strings"
)

// A field is a member of a JSON object, as the tags of a struct tell.
type field struct {
	reflect.StructField
	name     string
	optional bool
}

// fields yields the members of a struct, those of embedded ones among them.
func fields(t reflect.Type) iter.Seq[field] {
	return func(yield func(field) bool) {
		for _, f := range reflect.VisibleFields(t) {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() || f.Anonymous || name == "-" || name == "" {
				continue
			}
			optional := f.Type.Kind() == reflect.Pointer || strings.Contains(options, "omit")
			if !yield(field{f, name, optional}) {
				return
			}
		}
	}
}
