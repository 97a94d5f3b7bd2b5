package selfservice

import (
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/internal/endpoint"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// Options of [Handlers]. The zero value, and nil, let every key see and end itself,
// and nothing else.
type Options struct {
	// View is what a key needs to see itself, and Revoke to end itself. Zero is
	// scopes.None(): any key may, because whoever holds a key may end it.
	View, Revoke scopes.Requirement
	// Usage is what a key needs to see what it used, and Rotate to replace itself.
	// Where one is zero there is no such route: whoever stole a key can keep it by
	// rotating, so that is to be said.
	Usage, Rotate scopes.Requirement
	// Account is what a key needs besides View to be told of credits and budgets that
	// it shares with all keys of its account; zero is scopes.None().
	Account scopes.Requirement

	// Limits bound the calls of all these routes together; nil is 60 a minute for
	// each key, in a limit called "selfservice", and an empty list is no limit.
	Limits []middleware.Limit
	// Routes are those whose limits a key is shown, as far as it has their scopes;
	// nil is all routes of the gate when it asks.
	Routes []*middleware.Route

	// Grace is how long a rotated key goes on when the request does not say, and
	// MaxGrace the longest that it may say; 10 minutes and 30 days when 0.
	Grace, MaxGrace time.Duration
	// RotateEvery is the age at which a key's text is shown as due; 0 is never.
	RotateEvery time.Duration

	// Now is the clock that states and default ranges go by; nil is the clock of the
	// machine.
	Now func() time.Time
	// Log is told of what the server is at fault for; nil is slog.Default.
	Log *slog.Logger
}

// Handlers serve the holders of keys. Make them with [New].
type Handlers struct {
	keys   *apikey.Service
	gate   *middleware.Gate
	opt    Options // copied, defaults filled in
	routes []route
}

// New returns handlers for the holders of keys behind gate; both are required. Nil
// options are the defaults; they are copied. Operations named key.view, key.usage,
// key.rotate and key.revoke are registered with the gate. The error names every
// fault at once.
func New(keys *apikey.Service, gate *middleware.Gate, o *Options) (*Handlers, error) {
	f := errors.Faults{Op: "selfservice.New"}
	h := &Handlers{keys: keys, gate: gate}
	if o != nil {
		h.opt = *o
	}
	if keys == nil {
		f.Add("keys is nil; give an *apikey.Service")
	}
	if gate == nil {
		f.Add("gate is nil; give a *middleware.Gate")
	}
	h.opt.fill(&f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	h.routes = h.offered()
	for i := range h.routes {
		rt := &h.routes[i]
		if _, err := gate.Route(rt.operation); err != nil {
			f.Join(err)
			continue
		}
		rt.handler = gate.Handler(rt.operation)(h.serve(rt.serve))
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return h, nil
}

// fill sets the defaults and adds what is wrong.
func (o *Options) fill(f *errors.Faults) {
	for _, r := range []*scopes.Requirement{&o.View, &o.Revoke, &o.Account} {
		if r.IsZero() {
			*r = scopes.None()
		}
	}
	f.Join(o.Account.Validate())
	if o.Limits == nil {
		o.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "selfservice", Count: 60, Period: time.Minute}}}
	}
	o.Limits, o.Routes = slices.Clone(o.Limits), slices.Clone(o.Routes)
	if slices.Contains(o.Routes, nil) {
		f.Add("one of Routes is nil; give what Gate.Route returned")
	}
	if o.RotateEvery < 0 {
		f.Add("RotateEvery is %v; give 0 (never) or more", o.RotateEvery)
	}
	endpoint.FillGrace(f, &o.Grace, &o.MaxGrace)
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default clock
	}
}

// A route is an endpoint with its operation and what serves it.
type route struct {
	endpoint.Endpoint
	operation middleware.Operation
	serve     func(*call) error
	handler   http.Handler // behind the gate
}

