package management

import (
	"context"
	"net/http"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/internal/endpoint"
)

// Features are what an owner's plan includes besides keys. The zero value includes
// nothing.
type Features struct {
	Usage bool // what keys spent
	Audit bool // what was done to keys
	// Upgrade is told with a refusal: a text or a link that leads to a plan with more.
	Upgrade string
}

// includes refuses what the owner's plan does not include.
func (c *call) includes(what string, picks func(Features) bool) error {
	if c.h.opt.Features == nil {
		return nil
	}
	has, err := c.h.opt.Features(c.r.Context(), c.caller.Owner)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return &errors.Error{Code: errors.Unavailable, Op: "management.Features", Err: err}
	case !picks(has):
		p := endpoint.Refuse(http.StatusForbidden, "not_in_plan", "the account's plan does not include "+what)
		p.Upgrade = has.Upgrade
		return p
	}
	return nil
}

// A history is a page of events.
type history struct {
	Events []apikey.Event `json:"events" doc:"Newest first."`
	Next   string         `json:"next,omitempty" doc:"The cursor of the next page; left out on the last."`
}

// events answers with what was done to the owner's keys, or to the one of the path.
func (c *call) events() error {
	if err := c.includes("the audit log", func(f Features) bool { return f.Audit }); err != nil {
		return err
	}
	p, err := endpoint.Query(c.r, "limit", "cursor", "kind")
	if err != nil {
		return err
	}
	q := apikey.EventQuery{Owner: c.caller.Owner, Key: c.id, Kind: apikey.EventKind(p["kind"])}
	if q.Limit, err = endpoint.Limit(p["limit"]); err != nil {
		return err
	}
	if err := q.After.UnmarshalText([]byte(p["cursor"])); err != nil {
		return err
	}
	if !plausible(p["kind"]) {
		return endpoint.Invalid("kind: give one such as key.created, or leave it out")
	}
	page, err := c.h.keys.Events(c.r.Context(), q)
	if err != nil {
		return err
	}
	out := history{Events: page.Events, Next: page.Next.String()}
	if out.Events == nil {
		out.Events = []apikey.Event{}
	}
	endpoint.WriteJSON(c.w, http.StatusOK, out)
	return nil
}

// usage answers with what the owner's keys spent, or the one of the path.
func (c *call) usage() error {
	if err := c.includes("usage", func(f Features) bool { return f.Usage }); err != nil {
		return err
	}
	names := endpoint.UsageNames()
	if c.id == "" {
		names = append(names, "environment")
	}
	p, err := endpoint.Query(c.r, names...)
	if err != nil {
		return err
	}
	q, by, err := endpoint.ReadUsage(p, c.h.opt.Now())
	if err != nil {
		return err
	}
	if err := checkEnvironment(p["environment"]); err != nil {
		return err
	}
	key := apikey.Key{Owner: c.caller.Owner, Environment: p["environment"]}
	if c.id != "" {
		key, q.Key = c.key, c.key.Meter
	}
	q.Account, q.ByKey = c.h.account(key), true
	rows, err := c.h.opt.Credits.Usage(c.r.Context(), q)
	if err != nil {
		return err
	}
	endpoint.WriteJSON(c.w, http.StatusOK, endpoint.ViewUsage(&q, by, rows))
	return nil
}
