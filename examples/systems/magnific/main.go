// Magnific is the API of a stock library with AI tools, as configuration: keys of an
// organisation in a header of its own, limits of the key and of the address, a
// pool of credits, five keys and a way to more.
//
//	go run ./examples/systems/magnific
package main

import (
	"net/http"

	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
)

func main() { host.Main(system()) }

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
