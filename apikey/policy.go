package apikey

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// A Policy is what an owner's plan allows, asked for by [Options.Policy]. The zero
// value allows no new key and no scope.
//
// It bounds what is given, when it is given: new keys, and changes that name,
// widen or lengthen. What a key has stays, and what takes away is never refused
// and asks no policy. Scopes and settings are bounded at each use as well: after a
// downgrade [Service.Verify] returns only what the plan still includes.
type Policy struct {
	// Plan names the plan, for [scopes.Registry.CheckPlan] and for messages.
	Plan string
	// MayCreate allows new keys; without it those that are there go on working.
	MayCreate bool
	// MaxKeys is how many keys may count at once; 0 is any number. A key counts when
	// its state is one of CountStates, or active when that is empty, and it is not
	// expired, unless CountExpired is set. One that was rotated never counts: its
	// successor does, or does not while it is disabled, so whoever may disable and
	// enable keys has some more for the grace of their rotations. The bound is kept
	// under any race.
	MaxKeys      int
	CountStates  []State
	CountExpired bool
	// RequireName asks for a name, and UniqueNames for one that no other key of the
	// owner has: those that are revoked, deleted or rotated have given theirs up.
	// Names given before UniqueNames was set, and those of imported keys, count from
	// the next time that the key is renamed, away and back if need be.
	RequireName bool
	UniqueNames bool
	// Scopes is the ceiling: what keys may be granted at most. "*" is everything.
	Scopes scopes.Set
	// MaxTTL is the longest time from Key.SecretAt to Key.ExpiresAt; 0 is any, and
	// never. DefaultTTL, unless 0, is given to new keys without an end; where it is
	// 0 and MaxTTL is not, they must have one.
	MaxTTL     time.Duration
	DefaultTTL time.Duration
	// Settings, unless empty, are all that keys may have.
	Settings []Setting
	// UpgradeHint is added to messages about the plan: a text or a link, safe for
	// clients.
	UpgradeHint string
}

// A Setting declares one of [Key.Settings]: the number that a key has when none
// was given, and the bounds of one that is.
type Setting struct {
	Name              string
	Default, Min, Max int64 // Min <= Default <= Max
}

// Validate returns what keeps p from being a sensible policy, every fault at once
// and of code Invalid.
func (p *Policy) Validate() error {
	faults := errors.Faults{Op: "apikey.Policy"}
	if p.MaxKeys < 0 {
		faults.Add("MaxKeys is %d; give 0 for any number, or more", p.MaxKeys)
	}
	for i, state := range p.CountStates {
		if _, err := state.MarshalText(); err != nil {
			faults.Add("CountStates[%d] is %v; give active, disabled, revoked or deleted", i, state)
		}
	}
	if p.MaxTTL < 0 || p.DefaultTTL < 0 {
		faults.Add("MaxTTL is %v and DefaultTTL %v; give 0 or more", p.MaxTTL, p.DefaultTTL)
	}
	if p.MaxTTL > 0 && p.DefaultTTL > p.MaxTTL {
		faults.Add("DefaultTTL %v is longer than MaxTTL %v", p.DefaultTTL, p.MaxTTL)
	}
	for i, s := range p.Settings {
		if s.Name == "" || !plain(s.Name, MaxEntryName) {
			faults.Add("setting %q: give 1 to %d bytes of UTF-8 without control characters", clip(s.Name), MaxEntryName)
		}
		if s.Default < s.Min || s.Default > s.Max {
			faults.Add("setting %q: default %d is not within %d to %d", clip(s.Name), s.Default, s.Min, s.Max)
		}
		if slices.ContainsFunc(p.Settings[:i], func(o Setting) bool { return o.Name == s.Name }) {
			faults.Add("setting %q is there twice; declare it once", clip(s.Name))
		}
	}
	if len(p.Settings) > MaxEntries {
		faults.Add("%d settings; give %d or less", len(p.Settings), MaxEntries)
	}
	return faults.Err()
}

// policyOf returns the policy of an owner, nil where there is none to ask. One
// that cannot be had, or makes no sense, refuses.
func (s *Service) policyOf(ctx context.Context, op, owner string) (*Policy, error) {
	if s.policy == nil {
		return nil, nil
	}
	p, err := s.policy(ctx, owner)
	if err == nil {
		err = p.Validate()
	}
	switch {
	case err == nil:
		return &p, nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return nil, s.fault(ctx, op, err)
	}
	return nil, unavailablePolicy(op, err)
}

