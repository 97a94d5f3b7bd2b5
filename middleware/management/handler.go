package management

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/internal/endpoint"
)

// Options of a [Handler]. Authenticate is required; all else has a default.
type Options struct {
	// Authenticate says who asks. Required. An error refuses: of code
	// [errors.Forbidden] with 403, of [errors.NotFound] with 404, of
	// [errors.Unavailable] or when the request's time is over with 503, and any
	// other with 401. Its message is told where it is an [*errors.Error] of one of
	// the first two. It must be safe for concurrent use.
	Authenticate func(r *http.Request) (Caller, error)
	// Challenge is the value of WWW-Authenticate that a 401 has; "" is
	// `Session realm="keys"`.
	Challenge string
	// CrossOrigin refuses what browsers send from elsewhere; nil is
	// http.NewCrossOriginProtection(), which trusts the handler's own origin alone.
	CrossOrigin *http.CrossOriginProtection

	// Prefix is the path that the handler is mounted at, with variables as in
	// patterns of http.ServeMux, such as /home/{account}/api-keys: Authenticate
	// finds their values by http.Request.PathValue. "" is the root, also below
	// http.StripPrefix.
	Prefix string
	// Verbs are what the handler does besides showing. None unless set.
	Verbs Verbs
	// Editable are the fields of a key that Update may change; 0 is [EditableFields].
	Editable Fields

	// Grace is how long a rotated key goes on when the request does not say, and
	// MaxGrace the longest that it may say; 10 minutes and 30 days when 0.
	Grace, MaxGrace time.Duration
	// RotateEvery is the age at which a key's text is shown as due; 0 is never.
	RotateEvery time.Duration
	// Secrets are the names of the secrets that a new key may have beside its text,
	// such as "webhook". It has all of them unless the request says otherwise. They
	// need [apikey.Options].SealingKeys.
	Secrets []string

	// Now is the clock that badges and default ranges go by; nil is the clock of
	// the machine.
	Now func() time.Time
	// Log is told of what the server is at fault for; nil is slog.Default.
	Log *slog.Logger

	// Features, unless nil, says what an owner's plan includes: without Usage there
	// is no telling what keys spent, and without Audit no telling what was done to
	// them; both are noted all the same. An error refuses with 503. Nil includes all.
	// It must be safe for concurrent use.
	Features func(ctx context.Context, owner string) (Features, error)

	// Credits keeps credit caps and tells what keys used. Without it there is
	// neither.
	Credits *credits.Ledger
	// Account names the account that pays for a key, as [middleware.Options].Account
	// does; nil is the key's owner.
	Account func(apikey.Key) credits.AccountID
}

// A Handler is the management of keys over HTTP. Make one with [New]; it is safe
// for concurrent use.
type Handler struct {
	keys   *apikey.Service
	opt    Options // copied, defaults filled in
	prefix endpoint.Prefix
	routes []route
	table  []endpoint.Endpoint // of routes
	about  []byte              // OpenAPI
}

// New returns a handler that manages keys, which is required, as is
// Options.Authenticate. Options are copied. The error names every fault at once.
func New(keys *apikey.Service, o *Options) (*Handler, error) {
	f := errors.Faults{Op: "management.New"}
	h := &Handler{keys: keys}
	if o != nil {
		h.opt = *o
	}
	if keys == nil {
		f.Add("keys is nil; give an *apikey.Service")
	} else {
		f.Join(keys.CheckSecrets(h.opt.Secrets))
	}
	h.opt.fill(&f)
	h.prefix = endpoint.ParsePrefix(&f, h.opt.Prefix)
	if err := f.Err(); err != nil {
		return nil, err
	}
	h.routes = h.offered()
	for i := range h.routes {
		h.table = append(h.table, h.routes[i].Endpoint)
	}
	h.about = h.describe()
	// What describes does not describe itself. It comes before /{key}.
	own := route{serve: (*call).description, Endpoint: endpoint.Endpoint{Method: http.MethodGet, Path: "/openapi.json"}}
	h.routes = slices.Insert(h.routes, 0, own)
	h.table = slices.Insert(h.table, 0, own.Endpoint)
	return h, nil
}

