package middleware

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/clientip"
	"github.com/keytoll/keytoll/ratelimit"
)

// A Gate decides who may call what, how often and for how much, and settles
// afterwards. Make one with [NewGate]; it is safe for concurrent use and starts
// no goroutine.
type Gate struct {
	keys     *apikey.Service
	limiter  *ratelimit.Limiter
	flood    *ratelimit.Limiter // of ipLimits
	ledger   *credits.Ledger
	payer    payer // nil without a ledger
	account  func(apikey.Key) credits.AccountID
	guesses  *guesses
	ips      *clientip.Resolver
	ipLimits ratelimit.Limits
	opt      Options // copied, defaults filled in
	realm    string  // the challenge's scheme and realm
	required string  // the detail of VerdictMissing: where a key is looked for
	fields   fieldTable
	once     *once // nil without Options.Idempotency

	mu     sync.Mutex
	limits map[string]Limit  // by name, with their one definition; guarded by mu
	routes map[string]*Route // by operation name; guarded by mu
}

// NewGate returns a gate in front of keys, which is required. Nil options are
// the defaults; they are copied. The error names every fault at once.
func NewGate(keys *apikey.Service, o *Options) (*Gate, error) {
	f := errors.Faults{Op: "middleware.NewGate"}
	g := &Gate{keys: keys, limits: make(map[string]Limit), routes: make(map[string]*Route)}
	if o != nil {
		g.opt = *o
	}
	if keys == nil {
		f.Add("keys is nil; give an *apikey.Service")
	}
	g.opt.check(&f)
	g.opt.TrustedProxies = slices.Clone(g.opt.TrustedProxies)
	g.opt.Profile.Credentials = slices.Clone(g.opt.Profile.Credentials)
	g.opt.Profile.Answers = maps.Clone(g.opt.Profile.Answers)
	g.opt.Profile.Fields = slices.Clone(g.opt.Profile.Fields)
	g.opt.Profile.fill(&f)
	g.fields = g.opt.Profile.fieldTable()
	g.realm, g.required = g.opt.Profile.challenge(), g.opt.Profile.required()
	if g.opt.StoreTimeout == 0 {
		g.opt.StoreTimeout = 5 * time.Second
	}
	if g.opt.SettleTimeout == 0 {
		g.opt.SettleTimeout = 5 * time.Second
	}
	if g.opt.Random == nil {
		g.opt.Random = randomNumber
	}
	g.ledger, g.payer, g.account = g.opt.Credits, g.opt.payer(), g.opt.Account
	g.openLimits(&f)
	if g.opt.Now == nil {
		g.opt.Now = time.Now //nolint:forbidigo // the one default clock
	}
	var err error
	if g.ips, err = clientip.NewResolver(g.opt.TrustedProxies...); err != nil {
		f.Join(err)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return g, nil
}

// openLimits makes the limiters. It runs before Now has its default, so that
// memory stores keep their own monotonic clock unless a clock was given.
func (g *Gate) openLimits(f *errors.Faults) {
	memory := &ratelimit.MemoryOptions{Now: g.opt.Now}
	g.limiter = newLimiter(f, g.opt.Limits, memory)
	var err error
	if len(g.opt.IPLimits) > 0 {
		// A memory of its own: strangers' addresses must not use up the room of keys.
		store := g.opt.Limits
		if _, ok := store.(*ratelimit.MemoryStore); ok {
			store = nil
		}
		g.flood = newLimiter(f, store, memory)
		if g.ipLimits, err = ratelimit.NewLimits(g.opt.IPLimits...); err != nil {
			f.Join(err)
		}
		for l := range g.ipLimits.All() {
			g.limits[l.Name] = Limit{Limit: l, Subject: gateIP}
		}
	}
	failed := g.opt.FailedAuth
	if failed == (ratelimit.Limit{}) {
		failed = defaultFailedAuth()
	}
	g.once = newOnce(f, g.opt.Idempotency, memory)
	noLeases(f, "IPLimits", g.opt.IPLimits...)
	noLeases(f, "FailedAuth", failed)
	if g.guesses, err = newGuesses(failed, memory); err != nil {
		f.Join(err)
	}
}

// newLimiter returns a limiter whose charges bring their limits, on store or on a
// memory store of its own.
func newLimiter(f *errors.Faults, store ratelimit.Store, memory *ratelimit.MemoryOptions) *ratelimit.Limiter {
	if store == nil {
		own, err := ratelimit.NewMemoryStore(memory)
		f.Join(err)
		store = own
	}
	limiter, err := ratelimit.NewLimiter(store, ratelimit.Limits{}, nil)
	f.Join(err)
	return limiter
}

// accountOf returns the account that pays for key.
func (g *Gate) accountOf(key apikey.Key) credits.AccountID {
	if g.account != nil {
		return g.account(key)
	}
	return credits.AccountID(key.Owner)
}
