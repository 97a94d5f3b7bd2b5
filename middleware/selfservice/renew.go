package selfservice

import (
	"net/http"

	"github.com/keytoll/keytoll/middleware/internal/endpoint"
)

// Rotated is a key that takes the place of another.
type Rotated struct {
	ID       string            `json:"id" doc:"The new key's public name."`
	Key      string            `json:"key" doc:"The new key's text. Shown this once."`
	Secrets  []endpoint.Bound  `json:"secrets,omitempty" doc:"Secrets bound to the new key. Shown this once."`
	Previous endpoint.Previous `json:"previous" doc:"The key that asked."`
}

// rotate answers with a new key that inherits everything. The old one works until
// the grace is over.
func (c *call) rotate() error {
	issued, previous, err := endpoint.Rotate(c.w, c.r, c.h.keys, &c.key, c.h.opt.Now(), c.h.opt.Grace, c.h.opt.MaxGrace)
	if err != nil {
		return err
	}
	endpoint.WriteJSON(c.w, http.StatusOK, Rotated{
		ID: issued.Key.ID, Key: issued.Secret.Reveal(), Secrets: endpoint.ViewBound(issued.Secrets),
		Previous: previous,
	})
	return nil
}

// revoke ends the key that asks, at once and for good.
func (c *call) revoke() error {
	if _, err := c.h.keys.Revoke(c.r.Context(), c.key.ID, "revoked by its holder"); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
