package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/management"
)

// Demo is the account that the program starts with.
const Demo = "acct_demo"

// budget is the id of an account's monthly budget.
const budget = credits.BudgetID("monthly")

// Accounts know who has which plan: what a host keeps in its own tables.
type Accounts struct {
	plans map[string]Plan

	mu sync.Mutex
	of map[string]string // guarded by mu
}

// Plan returns the name of an owner's plan, "" of nobody's.
func (a *Accounts) Plan(owner string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of[owner]
}

// policy is the [apikey.Options] Policy: what the plan allows. Who has no plan may
// have no keys.
func (a *Accounts) policy(_ context.Context, owner string) (apikey.Policy, error) {
	name := a.Plan(owner)
	p := a.plans[name].Keys
	p.Plan = name
	return p, nil
}

// features is the [management.Options] Features: what the dashboard shows.
func (a *Accounts) features(_ context.Context, owner string) (management.Features, error) {
	if has := a.plans[a.Plan(owner)].Features; has != nil {
		return *has, nil
	}
	return management.Features{Usage: true, Audit: true}, nil
}

// on is the [middleware.Operation] Allow of what only some plans include.
func (a *Accounts) on(plans []string) func(context.Context, apikey.Key) error {
	return func(_ context.Context, key apikey.Key) error {
		if slices.Contains(plans, a.Plan(key.Owner)) {
			return nil
		}
		return &errors.Error{Code: errors.Forbidden, Msg: "the account's plan does not include this; it is part of " + strings.Join(plans, ", ")}
	}
}

// SetPlan puts an owner on a plan: from now on its keys may do what that allows,
// and its account is given what that gives.
func (s *Service) SetPlan(ctx context.Context, owner, plan string) error {
	p, ok := s.system.Plans[plan]
	if !ok {
		return fmt.Errorf("%s has no plan %q", s.system.Name, plan)
	}
	s.Accounts.mu.Lock()
	s.Accounts.of[owner] = plan
	s.Accounts.mu.Unlock()
	account := credits.AccountID(owner)
	before, err := s.Ledger.Schedules(ctx, account)
	if err != nil {
		return err
	}
	for _, schedule := range before {
		if err := s.Ledger.RemoveSchedule(ctx, account, schedule.ID); err != nil {
			return err
		}
	}
	for _, schedule := range p.Credits {
		schedule.Account = account
		if schedule.Anchor.IsZero() {
			schedule.Anchor = s.now() // the subscription begins
		}
		if _, err := s.Ledger.SetSchedule(ctx, schedule); err != nil {
			return err
		}
	}
	if p.Budget > 0 {
		_, err = s.Ledger.SetBudget(ctx, credits.Budget{Account: account, ID: budget, Amount: p.Budget, Every: credits.Month})
	}
	return err
}
