package management

import (
	"context"
	"net/http"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/internal/endpoint"
)

// A Caller is who asks, as the host has found out. The zero Caller is refused.
type Caller struct {
	// Owner is whose keys the caller manages. No request can name another.
	Owner string
	// Actor stands in the audit trail of what the caller changes.
	Actor apikey.Actor
	// Verbs are what the caller may do besides looking; those of Options.Verbs
	// bound them. The zero value only looks.
	Verbs Verbs
}

// Verbs are a set of things that change keys.
type Verbs uint16

// The verbs. Looking needs none.
const (
	Create     Verbs = 1 << iota // make keys
	Update                       // change the fields of [Options.Editable], and credit caps
	Switch                       // disable and enable
	Rotate                       // make a successor, the old key works on for a grace
	Clone                        // make another key with the same permissions
	Regenerate                   // give a key a new text at once
	Revoke                       // end a key for good
	Delete                       // make a key unknown
	Owners                       // suspend and restore the whole account, and revoke all its keys

	// All of them but Owners, which is for the host's own people.
	Everyday = Create | Update | Switch | Rotate | Clone | Regenerate | Revoke | Delete
)

var verbNames = [...]string{"create", "update", "switch", "rotate", "clone", "regenerate", "revoke", "delete", "owners"}

// String returns the names of the verbs, separated by commas; "none" of none.
func (v Verbs) String() string {
	text := ""
	for i, name := range verbNames {
		if v&(1<<i) != 0 {
			if text != "" {
				text += ","
			}
			text += name
		}
	}
	if text == "" {
		return "none"
	}
	return text
}

// authenticate asks the host who calls.
func (h *Handler) authenticate(r *http.Request) (Caller, error) {
	caller, err := h.opt.Authenticate(r)
	if err == nil && caller.Owner == "" {
		return Caller{}, errors.New("management: Authenticate returned neither an owner nor an error")
	}
	if err == nil {
		return caller, nil
	}
	p := endpoint.Explain(err)
	switch {
	case r.Context().Err() != nil && errors.Is(err, context.Canceled):
		return Caller{}, err
	case p.Status == http.StatusForbidden, p.Status == http.StatusNotFound, p.Status == http.StatusServiceUnavailable:
		return Caller{}, p
	}
	return Caller{}, endpoint.Refuse(http.StatusUnauthorized, "unauthenticated", "who is asking is not known; sign in first")
}
