package middleware

import (
	"net/http"
	"slices"
	"sync"
)

// A Mux is an [http.ServeMux] on which every route says what it asks for: an
// operation of the gate, or [Mux.Public]. So no route is open or free by
// forgetting. Make one with [Gate.Mux]; it is safe for concurrent use.
//
// What the mux answers by itself asks for no key and costs nothing: 404, 405
// with Allow, and the redirects to a path's canonical form.
type Mux struct {
	gate *Gate
	mux  http.ServeMux

	mu      sync.Mutex
	mounted []Mounted // guarded by mu
}

// A Mounted is a pattern of a [Mux], and what it asks for.
type Mounted struct {
	Pattern string
	Route   *Route // nil when the pattern is public
}

// Mux returns a mux without routes.
func (g *Gate) Mux() *Mux { return &Mux{gate: g} }

// Handle mounts handler behind the gate. Patterns are those of [http.ServeMux].
// What is wrong with the operation, the handler or the pattern is a wiring
// mistake: it panics, as [Gate.Handler] and http.ServeMux.Handle do.
func (m *Mux) Handle(pattern string, op Operation, handler http.Handler) {
	rt := m.gate.mustRoute(op)
	m.mux.Handle(pattern, rt.guard(handler))
	m.note(Mounted{Pattern: pattern, Route: rt})
}

// HandleFunc is [Mux.Handle] of a function.
func (m *Mux) HandleFunc(pattern string, op Operation, handler func(http.ResponseWriter, *http.Request)) {
	if handler == nil {
		m.Handle(pattern, op, nil)
		return
	}
	m.Handle(pattern, op, http.HandlerFunc(handler))
}

// Public mounts handler without the gate: it asks for no key, counts nothing and
// costs nothing, and sees the request as it came.
func (m *Mux) Public(pattern string, handler http.Handler) {
	m.mux.Handle(pattern, Public(handler))
	m.note(Mounted{Pattern: pattern})
}

func (m *Mux) note(entry Mounted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mounted = append(m.mounted, entry)
}

// Routes returns what is mounted, in the order in which it was.
func (m *Mux) Routes() []Mounted {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mounted)
}

// ServeHTTP implements http.Handler.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.mux.ServeHTTP(w, r) }
