package main

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
)

// A desk takes submissions in. Whose they are, and in which environment, it learns
// from the key alone.
type desk struct {
	mu    sync.Mutex
	taken []submission // guarded by mu
}

type submission struct {
	ID          string `json:"id"`
	Workspace   string `json:"workspace"`
	Environment string `json:"environment"`
}

func (d *desk) create(w http.ResponseWriter, r *http.Request) {
	pass, _ := middleware.PassFrom(r.Context())
	key := pass.Key()
	d.mu.Lock()
	s := submission{ID: "sub_" + strconv.Itoa(len(d.taken)+1), Workspace: key.Owner, Environment: key.Environment}
	d.taken = append(d.taken, s)
	d.mu.Unlock()
	host.Reply(w, s)
}

func (d *desk) list(w http.ResponseWriter, r *http.Request) {
	pass, _ := middleware.PassFrom(r.Context())
	key, own := pass.Key(), []submission{}
	d.mu.Lock()
	for _, s := range d.taken {
		if s.Workspace == key.Owner && s.Environment == key.Environment {
			own = append(own, s)
		}
	}
	d.mu.Unlock()
	host.Reply(w, own)
}

func (d *desk) read(w http.ResponseWriter, r *http.Request) {
	pass, _ := middleware.PassFrom(r.Context())
	var found submission
	d.mu.Lock()
	for _, s := range d.taken {
		if s.ID == r.PathValue("id") && s.Environment == pass.Key().Environment {
			found = s
		}
	}
	d.mu.Unlock()
	if pass.RequireOwner(w, r, found.Workspace) { // one that does not exist is nobody's
		host.Reply(w, found)
	}
}
