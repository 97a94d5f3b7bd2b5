package host

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// A tally counts requests by account, key and minute, for the last hour: an observer
// of the gate, and what a dashboard draws.
type tally struct {
	mu      sync.Mutex
	minutes map[time.Time]map[counted]int64 // guarded by mu
}

type counted struct{ owner, key, operation string }

// Decided implements [middleware.Observer].
func (t *tally) Decided(_ context.Context, d middleware.Decision) {
	if d.KeyID == "" {
		return
	}
	minute := d.Time.UTC().Truncate(time.Minute)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.minutes[minute] == nil {
		for old := range t.minutes {
			if minute.Sub(old) > time.Hour {
				delete(t.minutes, old)
			}
		}
		t.minutes[minute] = make(map[counted]int64)
	}
	t.minutes[minute][counted{d.Owner, d.KeyID, d.Operation}]++
}

// Settled implements [middleware.Observer].
func (*tally) Settled(context.Context, middleware.Settled) {}

// A volume is how many requests a key made in a minute.
type volume struct {
	Minute    time.Time `json:"minute"`
	Key       string    `json:"key"`
	Operation string    `json:"operation"`
	Requests  int64     `json:"requests"`
}

// A service is what one operation costs and how often it may be called.
type service struct {
	Operation string            `json:"operation"`
	Scopes    string            `json:"scopes"`
	Price     string            `json:"price"`
	Rates     credits.Rates     `json:"rates,omitempty"` // of a price list
	Limits    map[string]string `json:"limits"`
}

// openReview mounts what a dashboard shows besides keys: the volume of requests, and
// the limits and prices of each service.
func (s *Service) openReview(mux *middleware.Mux) {
	mux.Public("GET "+s.system.Dashboard+"/requests", s.forWhoIsSignedIn(func(owner string) any {
		s.tally.mu.Lock()
		defer s.tally.mu.Unlock()
		list := []volume{}
		for minute, counts := range s.tally.minutes {
			for c, n := range counts {
				if c.owner == owner {
					list = append(list, volume{minute, c.key, c.operation, n})
				}
			}
		}
		return list
	}))
	mux.Public("GET "+s.system.Dashboard+"/services", s.forWhoIsSignedIn(func(string) any {
		var list []service
		for _, rt := range s.Gate.Routes() {
			item := service{Operation: rt.Operation(), Scopes: rt.Scopes().String(), Price: rt.Price().String(), Limits: map[string]string{}}
			if table := rt.Price().Table(); table != nil {
				item.Price = "by list " + table.Version()
				item.Rates, _ = table.Rates(item.Operation)
			}
			for l := range rt.Limits() {
				window := l.Period.String()
				if l.Algorithm == ratelimit.Calendar {
					window = "a " + l.Every.String()
				}
				item.Limits[l.Name] = fmt.Sprintf("%d %s per %s in %s", l.Count, l.Unit, l.Subject, window)
			}
			list = append(list, item)
		}
		return list
	}))
}

// forWhoIsSignedIn answers with what show returns for the account of who is.
func (s *Service) forWhoIsSignedIn(show func(owner string) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := s.signedIn(r)
		if err != nil {
			http.Error(w, "sign in first", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		Reply(w, show(caller.Owner))
	})
}
