package host

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/management"
)

// sessions are who is signed in: what a host has already.
type sessions struct {
	mu sync.Mutex
	of map[[sha256.Size]byte]string // owners by the digest of their token; guarded by mu
}

// SignIn returns what opens the dashboard to a person of that account.
func (s *Service) SignIn(owner string) apikey.Secret {
	token := "session_" + hex.EncodeToString(random(s.rand, 16))
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	s.sessions.of[sha256.Sum256([]byte(token))] = owner
	return apikey.NewSecret(token)
}

// signedIn is the [management.Options] Authenticate: who asks, and whose keys. A
// page of another account is not there.
func (s *Service) signedIn(r *http.Request) (management.Caller, error) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.sessions.mu.Lock()
	owner, ok := s.sessions.of[sha256.Sum256([]byte(token))]
	s.sessions.mu.Unlock()
	if !ok {
		return management.Caller{}, errors.New("nobody is signed in")
	}
	if account := r.PathValue("account"); account != "" && account != owner {
		return management.Caller{}, &errors.Error{Code: errors.NotFound, Msg: "there is no such account"}
	}
	return management.Caller{Owner: owner, Actor: apikey.Actor{ID: "user_of_" + owner, IP: peer(r)}, Verbs: management.Everyday}, nil
}

// peer returns the address that a request came from.
func peer(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr()
}

// openDashboard mounts the page on which people manage their keys.
func (s *Service) openDashboard(mux *middleware.Mux) error {
	o := s.system.Manage
	o.Authenticate, o.Prefix, o.Now, o.Credits, o.Secrets = s.signedIn, s.system.Dashboard, s.now, s.Ledger, s.system.Secrets
	o.Features = s.Accounts.features
	page, err := management.New(s.Keys, &o)
	if err != nil {
		return err
	}
	mux.Public(s.system.Dashboard, page) // it asks for its own session
	mux.Public(s.system.Dashboard+"/", page)
	s.openReview(mux)
	s.Dashboard = s.SignIn(Demo)
	return nil
}

// Page returns the path of an account's dashboard.
func (s *Service) Page(owner string) string {
	return strings.ReplaceAll(s.system.Dashboard, "{account}", owner)
}
