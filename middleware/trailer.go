package middleware

import (
	"io"
	"net/http"
)

// stripTrailer gives r a trailer of its own, without what strip takes from a header.
// What a trailer says is known when the body has ended (http.Request.Trailer).
func (t *fieldTable) stripTrailer(r *http.Request) {
	b := &trailed{ReadCloser: r.Body, table: t, from: r.Trailer, to: make(http.Header)}
	b.pass()
	r.Trailer = b.to
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = b
	}
}

// A trailed body is one with a trailer behind it.
type trailed struct {
	io.ReadCloser

	table    *fieldTable
	from, to http.Header
}

// Read reads the body, and at its end the trailer.
func (b *trailed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.pass()
	}
	return n, err
}

// pass passes on what the handler may see.
func (b *trailed) pass() {
	for name, values := range b.from {
		if !b.table.takes(name) {
			b.to[name] = values
		}
	}
}
