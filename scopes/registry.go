package scopes

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// Reasons why a set may not be granted. They arrive wrapped, with a message
// that names the scopes.
var (
	ErrUnknown error = &errors.Error{Code: errors.Invalid, Msg: "the scope is not one that can be granted"}
	ErrPlan    error = &errors.Error{Code: errors.Forbidden, Msg: "the plan does not include the scope"}
)

// A Definition is one scope that exists, for people and for granting.
type Definition struct {
	Name        string   // a concrete scope: wildcards are granted, not defined
	Description string   // one line for the person who grants it; may be empty
	Plans       []string // the plans that include it, case-sensitive; none means every plan
}

// On reports whether plan includes the scope.
func (d Definition) On(plan string) bool {
	return len(d.Plans) == 0 || slices.Contains(d.Plans, plan)
}

// A Registry is the list of all scopes that exist, each with the plans that
// include it. It never changes and is safe for concurrent use. The zero value
// knows no scope, so that nothing new can be granted.
//
// Scopes that a set holds and the registry does not define (retired ones, or
// those of an older program) stay in the set, count as before and are shown;
// they cannot be granted anew.
type Registry struct {
	defs   []Definition
	byName map[string]int // index into defs
}

// NewRegistry returns a registry of the given definitions, which it copies. It
// refuses, all at once and with code Invalid, names that are malformed, hold a
// wildcard or repeat, and plans that are empty or repeat within a definition.
func NewRegistry(defs ...Definition) (*Registry, error) {
	f := errors.Faults{Op: "scopes.NewRegistry"}
	r := &Registry{byName: make(map[string]int, len(defs))}
	for i, d := range defs {
		if _, fault := check(d.Name); fault != "" {
			f.Add("definition %d: name %q %s", i+1, clip(d.Name), fault)
		} else if !IsConcrete(d.Name) {
			f.Add("definition %d: name %q holds a wildcard; define each scope by its full name", i+1, d.Name)
		}
		if first, ok := r.byName[d.Name]; ok {
			f.Add("definition %d: name %q is taken by definition %d; give each scope once", i+1, clip(d.Name), first+1)
		}
		for j, plan := range d.Plans {
			if plan == "" {
				f.Add("definition %d (%q): plan %d is empty; name it, or give no plans to include every plan", i+1, clip(d.Name), j+1)
			} else if slices.Contains(d.Plans[:j], plan) {
				f.Add("definition %d (%q): plan %q is there twice; give it once", i+1, clip(d.Name), clip(plan))
			}
		}
		d.Plans = slices.Clone(d.Plans)
		r.defs = append(r.defs, d)
		r.byName[d.Name] = i
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return r, nil
}

// Lookup returns the definition of name. The caller owns its Plans.
func (r *Registry) Lookup(name string) (Definition, bool) {
	i, ok := r.byName[name]
	if !ok {
		return Definition{}, false
	}
	return r.defs[i].clone(), true
}

// All yields the definitions in the order in which NewRegistry got them. The
// caller owns their Plans.
func (r *Registry) All() iter.Seq[Definition] {
	return func(yield func(Definition) bool) {
		for _, d := range r.defs {
			if !yield(d.clone()) {
				return
			}
		}
	}
}

func (d Definition) clone() Definition {
	d.Plans = slices.Clone(d.Plans)
	return d
}

// CheckRequirement returns what [Requirement.Validate] does, and an error of
// code Invalid that matches [ErrUnknown] when req names a scope that is not
// defined: nobody could be granted it.
func (r *Registry) CheckRequirement(req Requirement) error {
	if err := req.Validate(); err != nil {
		return err
	}
	var unknown []string
	for _, name := range req.Names() {
		if _, ok := r.byName[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	return refusal("scopes.CheckRequirement", ErrUnknown, unknown, "not defined; define each scope that an operation requires")
}

// CheckGrant decides whether a set had may become want: each scope of want
// that is not, as written, in had must be defined or be a wildcard that matches
// at least one definition. Otherwise the error, of code Invalid, matches
// [ErrUnknown] and names the scopes. For a new key had is the zero Set.
//
// It does not ask who grants: that is [Set.Covers], with the granter's set.
func (r *Registry) CheckGrant(had, want Set) error {
	var unknown []string
	for scope := range want.Minus(had).All() {
		if !r.knows(scope) {
			unknown = append(unknown, scope)
		}
	}
	return refusal("scopes.CheckGrant", ErrUnknown, unknown, "not known and cannot be granted; choose defined scopes")
}

func (r *Registry) knows(scope string) bool {
	if _, ok := r.byName[scope]; ok {
		return true
	}
	return slices.ContainsFunc(r.defs, func(d Definition) bool { return covers(scope, d.Name) })
}

// CheckPlan returns nil when plan includes everything that s grants, now.
// Otherwise the error, of code Forbidden, matches [ErrPlan] and names the
// scopes that reach beyond it. Scopes that are not defined are in no plan's way.
func (r *Registry) CheckPlan(plan string, s Set) error {
	var beyond []string
	for scope := range s.All() {
		if !r.within(plan, scope) {
			beyond = append(beyond, scope)
		}
	}
	return refusal("scopes.CheckPlan", ErrPlan, beyond, "not included in the plan; choose scopes that it includes, or a higher plan")
}

// Allowed returns what s grants on plan, to be asked at each use: a plan may
// have been lowered since the grant. A scope that the plan does not include is
// left out; a wildcard that reaches beyond the plan is replaced by the defined
// scopes that it matches and the plan includes. Scopes that are not defined
// stay. It does not allocate when all of s is allowed.
//
// Should the replacement need more than [MaxScopes], those beyond are left out.
func (r *Registry) Allowed(plan string, s Set) Set {
	for scope := range s.All() {
		if !r.within(plan, scope) {
			return r.narrow(plan, s)
		}
	}
	return s
}

// within reports whether plan includes every definition that scope matches.
func (r *Registry) within(plan, scope string) bool {
	if strings.IndexByte(scope, '*') < 0 {
		i, ok := r.byName[scope]
		return !ok || r.defs[i].On(plan)
	}
	for i := range r.defs {
		if !r.defs[i].On(plan) && covers(scope, r.defs[i].Name) {
			return false
		}
	}
	return true
}

// narrow is Allowed where something of s reaches beyond plan.
func (r *Registry) narrow(plan string, s Set) Set {
	var list []string
	for scope := range s.All() {
		if r.within(plan, scope) {
			list = append(list, scope)
			continue
		}
		for _, d := range r.defs {
			if d.On(plan) && covers(scope, d.Name) {
				list = append(list, d.Name)
			}
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return join(list[:min(len(list), MaxScopes)])
}

// refusal returns nil when names is empty, and else an error that wraps cause.
func refusal(op string, cause error, names []string, why string) error {
	if len(names) == 0 {
		return nil
	}
	const enough = 8 // names in a message
	quoted := make([]string, 0, enough)
	for _, name := range names[:min(len(names), enough)] {
		quoted = append(quoted, strconv.Quote(clip(name)))
	}
	msg := strings.Join(quoted, ", ")
	if more := len(names) - len(quoted); more > 0 {
		msg += " and " + strconv.Itoa(more) + " more"
	}
	return &errors.Error{Op: op, Msg: msg + ": " + why, Err: cause}
}
