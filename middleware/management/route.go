package management

import (
	"net/http"

	"github.com/keytoll/keytoll/middleware/internal/endpoint"
)

// A route is an endpoint with what serves it.
type route struct {
	endpoint.Endpoint
	verb    Verbs // 0: anybody who may look
	credits bool  // there must be a ledger
	serve   func(*call) error
}

// pages are the parameters of listings.
var pages = [...]endpoint.Param{
	{Name: "limit", Type: 0, Doc: "How many a page may hold: 1 to 1000, 100 unless said."},
	{Name: "cursor", Doc: "The next of the page before."},
}

// offered returns the routes that the options open.
func (h *Handler) offered() []route {
	var list []route
	for _, rt := range h.all() {
		if rt.verb&^h.opt.Verbs != 0 || rt.credits && h.opt.Credits == nil {
			continue
		}
		if rt.Path != "" && rt.Path[:2] == "/{" {
			rt.Header = append(rt.Header, endpoint.Param{Name: "If-Match", Doc: "The ETag that the key had when it was looked at: one that has changed since is refused with 412."})
			rt.Refused = append(rt.Refused, http.StatusNotFound, http.StatusPreconditionFailed)
		}
		if rt.Body != nil {
			rt.Refused = append(rt.Refused, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
		}
		list = append(list, rt)
	}
	return list
}

// all is the one table of what there is: it routes, and it is described.
func (h *Handler) all() []route {
	const conflict = http.StatusConflict
	list := []route{
		{serve: (*call).list, Endpoint: endpoint.Endpoint{
			Method: http.MethodGet, ID: "listKeys", Short: "Lists the owner's keys",
			Query: append(pages[:],
				endpoint.Param{Name: "state", Doc: "States to list, separated by commas: active, disabled, revoked, deleted. All but deleted unless said."},
				endpoint.Param{Name: "environment", Doc: "Only keys of this environment."},
				endpoint.Param{Name: "expired", Enum: []string{"true", "false"}, Doc: "Only keys whose time is over, or none of them."}),
			Status: http.StatusOK, Answer: listing{},
		}},
		{serve: (*call).create, verb: Create, Endpoint: endpoint.Endpoint{
			Method: http.MethodPost, ID: "createKey", Short: "Makes a key", Long: "Its text is in the answer, this once.",
			Header: []endpoint.Param{{Name: "Idempotency-Key", Doc: "Makes one key, however often it is asked: what was answered before is answered with 200, and without the secret."}},
			Body:   newKey{}, Status: http.StatusCreated, Also: []int{http.StatusOK}, Answer: issued{}, Refused: []int{conflict, http.StatusUnprocessableEntity},
		}},
		{serve: (*call).events, Endpoint: endpoint.Endpoint{
			Method: http.MethodGet, Path: "/events", ID: "listEvents", Short: "Lists what was done to the owner's keys",
			Query: append(pages[:], endpoint.Param{Name: "kind", Doc: "Only events of this kind, such as key.created."}), Status: http.StatusOK, Answer: history{},
		}},
		{serve: (*call).usage, credits: true, Endpoint: endpoint.Endpoint{
			Method: http.MethodGet, Path: "/usage", ID: "listUsage", Short: "Tells what the owner's keys spent, key by key",
			Query:  append(endpoint.UsageParams[:], endpoint.Param{Name: "environment", Doc: "The environment, where each has an account of its own."}),
			Status: http.StatusOK, Answer: endpoint.Usage{},
		}},
		{serve: (*call).owner, verb: Owners, Endpoint: endpoint.Endpoint{
			Method: http.MethodGet, Path: "/owner", ID: "getOwner", Short: "Shows what was decided about all keys of the owner",
			Status: http.StatusOK, Answer: standing{},
		}},
	}
	for _, d := range []struct {
		path, id, short string
		serve           func(*call) error
	}{
		{"suspend", "suspendOwner", "Stops all keys of the owner, until they are restored", (*call).suspend},
		{"restore", "restoreOwner", "Lets the keys of a suspended owner work again", (*call).restore},
		{"revoke", "revokeOwner", "Ends all keys that the owner has, for good", (*call).revokeAll},
	} {
		list = append(list, route{serve: d.serve, verb: Owners, Endpoint: endpoint.Endpoint{
			Method: http.MethodPost, Path: "/owner/" + d.path, ID: d.id, Short: d.short, Body: why{}, Status: http.StatusOK, Answer: standing{},
		}})
	}
	return append(append(list, h.ofKey()...), h.verbs()...)
}

// ofKey returns the routes that show and change one key.
func (h *Handler) ofKey() []route {
	const conflict = http.StatusConflict
	return []route{
		{serve: (*call).get, Endpoint: endpoint.Endpoint{
			Method: http.MethodGet, Path: "/{key}", ID: "getKey", Short: "Shows a key", Status: http.StatusOK, Answer: detail{},
		}},
		{serve: (*call).update, verb: Update, Endpoint: endpoint.Endpoint{
			Method: http.MethodPatch, Path: "/{key}", ID: "updateKey", Short: "Changes a key: " + h.opt.Editable.String(), Long: "What the body leaves out stays.",
			Body: edits{}, Status: http.StatusOK, Answer: endpoint.Key{}, Refused: []int{conflict},
		}},
		{serve: (*call).delete, verb: Delete, Endpoint: endpoint.Endpoint{
			Method: http.MethodDelete, Path: "/{key}", ID: "deleteKey", Short: "Makes a key unknown", Long: "There is no way back.",
			Query:  []endpoint.Param{{Name: "confirm", Doc: "The key's name or id, said again. Without it nothing is done."}},
			Status: http.StatusNoContent, Refused: []int{conflict},
		}},
		{serve: (*call).events, Endpoint: endpoint.Endpoint{
			Method: http.MethodGet, Path: "/{key}/events", ID: "listKeyEvents", Short: "Lists what was done to a key",
			Query: append(pages[:], endpoint.Param{Name: "kind", Doc: "Only events of this kind, such as key.renamed."}), Status: http.StatusOK, Answer: history{},
		}},
		{serve: (*call).usage, credits: true, Endpoint: endpoint.Endpoint{
			Method: http.MethodGet, Path: "/{key}/usage", ID: "listKeyUsage", Short: "Tells what a key spent",
			Query: endpoint.UsageParams[:], Status: http.StatusOK, Answer: endpoint.Usage{},
		}},
		{serve: (*call).setCap, verb: Update, credits: true, Endpoint: endpoint.Endpoint{
			Method: http.MethodPut, Path: "/{key}/credit-cap", ID: "setCreditCap", Short: "Bounds what a key may spend, or moves the bound",
			Body: limitation{}, Status: http.StatusOK, Answer: endpoint.Budget{},
		}},
		{serve: (*call).removeCap, verb: Update, credits: true, Endpoint: endpoint.Endpoint{
			Method: http.MethodDelete, Path: "/{key}/credit-cap", ID: "removeCreditCap", Short: "Lets a key spend what the account has", Status: http.StatusNoContent,
		}},
	}
}

// verbs returns the routes that do one thing to one key.
func (h *Handler) verbs() []route {
	var list []route
	for _, v := range []struct {
		path   string
		short  string
		verb   Verbs
		body   any
		status int
		answer any
		serve  func(*call) error
	}{
		{"disable", "Switches a key off, until it is enabled", Switch, nothing{}, http.StatusOK, endpoint.Key{}, (*call).disable},
		{"enable", "Switches a key on, if the plan has room for it", Switch, nothing{}, http.StatusOK, endpoint.Key{}, (*call).enable},
		{"rotate", "Makes a successor; the key works on for a grace", Rotate, endpoint.Rotation{}, http.StatusCreated, issued{}, (*call).rotate},
		{"clone", "Makes another key with the same permissions", Clone, likeness{}, http.StatusCreated, issued{}, (*call).clone},
		{"regenerate", "Gives a key a new text; the old one is unknown at once", Regenerate, nothing{}, http.StatusOK, issued{}, (*call).regenerate},
		{"revoke", "Ends a key for good", Revoke, why{}, http.StatusOK, endpoint.Key{}, (*call).revoke},
	} {
		rt := route{serve: v.serve, verb: v.verb, Endpoint: endpoint.Endpoint{
			Method: http.MethodPost, Path: "/{key}/" + v.path, ID: v.path + "Key", Short: v.short,
			Body: v.body, Status: v.status, Answer: v.answer,
		}}
		if v.verb != Revoke { // which is never too late
			rt.Refused = []int{http.StatusConflict}
		}
		list = append(list, rt)
	}
	return list
}

// describe returns the OpenAPI description of the table.
func (h *Handler) describe() []byte {
	d := endpoint.Document{
		Title: "API keys", Tag: "keys", Prefix: h.opt.Prefix,
		About:  "Lists, makes, changes and ends the API keys of one account. Whose they are follows from who is signed in.",
		Always: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden},
	}
	return d.Describe(h.table)
}
