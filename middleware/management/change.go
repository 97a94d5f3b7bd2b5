package management

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/internal/endpoint"
	"github.com/keytoll/keytoll/scopes"
)

// Fields are a set of what can be edited of a key.
type Fields uint8

// The fields.
const (
	FieldName     Fields = 1 << iota
	FieldScopes          // within the owner's policy
	FieldSettings        // within the owner's policy
	FieldNetworks
	FieldExpiry
	FieldCap // what a key may spend

	// EditableFields are what can be edited unless told otherwise: all but the
	// expiry.
	EditableFields = FieldName | FieldScopes | FieldSettings | FieldNetworks | FieldCap
)

var fieldNames = [...]string{"name", "scopes", "settings", "networks", "expires_at", "credit_cap"}

// String returns the names of the fields, separated by ", ".
func (f Fields) String() string {
	var names []string
	for i, name := range fieldNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// edits is the body with which a key is changed: what is left out stays.
type edits struct {
	Name      *string          `json:"name,omitempty"`
	Scopes    *[]string        `json:"scopes,omitempty" doc:"What the key may do from now on."`
	Settings  map[string]int64 `json:"settings,omitempty" doc:"Numbers of the key's own to change; those left out stay."`
	Networks  *[]string        `json:"networks,omitempty" doc:"Where the key may be used from now on; an empty list is anywhere."`
	ExpiresAt *time.Time       `json:"expires_at,omitempty" doc:"The first instant at which the key does not work."`
}

// fields returns which fields the body has.
func (e *edits) fields() (f Fields) {
	for i, there := range [...]bool{e.Name != nil, e.Scopes != nil, e.Settings != nil, e.Networks != nil, e.ExpiresAt != nil} {
		if there {
			f |= 1 << i
		}
	}
	return f
}

// update changes what the body names.
func (c *call) update() error {
	var in edits
	if err := endpoint.ReadJSON(c.w, c.r, &in); err != nil {
		return err
	}
	if err := c.editable(in.fields()); err != nil {
		return err
	}
	changes := apikey.Changes{Name: in.Name, ExpiresAt: in.ExpiresAt, Version: c.version()}
	if in.Scopes != nil {
		set, err := scopes.Of(*in.Scopes...)
		if err != nil {
			return err
		}
		changes.Scopes = &set
	}
	if in.Networks != nil {
		networks, err := apikey.ParseNetworks(*in.Networks...)
		if err != nil {
			return err
		}
		changes.Networks = &networks
	}
	key, err := c.merge(changes, in.Settings)
	if err != nil {
		return err
	}
	return c.answer(&key)
}

// editable refuses fields that the host keeps to itself.
func (c *call) editable(fields Fields) error {
	if kept := fields &^ c.h.opt.Editable; kept != 0 {
		return endpoint.Refuse(http.StatusForbidden, "not_editable", kept.String()+" cannot be changed here; leave it out")
	}
	return nil
}

// mergeTries is how often settings are merged when somebody else is faster.
const mergeTries = 16

// merge changes the key, its settings by name: against the version that they were
// read at, so that no other change is undone.
func (c *call) merge(changes apikey.Changes, settings map[string]int64) (apikey.Key, error) {
	ctx, asked := c.r.Context(), changes.Version
	for try := 1; ; try++ {
		if settings != nil {
			merged := maps.Collect(c.key.Settings.All())
			maps.Copy(merged, settings)
			all, err := apikey.NewSettings(merged)
			if err != nil {
				return apikey.Key{}, err
			}
			changes.Settings, changes.Version = &all, c.key.Version
		}
		key, err := c.h.keys.Update(ctx, c.id, changes)
		if !errors.Is(err, apikey.ErrConflict) {
			return key, err
		}
		if asked != 0 {
			return apikey.Key{}, moved()
		}
		if settings == nil || try == mergeTries {
			return apikey.Key{}, err
		}
		if c.key, err = c.h.keys.Get(ctx, c.id); err != nil {
			return apikey.Key{}, err
		}
	}
}

// turn changes the key by a verb that needs nothing but its ID.
func (c *call) turn(verb func(context.Context, string) (apikey.Key, error)) error {
	if err := endpoint.ReadJSON(c.w, c.r, &nothing{}); err != nil {
		return err
	}
	key, err := verb(c.r.Context(), c.id)
	if err != nil {
		return err
	}
	return c.answer(&key)
}

func (c *call) disable() error { return c.turn(c.h.keys.Disable) }

func (c *call) enable() error { return c.turn(c.h.keys.Enable) }

// A why is the body of what is done for a reason.
type why struct {
	Reason string `json:"reason,omitempty" doc:"Why, for people."`
}

// revoke ends the key for good.
func (c *call) revoke() error {
	var in why
	if err := endpoint.ReadJSON(c.w, c.r, &in); err != nil {
		return err
	}
	key, err := c.h.keys.Revoke(c.r.Context(), c.id, in.Reason)
	if err != nil {
		return err
	}
	return c.answer(&key)
}

// delete makes the key unknown, once its name or ID was said again.
func (c *call) delete() error {
	p, err := endpoint.Query(c.r, "confirm")
	if err != nil {
		return err
	}
	switch confirm := p["confirm"]; {
	case confirm == "":
		return endpoint.Refuse(http.StatusBadRequest, "confirmation_required", "to delete a key cannot be undone; give its name or its id in the parameter confirm")
	case confirm != c.key.ID && confirm != c.key.Name:
		return endpoint.Refuse(http.StatusConflict, "confirmation_mismatch", "the parameter confirm is neither the key's name nor its id")
	}
	if err := c.h.keys.Delete(c.r.Context(), c.id); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