// OpenAPI returns the OpenAPI 3.1 description of what the handler offers, in JSON;
// the handler answers with it to GET openapi.json, below its prefix. The slice is
// the caller's.
func (h *Handler) OpenAPI() []byte { return slices.Clone(h.about) }

func (c *call) description() error {
	endpoint.WriteText(c.w, "application/json", c.h.about)
	return nil
}

// fill sets the defaults and adds what is wrong.
func (o *Options) fill(f *errors.Faults) {
	if o.Authenticate == nil {
		f.Add("Authenticate is nil; give a function that says who asks and whose keys")
	}
	if o.Challenge == "" {
		o.Challenge = `Session realm="keys"`
	}
	if o.CrossOrigin == nil {
		o.CrossOrigin = http.NewCrossOriginProtection()
	}
	if o.Verbs >= 1<<len(verbNames) {
		f.Add("Verbs is %#x; give a union of the constants", uint16(o.Verbs))
	}
	if o.Editable >= 1<<len(fieldNames) {
		f.Add("Editable is %#x; give a union of the constants", uint8(o.Editable))
	}
	if o.Editable == 0 {
		o.Editable = EditableFields
	}
	if o.RotateEvery < 0 {
		f.Add("RotateEvery is %v; give 0 (never) or more", o.RotateEvery)
	}
	endpoint.FillGrace(f, &o.Grace, &o.MaxGrace)
	o.Secrets = slices.Clone(o.Secrets)
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default clock
	}
}

// A call is one request that is being answered.
type call struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	caller Caller
	id     string     // of the key in the path
	key    apikey.Key // with id, once it is known to be the caller's
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if header.Get("X-Request-Id") == "" {
		header.Set("X-Request-Id", "req_"+rand.Text())
	}
	c := &call{h: h, w: w, r: r}
	err := h.serve(c)
	if err == nil {
		return
	}
	p := endpoint.Explain(err)
	p.RequestID = header.Get("X-Request-Id")
	p.Report(r.Context(), h.opt.Log, "keys")
	if p.Status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", h.opt.Challenge)
	}
	p.Write(w)
}

// serve answers, or returns why not; nothing is written then.
func (h *Handler) serve(c *call) error {
	index, id, missing := h.prefix.Match(c.r, h.table) // first, because it sets the path's values
	var err error
	if c.caller, err = h.authenticate(c.r); err != nil {
		return err
	}
	if missing != nil {
		return missing
	}
	if err := h.opt.CrossOrigin.Check(c.r); err != nil {
		return endpoint.Refuse(http.StatusForbidden, "cross_origin", "a page of another origin sent this; send it from the page that manages keys")
	}
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead && c.r.Method != http.MethodDelete {
		if err := endpoint.RequireJSON(c.r); err != nil {
			return err
		}
	}
	rt := &h.routes[index]
	if rt.verb&^(h.opt.Verbs&c.caller.Verbs) != 0 {
		return endpoint.Refuse(http.StatusForbidden, "forbidden", "who is asking may not "+rt.verb.String()+" here")
	}
	c.r = c.r.WithContext(apikey.WithActor(c.r.Context(), c.caller.Actor))
	if id != "" {
		if err := c.find(id); err != nil {
			return err
		}
	}
	return rt.serve(c)
}

// find reads the key in the path, and says of another owner's what it says of one
// that is not there.
func (c *call) find(id string) error {
	c.id = id
	if !plausible(id) {
		return apikey.ErrNotFound
	}
	key, err := c.h.keys.Get(c.r.Context(), id)
	switch {
	case errors.Is(err, apikey.ErrNotFound), err == nil && key.Owner != c.caller.Owner:
		return apikey.ErrNotFound
	case err != nil:
		return err
	}
	c.key = key
	return c.unchanged()
}

// plausible reports whether s may be the ID of a key: a store need not be asked
// for anything else.
func plausible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return len(s) <= 128
}

// view returns what is shown of a key.
func (h *Handler) view(k *apikey.Key) endpoint.Key {
	return endpoint.ViewKey(k, h.opt.Now(), h.opt.RotateEvery)
}
