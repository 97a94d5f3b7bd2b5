package rpcgate

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
)

// Operations say what methods ask for, by full name: "/package.Service/Method", or
// "/package.Service/" for all methods of a service that have no entry of their own.
// An operation without a name has that one.
//
// Prices and units of a message are told by [middleware.QuotedOf] and
// [middleware.UnitsOf]; a stream begins before it has a message, and can have none.
type Operations map[string]middleware.Operation

// Options of a [Gate]. The zero value, and nil, are the defaults.
type Options struct {
	// Public are the methods that need no key, cost nothing and see the call as it
	// came, by names as in [Operations]: those of health checks, for example.
	Public []string
	// Codes are the codes with which verdicts are refused, where the package
	// comment's are not wanted: ResourceExhausted for VerdictCreditDenied, say.
	Codes map[middleware.Verdict]Code
}

// A Gate decides about calls. Make one with [New]; it is safe for concurrent use.
type Gate struct {
	gate    *middleware.Gate
	methods map[string]method // by full name, and of a service with a '/' at the end
	codes   map[middleware.Verdict]Code
}

// A method is what a name asks for.
type method struct {
	route *middleware.Route // nil when it is public
}

// New returns the gate in front of the methods of operations. The error names every
// fault at once.
func New(gate *middleware.Gate, operations Operations, o *Options) (*Gate, error) {
	f := errors.Faults{Op: "rpcgate.New"}
	if o == nil {
		o = &Options{}
	}
	g := &Gate{gate: gate, methods: make(map[string]method), codes: maps.Clone(o.Codes)}
	if gate == nil {
		f.Add("gate is nil; give a *middleware.Gate")
		return nil, f.Err()
	}
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		checkMethod(&f, name)
		op := operations[name]
		if op.Name == "" {
			op.Name = name
		}
		rt, err := gate.Route(op)
		if err == nil {
			err = rt.CheckMessages()
		}
		f.Join(err)
		g.methods[name] = method{rt}
	}
	for _, name := range o.Public {
		checkMethod(&f, name)
		if _, has := operations[name]; has {
			f.Add("method %q is public and has an operation; give it one or the other", name)
		}
		g.methods[name] = method{}
	}
	for _, v := range slices.Sorted(maps.Keys(g.codes)) {
		if c := g.codes[v]; c == OK || int(c) >= len(codes) {
			f.Add("code of %v: %v is no error; give Canceled to Unauthenticated", v, c)
		}
		if v.Status() < 400 || v.String() == "" || strings.HasPrefix(v.String(), "verdict(") {
			f.Add("code of %v: it refuses nothing; give one of the refusing verdicts", v)
		}
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return g, nil
}

// checkMethod adds a fault unless name is "/service/method" or "/service/".
func checkMethod(f *errors.Faults, name string) {
	service, _, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if !ok || service == "" || !strings.HasPrefix(name, "/") || strings.Count(name, "/") != 2 {
		f.Add("method %q: give its full name, as /package.Service/Method, or /package.Service/ for all of a service", name)
	}
}

// find returns what the name of a method asks for, and the name that said so.
func (g *Gate) find(name string) (m method, by string, ok bool) {
	if m, ok = g.methods[name]; ok {
		return m, name, true
	}
	service := name[:strings.LastIndexByte(name, '/')+1]
	m, ok = g.methods[service]
	return m, service, ok
}

// A Method is one that a server has.
type Method struct {
	Name string // the full name, as /package.Service/Method
	// Streams says that requests or answers of it are streams.
	Streams bool
}

// Check reports, all at once, what keeps the gate from guarding a server that has
// exactly these methods: a method without an operation that is not public, an
// operation or a public name that no method has, and a stream whose price wants a
// message. Call it at start-up.
func (g *Gate) Check(methods ...Method) error {
	f := errors.Faults{Op: "rpcgate.Check"}
	used := make(map[string]bool)
	for _, m := range methods {
		has, by, ok := g.find(m.Name)
		used[by] = true
		switch {
		case !ok:
			f.Add("method %q has no operation; give it one, or name it in Options.Public", m.Name)
		case m.Streams && has.route != nil && has.route.OfMessage():
			f.Add("method %q streams, and its price or units are told of one message; give Fixed(amount) and use Pass.Meter", m.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.methods)) {
		if !used[name] {
			f.Add("no method is meant by %q; give the full name of one that the server has", name)
		}
	}
	return f.Err()
}

// A Request is what is known of a call when it comes.
type Request struct {
	Method string // the full name, as /package.Service/Method
	Remote string // the address of the connection's other end, with its port
	// Values returns the lines of a header field, by its name in the canonical form of
	// http.Header.
	Values func(name string) []string
	// Message is the one message of the request; nil when the request is a stream.
	Message any
}

// Begin decides about a call. With a refusal the call is over. Without one and
// without a call the method is public, or the gate stands further out already, and
// the call goes on as it came. Otherwise [Call.End] must follow, whatever happens.
func (g *Gate) Begin(ctx context.Context, r Request) (*Call, *Refusal) {
	m, _, ok := g.find(r.Method)
	switch {
	case !ok:
		return nil, g.refusal(g.gate.Unguarded(ctx, errors.New("method "+r.Method+" has no operation")))
	case m.route == nil:
		return nil, nil
	}
	again, err := m.route.Within(ctx)
	switch {
	case err != nil:
		return nil, g.refusalOf(ctx, err)
	case again:
		return nil, nil
	}
	c := &Call{gate: g, attempt: g.gate.Attempt(m.route, r.Remote, r.Values)}
	c.attempt.Message = r.Message
	if c.pass, err = g.gate.Begin(ctx, c.attempt); err != nil {
		return nil, g.refusalOf(ctx, err)
	}
	return c, nil
}
