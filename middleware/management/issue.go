package management

import (
	"net/http"
	"slices"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware/internal/endpoint"
	"github.com/keytoll/keytoll/scopes"
)

// A newKey is the body with which a key is asked for.
type newKey struct {
	Name        string           `json:"name,omitempty" doc:"A label."`
	Environment string           `json:"environment,omitempty" doc:"One of the environments that keys are made for, where there are any."`
	Scopes      []string         `json:"scopes,omitempty" doc:"What the key may do; none is nothing."`
	Settings    map[string]int64 `json:"settings,omitempty" doc:"Numbers of the key's own, such as limits; those left out have the plan's defaults."`
	Networks    []string         `json:"networks,omitempty" doc:"Addresses and CIDR prefixes that the key may be used from; none is anywhere."`
	ExpiresAt   *time.Time       `json:"expires_at,omitempty" doc:"The first instant at which the key does not work."`
	ExpiresIn   *int64           `json:"expires_in_seconds,omitempty" doc:"The same as a time from now, in seconds."`
	Secrets     *[]string        `json:"secrets,omitempty" doc:"Names of secrets that are made with the key; left out, all that there may be."`
	Cap         *limitation      `json:"credit_cap,omitempty" doc:"What the key may spend at most."`
}

// An issued key is shown with its text, this once.
type issued struct {
	Key      endpoint.Key       `json:"key"`
	Secret   string             `json:"secret,omitempty" doc:"The key's text. Shown this once, and left out where the same request was answered before."`
	Secrets  []endpoint.Bound   `json:"secrets,omitempty" doc:"Secrets bound to the key. Shown this once."`
	Replayed bool               `json:"replayed,omitempty" doc:"This request, by its Idempotency-Key, has made the key before."`
	Previous *endpoint.Previous `json:"previous,omitempty" doc:"After a rotation, the key that this one takes the place of."`
	Cap      *endpoint.Budget   `json:"credit_cap,omitempty" doc:"What the key may spend at most, where it was made with such a bound."`
}

// show answers with a key and its secrets, beside what else is in out.
func (c *call) show(status int, k *apikey.Issued, out issued) error {
	c.tag(&k.Key)
	out.Key, out.Secret, out.Secrets, out.Replayed = c.h.view(&k.Key), k.Secret.Reveal(), endpoint.ViewBound(k.Secrets), k.Replayed
	endpoint.WriteJSON(c.w, status, out)
	return nil
}

// create makes a key of the caller's owner.
func (c *call) create() error {
	var in newKey
	if err := endpoint.ReadJSON(c.w, c.r, &in); err != nil {
		return err
	}
	spec, err := c.spec(&in)
	if err != nil {
		return err
	}
	var out issued
	var undo func()
	if in.Cap != nil {
		if out.Cap, undo, err = c.capFirst(&spec, in.Cap); err != nil {
			return err
		}
	}
	k, err := c.h.keys.Create(c.r.Context(), spec)
	switch {
	case err != nil && undo != nil && refusedForGood(err):
		undo()
		return err
	case err != nil:
		return err
	case k.Replayed:
		return c.show(http.StatusOK, &k, out)
	}
	return c.show(http.StatusCreated, &k, out)
}

// spec returns what is asked for. The owner is never the body's to say.
func (c *call) spec(in *newKey) (apikey.Spec, error) {
	spec := apikey.Spec{Owner: c.caller.Owner, Name: in.Name, Environment: in.Environment, Secrets: c.h.opt.Secrets}
	var err error
	if spec.Scopes, err = scopes.Of(in.Scopes...); err != nil {
		return spec, err
	}
	if spec.Settings, err = apikey.NewSettings(in.Settings); err != nil {
		return spec, err
	}
	if spec.Networks, err = apikey.ParseNetworks(in.Networks...); err != nil {
		return spec, err
	}
	if in.ExpiresAt != nil {
		spec.ExpiresAt = *in.ExpiresAt
	}
	if in.ExpiresIn != nil {
		if *in.ExpiresIn < 1 || *in.ExpiresIn > int64(mostTTL/time.Second) {
			return spec, endpoint.Invalid("expires_in_seconds: give 1 to 3153600000, or leave it out")
		}
		spec.TTL = time.Duration(*in.ExpiresIn) * time.Second
	}
	if in.Secrets != nil {
		for _, name := range *in.Secrets {
			if !slices.Contains(c.h.opt.Secrets, name) {
				return spec, endpoint.Invalid("secrets: one is not a secret that keys have here; leave it out")
			}
		}
		spec.Secrets = *in.Secrets
	}
	switch ids := c.r.Header["Idempotency-Key"]; {
	case len(ids) == 1 && ids[0] != "":
		spec.RequestID = ids[0]
	case len(ids) > 0:
		return spec, endpoint.Refuse(http.StatusBadRequest, "idempotency_key_malformed", "Idempotency-Key is there twice or empty; give one value")
	}
	return spec, nil
}

// mostTTL is a hundred years.
const mostTTL = 100 * 365 * 24 * time.Hour

// rotate makes a successor.
func (c *call) rotate() error {
	k, previous, err := endpoint.Rotate(c.w, c.r, c.h.keys, &c.key, c.h.opt.Now(), c.h.opt.Grace, c.h.opt.MaxGrace)
	if err != nil {
		return err
	}
	return c.show(http.StatusCreated, &k, issued{Previous: &previous})
}

// A likeness is the body with which a key is cloned.
type likeness struct {
	Name *string `json:"name,omitempty" doc:"The new key's label; left out, the old one's."`
}

// clone makes another key with the same permissions, and the same credit cap.
func (c *call) clone() error {
	var in likeness
	if err := endpoint.ReadJSON(c.w, c.r, &in); err != nil {
		return err
	}
	bound, err := c.capOf(&c.key)
	if err != nil {
		return err
	}
	k, err := c.h.keys.Clone(c.r.Context(), c.id, apikey.Changes{Name: in.Name, Version: c.version()})
	if err != nil {
		return err
	}
	var out issued
	if bound != nil {
		if out.Cap, err = c.capClone(&k.Key, bound); err != nil {
			return err
		}
	}
	return c.show(http.StatusCreated, &k, out)
}

// nothing is the body of what needs none.
type nothing struct{}

// regenerate gives the key a new text.
func (c *call) regenerate() error {
	if err := endpoint.ReadJSON(c.w, c.r, &nothing{}); err != nil {
		return err
	}
	k, err := c.h.keys.Regenerate(c.r.Context(), c.id)
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, &k, issued{})
}
