// Magica is an API whose keys each have limits of their own, as configuration:
// labels that differ, a date to expire at, one message in two members of each error.
//
//	go run ./examples/systems/magica
package main

import (
	"net/http"

	"github.com/keytoll/keytoll/examples/systems/internal/host"
)

func main() { host.Main(system()) }

// listModels stands in for the list of models.
func listModels(w http.ResponseWriter, _ *http.Request) {
	host.Reply(w, struct {
		Models []string `json:"models"`
	}{[]string{"image-1", "video-1"}})
}
