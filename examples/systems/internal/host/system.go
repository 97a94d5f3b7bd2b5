// Package host is what a public API has around its configuration, the same for
// each of the systems beside it: flags, a server, stores in memory, accounts with
// plans, a session for the dashboard, and a key in every state to try.
//
// What makes one system differ from another stands in a [System], in the
// library's own words.
package host

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/management"
	"github.com/keytoll/keytoll/middleware/selfservice"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// A System is one public API, as configuration.
type System struct {
	Name string
	// Prefix and Format say how keys look.
	Prefix string
	Format *apikey.FormatOptions
	// Scopes are all that can be granted; none means that keys have none.
	Scopes []scopes.Definition
	// Plans are what accounts may have, by name. Demo is that of the account that
	// the program starts with.
	Plans map[string]Plan
	Demo  string
	// Secrets are minted with each key.
	Secrets []string
	// Profile, IPLimits and Upgrade are those of the gate.
	Profile  middleware.Profile
	IPLimits []ratelimit.Limit
	Upgrade  func(apikey.Key, middleware.Verdict) string
	// Watch says which place an address is in, so that a key that is used from a new
	// one is told of; nil is nowhere.
	Watch func(netip.Addr) (place string, ok bool)
	// Routes are what the API offers.
	Routes []Route
	// Self is the path of what a key may ask about itself, "" for nothing, and
	// SelfService what that is.
	Self        string
	SelfService selfservice.Options
	// Dashboard is the path of the page on which people manage their keys, and Manage
	// what it offers. The host adds who is signed in, and the ledger.
	Dashboard string
	Manage    management.Options
	// Keys are what the program hands out to try, one for each state.
	Keys []Sample
}

// A Plan is what an account gets.
type Plan struct {
	Keys    apikey.Policy
	Credits []credits.Schedule // without Account
	Budget  credits.Amount     // a month; 0 is none
	// Features of the dashboard; nil is all.
	Features *management.Features
}

// A Route is one operation and its handler.
type Route struct {
	Pattern   string
	Operation middleware.Operation
	Handler   http.HandlerFunc
	Serve     func(*Service) http.HandlerFunc // in place of Handler, for what needs the service
	Plans     []string                        // that include it; none means every plan
}

// A Sample is a key in one state.
type Sample struct {
	State       string // "active", "expired", "revoked", "inactive", "sandbox" or "limited"
	Name        string
	Environment string
	Scopes      string
	Imported    bool // it is of an older system, which granted other scopes
}

// Grants returns the set of scopes that text lists, and panics at a wrong one, as
// regexp.MustCompile does: it is for configuration.
func Grants(text string) scopes.Set {
	set, err := scopes.Parse(text)
	if err != nil {
		panic(err)
	}
	return set
}

// Sliding is a limit of so many in any period, exactly: it remembers each call.
func Sliding(name string, count int64, period time.Duration, of middleware.Subject) middleware.Limit {
	return middleware.Limit{Limit: ratelimit.Limit{Name: name, Algorithm: ratelimit.SlidingLog, Count: count, Period: period}, Subject: of}
}

// Reply answers with v as JSON.
func Reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // fails when the client has left: nobody is there to be told
}
