package management

import (
	"context"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware/internal/endpoint"
)

// A standing is what was decided about all keys of the owner.
type standing struct {
	Owner           string    `json:"owner"`
	Suspended       bool      `json:"suspended" doc:"No key of the owner works."`
	SuspendedReason string    `json:"suspended_reason,omitempty"`
	RevokedReason   string    `json:"revoked_reason,omitempty" doc:"Why all keys of the owner were revoked, if they were."`
	ChangedAt       time.Time `json:"changed_at,omitzero" doc:"When the last of this was decided."`
}

// owner answers with how the owner stands.
func (c *call) owner() error {
	if _, err := endpoint.Query(c.r); err != nil {
		return err
	}
	o, err := c.h.keys.Owner(c.r.Context(), c.caller.Owner)
	if err != nil {
		return err
	}
	c.tell(&o)
	return nil
}

func (c *call) tell(o *apikey.Owner) {
	endpoint.WriteJSON(c.w, http.StatusOK, standing{c.caller.Owner, o.Suspended, o.SuspendedReason, o.RevokedReason, o.ChangedAt})
}

// decide makes a decision about all keys of the owner, for a reason.
func (c *call) decide(verb func(ctx context.Context, owner, reason string) (apikey.Owner, error)) error {
	var in why
	if err := endpoint.ReadJSON(c.w, c.r, &in); err != nil {
		return err
	}
	o, err := verb(c.r.Context(), c.caller.Owner, in.Reason)
	if err != nil {
		return err
	}
	c.tell(&o)
	return nil
}

func (c *call) suspend() error { return c.decide(c.h.keys.SuspendOwner) }

func (c *call) restore() error { return c.decide(c.h.keys.RestoreOwner) }

func (c *call) revokeAll() error { return c.decide(c.h.keys.RevokeOwner) }
