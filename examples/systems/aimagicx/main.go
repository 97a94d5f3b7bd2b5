// Aimagicx is an API with nine scopes, as configuration: an error envelope that
// names the scope that is missing, five headers on every authenticated answer.
//
//	go run ./examples/systems/aimagicx
package main

import (
	"net/http"

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
