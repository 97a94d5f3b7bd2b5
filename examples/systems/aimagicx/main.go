// Aimagicx is an API with nine scopes, as configuration: an error envelope that
// names the scope that is missing, five headers on every authenticated answer.
//
//	go run ./examples/systems/aimagicx
package main

import (
	"net/http"
	"net/netip"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
)

func main() { host.Main(system()) }

// answer stands in for the models.
func answer(w http.ResponseWriter, r *http.Request) {
	pass, _ := middleware.PassFrom(r.Context())
	host.Reply(w, struct {
		Success   bool   `json:"success"`
		Operation string `json:"operation"`
	}{true, pass.Operation()})
}

type credit struct {
	Available credits.Amount `json:"available"`
}

// balance tells what the account has.
func balance(w http.ResponseWriter, r *http.Request) {
	pass, _ := middleware.PassFrom(r.Context())
	b, err := pass.Balance(r.Context())
	if err != nil {
		pass.Refuse(w, r, http.StatusServiceUnavailable, "UNAVAILABLE", "The balance cannot be told now")
		return
	}
	host.Reply(w, credit{b.Available})
}

// purchase stands in for the shop: it sells a hundred credits for nothing, once for
// each request.
func purchase(s *host.Service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pass, _ := middleware.PassFrom(r.Context())
		_, err := s.Ledger.Grant(r.Context(), credits.Grant{
			Account: credits.AccountID(pass.Key().Owner), ID: credits.OpID("invoice-" + pass.RequestID()), Amount: 100 * credits.Credit,
		})
		if err != nil {
			pass.Refuse(w, r, http.StatusServiceUnavailable, "UNAVAILABLE", "Nothing was sold")
			return
		}
		balance(w, r)
	}
}

// country stands in for a data base of addresses: of those that are set aside for
// documentation (RFC 5737), one net is one country.
func country(a netip.Addr) (string, bool) {
	for name, net := range map[string]string{"Utopia": "192.0.2.0/24", "Erewhon": "198.51.100.0/24", "Lilliput": "203.0.113.0/24"} {
		if netip.MustParsePrefix(net).Contains(a) {
			return name, true
		}
	}
	return "", false
}
