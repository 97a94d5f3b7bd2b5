// Magnific is the API of a stock library with AI tools, as configuration: keys of an
// organisation in a header of its own, limits of the key and of the address, a
// pool of credits, five keys and a way to more.
//
//	go run ./examples/systems/magnific
package main

import (
	"log"
	"net/http"
	"sync/atomic"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
)

func main() {
	list, err := prices("2026-01", 5)
	if err != nil {
		log.Fatal(err)
	}
	host.Main(system(list))
}

// prices returns the price list of that version, which may change while the
// service runs.
func prices(version string, image credits.Amount) (*atomic.Pointer[credits.PriceTable], error) {
	table, err := credits.NewPriceTable(version, map[string]credits.Rates{"mystic": {"images": {Amount: image * credits.Credit, Per: 1}}})
	list := new(atomic.Pointer[credits.PriceTable])
	list.Store(table)
	return list, err
}

// resources stands in for the catalogue.
func resources(w http.ResponseWriter, _ *http.Request) {
	host.Reply(w, struct {
		Data []string `json:"data"`
	}{[]string{"vectors", "photos", "icons"}})
}

// mystic stands in for the model.
func mystic(w http.ResponseWriter, r *http.Request) {
	pass, _ := middleware.PassFrom(r.Context())
	hold, _ := pass.Hold()
	host.Reply(w, struct {
		Status  string `json:"status"`
		Credits string `json:"credits"`
	}{"CREATED", hold.Amount.String()})
}
