package management

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/internal/endpoint"
)

// A limitation is a credit cap as a body asks for it.
type limitation struct {
	Amount *credits.Amount `json:"amount,omitempty" required:"true" doc:"The most that the key may spend in a window, such as \"50\" or \"2.5\"."`
	Every  string          `json:"every,omitempty" enum:"total day week month year" doc:"How long a window lasts; total, which never ends, when left out."`
	Zone   string          `json:"zone,omitempty" doc:"The IANA name of the time zone whose calendar counts; UTC when left out."`
}

// CapID returns the ID of the budget that a credit cap is, by the Meter of the key
// that it bounds: rotation keeps it.
func CapID(meter string) credits.BudgetID { return credits.BudgetID("cap:" + meter) }

var spans = [...]credits.Span{credits.Total, credits.Day, credits.Week, credits.Month, credits.Year}

// budget returns the budget that a body asks for.
func (c *call) budget(in *limitation, k *apikey.Key) (credits.Budget, error) {
	b := credits.Budget{Account: c.h.account(*k), ID: CapID(k.Meter), Key: k.Meter, Zone: in.Zone}
	if c.h.opt.Credits == nil {
		return b, endpoint.Invalid("credit_cap: there are no credits here; leave it out")
	}
	if in.Amount == nil {
		return b, endpoint.Invalid(`amount: give the most that the key may spend, such as "50"`)
	}
	b.Amount = *in.Amount
	if in.Every != "" {
		i := slices.IndexFunc(spans[:], func(s credits.Span) bool { return s.String() == in.Every })
		if i < 0 {
			return b, endpoint.Invalid("every: give total, day, week, month or year")
		}
		b.Every = spans[i]
	}
	return b, nil
}

// account returns the account that pays for a key.
func (h *Handler) account(k apikey.Key) credits.AccountID {
	if h.opt.Account != nil {
		return h.opt.Account(k)
	}
	return credits.AccountID(k.Owner)
}

// maxEnvironment is how long the name of an environment may be (apikey.FormatOptions).
const maxEnvironment = 16

// checkEnvironment refuses what no key's environment can be. Options.Account may join
// it to the owner: other characters could make another owner's account of the two.
func checkEnvironment(s string) error {
	other := func(c rune) bool {
		return !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	if len(s) > maxEnvironment || strings.ContainsFunc(s, other) {
		return endpoint.Invalid("environment: give one that keys are made for, or leave it out")
	}
	return nil
}

// capFirst sets the cap of a key that is about to be made, so that there is no
// instant at which the key spends without it, whatever fails. The key's ID, and
// with it the Meter, is known before it is made by its request ID: one of its own
// where the caller has none. undo takes the cap back; it is nil where another
// request may have made a key under it.
func (c *call) capFirst(spec *apikey.Spec, in *limitation) (shown *endpoint.Budget, undo func(), err error) {
	own := spec.RequestID == ""
	if own {
		spec.RequestID = "cap-" + rand.Text()
	}
	if err := checkEnvironment(spec.Environment); err != nil {
		return nil, nil, err
	}
	key := apikey.Key{
		ID: spec.KeyID(), Meter: spec.KeyID(), Owner: spec.Owner, Name: spec.Name, Environment: spec.Environment,
		Scopes: spec.Scopes, Settings: spec.Settings, Networks: spec.Networks,
	}
	b, err := c.budget(in, &key)
	if err != nil {
		return nil, nil, err
	}
	ctx := c.r.Context()
	switch _, err := c.h.keys.Get(ctx, key.ID); {
	case err == nil:
		return nil, nil, nil // made before: what it may spend since is not this request's to say
	case !errors.Is(err, apikey.ErrNotFound):
		return nil, nil, err
	}
	if b, err = c.h.opt.Credits.SetBudget(ctx, b); err != nil {
		return nil, nil, err
	}
	if own {
		undo = func() {
			ctx, cancel := afterwards(ctx)
			defer cancel()
			_ = c.h.opt.Credits.RemoveBudget(ctx, b.Account, b.ID) // what stays bounds nobody
		}
	}
	return new(endpoint.ViewBudget(&b)), undo, nil
}

// refusedForGood reports whether err says that nothing was made.
func refusedForGood(err error) bool {
	switch errors.CodeOf(err) {
	case errors.Invalid, errors.Exists, errors.Forbidden, errors.Exhausted:
		return true
	}
	return false
}

// settleTime bounds what is done when the caller may be gone.
const settleTime = 5 * time.Second

func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), settleTime)
}

// capOf returns the cap of a key; nil when it has none.
func (c *call) capOf(k *apikey.Key) (*credits.Budget, error) {
	if c.h.opt.Credits == nil {
		return nil, nil
	}
	b, err := c.h.opt.Credits.Budget(c.r.Context(), c.h.account(*k), CapID(k.Meter))
	switch {
	case errors.Is(err, credits.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &b, nil
}

// capClone bounds a clone as the original is. Where that fails the clone is ended,
// and nobody has seen its text.
func (c *call) capClone(k *apikey.Key, like *credits.Budget) (*endpoint.Budget, error) {
	b := credits.Budget{
		Account: c.h.account(*k), ID: CapID(k.Meter), Key: k.Meter,
		Amount: like.Amount, Every: like.Every, Zone: like.Zone, Soft: like.Soft, Thresholds: like.Thresholds,
	}
	b, err := c.h.opt.Credits.SetBudget(c.r.Context(), b)
	if err == nil {
		return new(endpoint.ViewBudget(&b)), nil
	}
	ctx, cancel := afterwards(c.r.Context())
	defer cancel()
	if _, failed := c.h.keys.Revoke(ctx, k.ID, "its credit cap could not be set"); failed != nil {
		err = errors.Join(err, failed)
	}
	return nil, err
}

// setCap bounds what the key may spend, or moves the bound. What it has spent in
// the window counts on, unless the window is another.
func (c *call) setCap() error {
	var in limitation
	if err := endpoint.ReadJSON(c.w, c.r, &in); err != nil {
		return err
	}
	if err := c.cappable(); err != nil {
		return err
	}
	b, err := c.budget(&in, &c.key)
	if err != nil {
		return err
	}
	if has, err := c.capOf(&c.key); err != nil {
		return err
	} else if has != nil {
		b.Soft, b.Thresholds = has.Soft, has.Thresholds // the host's
	}
	if b, err = c.h.opt.Credits.SetBudget(c.r.Context(), b); err != nil {
		return err
	}
	endpoint.WriteJSON(c.w, http.StatusOK, endpoint.ViewBudget(&b))
	return nil
}

// removeCap lets the key spend what the account has.
func (c *call) removeCap() error {
	if _, err := endpoint.Query(c.r); err != nil {
		return err
	}
	if err := c.cappable(); err != nil {
		return err
	}
	err := c.h.opt.Credits.RemoveBudget(c.r.Context(), c.h.account(c.key), CapID(c.key.Meter))
	if err != nil && !errors.Is(err, credits.ErrNotFound) {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// cappable refuses caps that the host keeps to itself, and of keys that are gone.
func (c *call) cappable() error {
	if c.key.State == apikey.StateDeleted {
		return apikey.ErrNotFound
	}
	return c.editable(FieldCap)
}