func unavailablePolicy(op string, err error) error {
	return &errors.Error{Code: errors.Unavailable, Op: op, Msg: "what the account's plan allows cannot be told now; try again later", Err: err}
}

// checkGrant refuses scopes that nobody can be granted, beside those had.
func (s *Service) checkGrant(op string, had, want scopes.Set) error {
	if s.registry == nil {
		return nil
	}
	return errors.Wrap(op, s.registry.CheckGrant(had, want))
}

// govern holds what a draft gives against the policy of the owner, fills in its
// defaults, and sets label and cap. A draft that gives nothing asks no policy.
func (s *Service) govern(ctx context.Context, op string, d *draft) error {
	fresh := d.was.Key.ID == ""
	named := fresh || d.Key.Name != d.was.Key.Name
	granted := d.Key.Scopes
	if !fresh {
		granted = granted.Minus(d.was.Key.Scopes)
	}
	grants := fresh || !d.was.Key.Scopes.Covers(d.Key.Scopes)
	set := fresh || !d.Key.Settings.Equal(d.was.Key.Settings)
	lengthens := fresh || later(d.Key.ExpiresAt, d.was.Key.ExpiresAt)
	enables := d.Key.State == StateActive && d.was.Key.State != StateActive
	if !named && !grants && !set && !lengthens && !enables {
		return nil
	}
	p, err := s.policyOf(ctx, op, d.Key.Owner)
	if p == nil {
		if named {
			d.Label = ""
		}
		return err
	}
	d.policy = p
	if fresh && !p.MayCreate {
		return &errors.Error{Code: errors.Forbidden, Op: op, Msg: "the account's plan" + p.name() + " does not allow new API keys" + p.hint(), Err: ErrMayNotCreate}
	}
	faults := errors.Faults{Op: op}
	if named {
		if p.RequireName && d.Key.Name == "" {
			faults.Add("name is empty; give one")
		}
		d.Label = p.label(&d.Key)
	}
	if grants {
		faults.Join(errors.Wrap(op, s.checkPlan(p, granted)))
	}
	if set {
		d.Key.Settings = p.settle(&faults, d.was.Key.Settings, d.Key.Settings)
	}
	if lengthens {
		p.checkEnd(&faults, d, fresh)
	}
	d.cap = p.cap(d)
	return faults.Err()
}

// later reports whether a is a later end than b; the zero time is never.
func later(a, b time.Time) bool { return !b.IsZero() && (a.IsZero() || a.After(b)) }

// name and hint return the parts of messages about the plan.
func (p *Policy) name() string {
	if p.Plan == "" {
		return ""
	}
	return " " + quote(clip(p.Plan))
}

func (p *Policy) hint() string {
	if p.UpgradeHint == "" {
		return ""
	}
	return "; " + p.UpgradeHint
}

// label returns what the owner's keys must have once, for a key of that name.
func (p *Policy) label(k *Key) string {
	if !p.UniqueNames || k.Successor != "" || k.State != StateActive && k.State != StateDisabled {
		return ""
	}
	return k.Name
}

// checkPlan refuses scopes beyond the plan or the ceiling.
func (s *Service) checkPlan(p *Policy, granted scopes.Set) error {
	if s.registry != nil {
		if err := s.registry.CheckPlan(p.Plan, granted); err != nil {
			return &errors.Error{Msg: errors.MessageOf(err) + p.hint(), Err: err}
		}
	}
	for scope := range granted.All() {
		one, err := scopes.Of(scope)
		if err == nil && p.Scopes.Covers(one) {
			continue
		}
		return &errors.Error{Msg: quote(scope) + ": beyond what the account may grant" + p.hint(), Err: scopes.ErrPlan}
	}
	return nil
}

