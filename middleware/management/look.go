package management

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/internal/endpoint"
)

// A listing is a page of keys.
type listing struct {
	Keys []endpoint.Key `json:"keys" doc:"Newest first."`
	Next string         `json:"next,omitempty" doc:"The cursor of the next page; left out on the last."`
}

// list answers with a page of the owner's keys.
func (c *call) list() error {
	q := apikey.Query{Owner: c.caller.Owner}
	p, err := endpoint.Query(c.r, "limit", "cursor", "state", "environment", "expired")
	if err != nil {
		return err
	}
	if q.Limit, err = endpoint.Limit(p["limit"]); err != nil {
		return err
	}
	if err := q.After.UnmarshalText([]byte(p["cursor"])); err != nil {
		return err
	}
	if p["state"] != "" {
		for name := range strings.SplitSeq(p["state"], ",") {
			var state apikey.State
			if err := state.UnmarshalText([]byte(name)); err != nil {
				return err
			}
			q.States = append(q.States, state)
		}
	}
	q.Environment = p["environment"]
	now := c.h.opt.Now()
	switch p["expired"] {
	case "":
	case "true":
		q.ExpiresBefore = now.Add(time.Microsecond)
	case "false":
		q.LiveAt = now
	default:
		return endpoint.Invalid("expired: give true or false, or leave it out")
	}
	page, err := c.h.keys.List(c.r.Context(), q)
	if err != nil {
		return err
	}
	out := listing{Keys: make([]endpoint.Key, len(page.Keys)), Next: page.Next.String()}
	for i := range page.Keys {
		out.Keys[i] = c.h.view(&page.Keys[i])
	}
	endpoint.WriteJSON(c.w, http.StatusOK, out)
	return nil
}

// A detail is one key with what it may spend.
type detail struct {
	endpoint.Key
	Cap *endpoint.Budget `json:"credit_cap,omitempty" doc:"What the key may spend at most; left out where nothing bounds it."`
}

// get answers with one key.
func (c *call) get() error {
	if _, err := endpoint.Query(c.r); err != nil {
		return err
	}
	out := detail{Key: c.h.view(&c.key)}
	bound, err := c.capOf(&c.key)
	if err != nil {
		return err
	}
	if bound != nil {
		out.Cap = new(endpoint.ViewBudget(bound))
	}
	c.tag(&c.key)
	endpoint.WriteJSON(c.w, http.StatusOK, out)
	return nil
}

// answer shows a key.
func (c *call) answer(k *apikey.Key) error {
	c.tag(k)
	endpoint.WriteJSON(c.w, http.StatusOK, c.h.view(k))
	return nil
}

// tag tells the version of a key, for If-Match.
func (c *call) tag(k *apikey.Key) {
	c.w.Header().Set("ETag", `"`+strconv.FormatInt(k.Version, 10)+`"`)
}

// version returns the version that the caller looked at, as If-Match says; 0 where
// it does not.
func (c *call) version() int64 {
	text := c.r.Header.Get("If-Match")
	if text == "" || text == "*" {
		return 0
	}
	n, err := strconv.ParseInt(strings.Trim(text, `"`), 10, 64)
	if err != nil || n < 1 || text != `"`+strconv.FormatInt(n, 10)+`"` {
		return -1
	}
	return n
}

// unchanged refuses what If-Match forbids (RFC 9110 section 13.1.1).
func (c *call) unchanged() error {
	if v := c.version(); v != 0 && v != c.key.Version || len(c.r.Header["If-Match"]) > 1 {
		return moved()
	}
	return nil
}

func moved() error {
	return endpoint.Refuse(http.StatusPreconditionFailed, "version_conflict", errors.MessageOf(apikey.ErrConflict))
}