// offered returns the routes that the options open.
func (h *Handlers) offered() []route {
	op := func(name string, needs scopes.Requirement, fresh bool) middleware.Operation {
		return middleware.Operation{Name: name, Scopes: needs, Price: middleware.Free(), Limits: h.opt.Limits, FreshKey: fresh}
	}
	return slices.DeleteFunc([]route{
		{Endpoint: endpoint.Endpoint{
			Method: http.MethodGet, ID: "viewKey", Short: "What the key may do and has left",
			Status: http.StatusOK, Answer: View{}, Refused: []int{http.StatusBadRequest},
		}, operation: op("key.view", h.opt.View, false), serve: (*call).view},
		{Endpoint: endpoint.Endpoint{
			Method: http.MethodGet, Path: "/usage", ID: "viewUsage", Short: "What the key spent",
			Query: endpoint.UsageParams[:], Status: http.StatusOK, Answer: endpoint.Usage{}, Refused: []int{http.StatusBadRequest, http.StatusNotFound},
		}, operation: op("key.usage", h.opt.Usage, false), serve: (*call).usage},
		{Endpoint: endpoint.Endpoint{
			Method: http.MethodPost, Path: "/rotate", ID: "rotateKey", Short: "Replaces the key",
			Long:   "The new key inherits everything, and is shown this once. The one that asks works on for a grace.",
			Body:   endpoint.Rotation{},
			Status: http.StatusOK, Answer: Rotated{}, Refused: []int{http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge},
		}, operation: op("key.rotate", h.opt.Rotate, true), serve: (*call).rotate},
		{Endpoint: endpoint.Endpoint{
			Method: http.MethodDelete, ID: "revokeKey", Short: "Ends the key, at once and for good",
			Status: http.StatusNoContent,
		}, operation: op("key.revoke", h.opt.Revoke, true), serve: (*call).revoke},
	}, func(rt route) bool { return rt.operation.Scopes.IsZero() })
}

// A Route is one of the handlers, and where it belongs.
type Route struct {
	Pattern   string               // for http.ServeMux
	Operation middleware.Operation // for [middleware.Mux.Handle]
	Handler   http.Handler         // behind the gate
}

// Routes returns the handlers for a mux, below prefix: a path such as /v1/key, which
// may have variables, without a slash at its end; "" is the root.
func (h *Handlers) Routes(prefix string) []Route {
	list := make([]Route, len(h.routes))
	for i, rt := range h.routes {
		path := prefix + rt.Path
		if path == "" {
			path = "/{$}"
		}
		list[i] = Route{Pattern: rt.Method + " " + path, Operation: rt.operation, Handler: rt.handler}
	}
	return list
}

// A call is one request that is being answered.
type call struct {
	h    *Handlers
	w    http.ResponseWriter
	r    *http.Request
	pass *middleware.Pass
	key  apikey.Key
}

// serve returns the handler that f is, behind the gate.
func (h *Handlers) serve(f func(*call) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pass, _ := middleware.PassFrom(r.Context()) // there is one, or the gate answers
		c := &call{h: h, w: w, r: r, pass: pass, key: pass.Key()}
		c.r = r.WithContext(apikey.WithActor(r.Context(), apikey.Actor{ID: c.key.ID, IP: pass.ClientIP()}))
		w.Header().Set("Cache-Control", "no-store")
		if err := f(c); err != nil {
			c.refuse(err)
		}
	})
}

func (c *call) refuse(err error) {
	p := endpoint.Explain(err)
	p.RequestID = c.pass.RequestID()
	p.Report(c.r.Context(), c.h.opt.Log, c.pass.Operation())
	p.Hint(c.w.Header())
	c.pass.Refuse(c.w, c.r, p.Status, p.Code, p.Detail)
}

// Description serves the OpenAPI 3.1 description of the routes below prefix, in
// JSON. It holds nothing that a key is needed for: give it to a [middleware.Mux] by
// Public, and to a guarded mux by [middleware.Public].
func (h *Handlers) Description(prefix string) http.Handler {
	text := h.OpenAPI(prefix)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		endpoint.WriteText(w, "application/json", text)
	})
}

// OpenAPI returns what [Handlers.Description] serves.
func (h *Handlers) OpenAPI(prefix string) []byte {
	table := make([]endpoint.Endpoint, len(h.routes))
	for i, rt := range h.routes {
		table[i] = rt.Endpoint
	}
	d := endpoint.Document{
		Title: "The API key itself", Tag: "key", Prefix: prefix,
		About:   "What an API key may ask about itself.",
		Always:  []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests},
		Secures: h.credentials(),
	}
	return d.Describe(table)
}

// credentials returns where the gate looks for a key, as OpenAPI says it.
func (h *Handlers) credentials() []map[string]any {
	var list []map[string]any
	for _, l := range h.gate.Credentials() {
		switch header, parameter := l.Where(); {
		case parameter != "":
			list = append(list, map[string]any{"type": "apiKey", "in": "query", "name": parameter})
		case header == "Authorization":
			list = append(list, map[string]any{"type": "http", "scheme": "bearer"})
		default:
			list = append(list, map[string]any{"type": "apiKey", "in": "header", "name": header})
		}
	}
	return list
}
