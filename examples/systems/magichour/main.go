// Magichour is an API that takes its key with or without a scheme, as configuration:
// permissions of each key, a list that shows a name and four characters, credits by key
// where the plan is usage-based.
//
//	go run ./examples/systems/magichour
package main

import (
	"net/http"

	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
)

func main() { host.Main(system()) }

// image stands in for the generator.
func image(w http.ResponseWriter, r *http.Request) {
	pass, _ := middleware.PassFrom(r.Context())
	hold, _ := pass.Hold()
	host.Reply(w, struct {
		ID      string `json:"id"`
		Charged string `json:"credits_charged"`
	}{"img_1", hold.Amount.String()})
}