// settle returns the settings that a key may have which asks for want and had
// some: the defaults of what is missing, and what it had already, whatever is
// declared now.
func (p *Policy) settle(faults *errors.Faults, had, want Settings) Settings {
	if len(p.Settings) == 0 {
		return want
	}
	full := make(map[string]int64, want.Len()+len(p.Settings))
	for name, n := range want.All() {
		full[name] = n
		before, known := had.Lookup(name)
		if known && before == n {
			continue
		}
		i := slices.IndexFunc(p.Settings, func(s Setting) bool { return s.Name == name })
		if i < 0 {
			faults.Add("setting %q is not one of the plan's; leave it out", clip(name))
		} else if s := p.Settings[i]; n < s.Min || n > s.Max {
			faults.Add("setting %q is %d; give %d to %d", clip(name), n, s.Min, s.Max)
		}
	}
	for _, s := range p.Settings {
		if _, given := full[s.Name]; !given {
			full[s.Name] = s.Default
		}
	}
	settled, err := NewSettings(full)
	faults.Join(err)
	return settled
}

// checkEnd gives a new key an end, where the policy has one, and refuses one that
// is too far.
func (p *Policy) checkEnd(faults *errors.Faults, d *draft, fresh bool) {
	if fresh && d.Key.ExpiresAt.IsZero() && p.DefaultTTL > 0 {
		d.Key.ExpiresAt = toMicros(d.now.Add(p.DefaultTTL))
	}
	if p.MaxTTL == 0 {
		return
	}
	if last := toMicros(d.Key.SecretAt.Add(p.MaxTTL)); later(d.Key.ExpiresAt, last) {
		faults.Add("expiry is %s; give %s or earlier", endText(d.Key.ExpiresAt), stamp(last))
	}
}

func endText(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return stamp(at)
}

// cap returns the bound that a draft must keep, if it makes one more key count.
func (p *Policy) cap(d *draft) *Cap {
	if p.MaxKeys == 0 {
		return nil
	}
	c := &Cap{Owner: d.Key.Owner, Most: p.MaxKeys, States: p.CountStates}
	if len(c.States) == 0 {
		c.States = []State{StateActive}
	}
	if !p.CountExpired {
		c.LiveAt = d.now
	}
	if c.Counts(&d.was) || !c.Counts(&d.Record) {
		return nil
	}
	return c
}

// cut takes from k, at a use, what the owner's policy does not include any more:
// scopes beyond plan and ceiling, and what settings have beyond their bounds. It
// allocates nothing when nothing is cut; the policy is asked each time.
func (s *Service) cut(ctx context.Context, k *Key) error {
	if s.policy == nil {
		return nil
	}
	p, err := s.policy(ctx, k.Owner)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return s.fault(ctx, "apikey.Verify", err)
		}
		return unavailablePolicy("apikey.Verify", err)
	}
	if s.registry != nil {
		k.Scopes = s.registry.Allowed(p.Plan, k.Scopes)
	}
	k.Scopes = k.Scopes.Intersect(p.Scopes)
	k.Settings = k.Settings.within(p.Settings)
	return nil
}

// A LimitError says that an owner has as many keys as the plan allows, in numbers.
// It matches [ErrKeyLimit].
type LimitError struct {
	Limit       int
	Plan        string
	UpgradeHint string
}

// Error returns what the plan allows.
func (e *LimitError) Error() string { return "the plan allows " + keyCount(e.Limit) }

func keyCount(n int) string {
	if n == 1 {
		return "1 API key"
	}
	return strconv.Itoa(n) + " API keys"
}

// Unwrap returns [ErrKeyLimit].
func (e *LimitError) Unwrap() error { return ErrKeyLimit }

// refusal gives an error of Apply what a person needs to mend it.
func (s *Service) refusal(ctx context.Context, op string, err error, d *draft) error {
	switch p := d.policy; {
	case errors.Is(err, ErrNameTaken):
		return &errors.Error{Code: errors.Exists, Op: op, Msg: "name " + quote(d.Label) + ": another API key of the account has it; give another", Err: err}
	case errors.Is(err, ErrKeyLimit) && p != nil:
		return &errors.Error{
			Code: errors.Exhausted, Op: op,
			Msg: "the account's plan" + p.name() + " allows " + keyCount(p.MaxKeys) + "; revoke one first" + p.hint(),
			Err: &LimitError{Limit: p.MaxKeys, Plan: p.Plan, UpgradeHint: p.UpgradeHint},
		}
	}
	return s.fault(ctx, op, err)
}
