package selfservice

import (
	"net/http"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/internal/endpoint"
	"github.com/keytoll/keytoll/ratelimit"
)

// A View is what a key is shown of itself.
type View struct {
	endpoint.Key
	Credits *Credits          `json:"credits,omitempty" doc:"What the account has; left out where there are no credits, or the key may not see them."`
	Budgets []endpoint.Budget `json:"budgets,omitempty" doc:"What the key may spend at most: all of them must have room."`
	Limits  []Limit           `json:"limits" doc:"What the limits of the operations that the key may call have left."`
}

// Credits are what the account that pays for a key has.
type Credits struct {
	Available credits.Amount `json:"available" doc:"What can be spent now."`
	Held      credits.Amount `json:"held" doc:"Set aside for calls that are running."`
}

// A Limit is how a limit stands.
type Limit struct {
	Name      string  `json:"name"`
	Subject   string  `json:"subject" enum:"key owner ip" doc:"Who shares the limit."`
	Unit      string  `json:"unit" doc:"What is counted."`
	Quota     int64   `json:"quota" doc:"The most that can be free."`
	Window    float64 `json:"window_seconds,omitempty" doc:"In which a whole quota comes back; left out of a limit of what runs at once."`
	Remaining int64   `json:"remaining"`
	Reset     float64 `json:"reset_seconds" doc:"Until the whole quota is free."`
}

// view answers with the key's own view of itself.
func (c *call) view() error {
	if _, err := endpoint.Query(c.r); err != nil {
		return err
	}
	out := View{Key: endpoint.ViewKey(&c.key, c.h.opt.Now(), c.h.opt.RotateEvery), Limits: []Limit{}}
	if err := c.money(&out); err != nil {
		return err
	}
	if err := c.limits(&out); err != nil {
		return err
	}
	endpoint.WriteJSON(c.w, http.StatusOK, out)
	return nil
}

// money fills in credits and budgets.
func (c *call) money(out *View) error {
	ledger := c.h.gate.Credits()
	if ledger == nil {
		return nil
	}
	whole := c.h.opt.Account.Met(c.key.Scopes)
	if whole {
		balance, err := c.pass.Balance(c.r.Context())
		if err != nil {
			return err
		}
		out.Credits = &Credits{Available: balance.Available, Held: balance.Held + balance.Leased}
	}
	budgets, err := ledger.BudgetsCovering(c.r.Context(), c.pass.Account(), c.key.Meter, "")
	if err != nil {
		return err
	}
	for i := range budgets {
		if b := &budgets[i]; whole || b.Key == c.key.Meter {
			out.Budgets = append(out.Budgets, endpoint.ViewBudget(b))
		}
	}
	return nil
}

// limits fills in how the limits stand that the key can meet.
func (c *call) limits(out *View) error {
	routes := c.h.opt.Routes
	if routes == nil {
		routes = c.h.gate.Routes()
	}
	seen := make(map[string]bool) // operations may share a limit
	for _, rt := range routes {
		subjects := make(map[string]middleware.Subject)
		for l := range rt.Limits() {
			if !seen[l.Name] && l.Subject != middleware.PerOperation {
				subjects[l.Name] = l.Subject
			}
		}
		if len(subjects) == 0 || !rt.Scopes().Met(c.key.Scopes) {
			continue
		}
		result, err := c.pass.Peek(c.r.Context(), rt)
		if err != nil {
			return err
		}
		for s := range result.States() {
			subject, ok := subjects[s.Limit.Name]
			if seen[s.Limit.Name] = true; ok && !s.Limit.Shadow {
				out.Limits = append(out.Limits, viewLimit(&s, subject))
			}
		}
	}
	return nil
}

func viewLimit(s *ratelimit.State, subject middleware.Subject) Limit {
	l := Limit{
		Name: s.Limit.Name, Subject: subject.String(), Unit: s.Limit.Unit, Quota: s.Quota, Window: s.Window.Seconds(),
		Remaining: s.Remaining, Reset: s.ResetAfter.Seconds(),
	}
	if s.Limit.Algorithm == ratelimit.Concurrency {
		l.Window = 0
	}
	return l
}

// usage answers with what the key spent, and its predecessors under its meter.
func (c *call) usage() error {
	values, err := endpoint.Query(c.r, endpoint.UsageNames()...)
	if err != nil {
		return err
	}
	ledger := c.h.gate.Credits()
	if ledger == nil {
		return endpoint.Refuse(http.StatusNotFound, "no_credits", "there are no credits here")
	}
	q, by, err := endpoint.ReadUsage(values, c.h.opt.Now())
	if err != nil {
		return err
	}
	q.Account, q.Key = c.pass.Account(), c.key.Meter
	rows, err := ledger.Usage(c.r.Context(), q)
	if err != nil {
		return err
	}
	endpoint.WriteJSON(c.w, http.StatusOK, endpoint.ViewUsage(&q, by, rows))
	return nil
}
