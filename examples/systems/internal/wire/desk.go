package wire

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
)

// A Desk is a dashboard that somebody is signed in to.
type Desk struct {
	*Stage
	owner string
	token apikey.Secret
}

// Desk signs in to the demo account.
func (s *Stage) Desk() *Desk { return &Desk{s, host.Demo, s.Dashboard} }

// DeskOf puts an owner on a plan and signs in.
func (s *Stage) DeskOf(owner, plan string) *Desk {
	s.Helper()
	s.Must(s.SetPlan(s.Context(), owner, plan))
	return &Desk{s, owner, s.SignIn(owner)}
}

// A Shown key is what the dashboard tells of one.
type Shown struct {
	ID, Name, Environment, Start, Last4, Status string

	Scopes      []string
	Settings    map[string]int64
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	LastUsedAt  time.Time `json:"last_used_at"`
	RotationDue bool      `json:"rotation_due"`
	Predecessor string
	Meter       string
}

// An Issued key is shown with its secrets.
type Issued struct {
	Key     Shown
	Secret  string
	Secrets []struct{ Name, Secret string }
}

// A Problem is how the dashboard refuses.
type Problem struct {
	Status                      int
	Code, Detail, Plan, Upgrade string
	Limit                       int
}

// Send asks the dashboard; path is what follows its own.
func (d *Desk) Send(method, path string, body any) Answer {
	d.Helper()
	r := Request{Method: method, Path: d.Page(d.owner) + path, Header: [][2]string{{"Authorization", "Bearer " + d.token.Reveal()}}}
	if body != nil {
		text, err := json.Marshal(body)
		d.Must(err)
		r.Body = string(text)
	} else if method != http.MethodGet {
		r.Body = "{}"
	}
	return d.Do(r)
}

// Ask is Send where the answer must have the status, and is read into v, unless
// that is nil.
func (d *Desk) Ask(method, path string, body any, status int, v any) {
	d.Helper()
	a := d.Send(method, path, body)
	if a.Status != status {
		d.Fatalf("%s %s: %d %s, want %d", method, path, a.Status, a.Body, status)
	}
	if v != nil {
		d.Must(json.Unmarshal([]byte(a.Body), v))
	}
}

// Create makes a key.
func (d *Desk) Create(body any) Issued {
	d.Helper()
	var k Issued
	d.Ask("POST", "", body, http.StatusCreated, &k)
	return k
}

// Refused sends what must be refused with that status and code.
func (d *Desk) Refused(method, path string, body any, status int, code string) Problem {
	d.Helper()
	var p Problem
	d.Ask(method, path, body, status, &p)
	if p.Code != code {
		d.Errorf("%s %s: code %q (%s), want %q", method, path, p.Code, p.Detail, code)
	}
	return p
}

// List returns the keys, by name.
func (d *Desk) List() map[string]Shown {
	d.Helper()
	var page struct{ Keys []Shown }
	d.Ask("GET", "", nil, http.StatusOK, &page)
	keys := make(map[string]Shown, len(page.Keys))
	for _, k := range page.Keys {
		keys[k.Name] = k
	}
	return keys
}
