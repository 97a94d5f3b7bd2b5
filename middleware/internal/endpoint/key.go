package endpoint

import (
	"maps"
	"slices"
	"time"

	"github.com/keytoll/keytoll/apikey"
)

// A Key is what may be shown of an API key to who holds or manages it.
type Key struct {
	ID            string           `json:"id" doc:"The key's public name. It proves nothing."`
	Name          string           `json:"name"`
	Owner         string           `json:"owner" doc:"The account that the key belongs to."`
	Environment   string           `json:"environment,omitempty"`
	Start         string           `json:"start" doc:"How the key's text begins."`
	Last4         string           `json:"last4" doc:"How the key's text ends."`
	Status        apikey.Status    `json:"status" enum:"active disabled suspended expired rotated revoked deleted unknown" doc:"How the key stands now."`
	Scopes        []string         `json:"scopes" doc:"What the key may do."`
	Settings      map[string]int64 `json:"settings,omitempty" doc:"The key's own numbers, such as limits."`
	Networks      []string         `json:"networks,omitempty" doc:"The only places that the key may be used from; left out where it is any."`
	CreatedAt     time.Time        `json:"created_at"`
	SecretAt      time.Time        `json:"secret_at" doc:"When the key's present text was made."`
	ExpiresAt     time.Time        `json:"expires_at,omitzero" doc:"The first instant at which the key no longer works; left out where it is never."`
	LastUsedAt    time.Time        `json:"last_used_at,omitzero"`
	RotationDue   bool             `json:"rotation_due,omitempty" doc:"The key's text is as old as it should get."`
	RevokedReason string           `json:"revoked_reason,omitempty"`
	Predecessor   string           `json:"predecessor,omitempty" doc:"The id of the key that this one took the place of."`
	Successor     string           `json:"successor,omitempty" doc:"The id of the key that took the place of this one."`
	Meter         string           `json:"meter" doc:"What the key's use is counted under; rotation keeps it."`
	Version       int64            `json:"version" doc:"Counts the changes of the key."`
}

// ViewKey returns what may be shown of k at now. A text that is rotateEvery old is
// due; 0 is never.
func ViewKey(k *apikey.Key, now time.Time, rotateEvery time.Duration) Key {
	view := Key{
		ID: k.ID, Name: k.Name, Owner: k.Owner, Environment: k.Environment, Start: k.Start, Last4: k.Last4,
		Status: k.Status(now), Scopes: slices.AppendSeq([]string{}, k.Scopes.All()),
		CreatedAt: k.CreatedAt, SecretAt: k.SecretAt, ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt,
		RevokedReason: k.RevokedReason, Predecessor: k.Predecessor, Successor: k.Successor, Meter: k.Meter, Version: k.Version,
	}
	view.RotationDue = rotateEvery > 0 && view.Status == apikey.StatusActive && k.Successor == "" && now.Sub(k.SecretAt) >= rotateEvery
	if k.Settings.Len() > 0 {
		view.Settings = maps.Collect(k.Settings.All())
	}
	for network := range k.Networks.All() {
		view.Networks = append(view.Networks, network.String())
	}
	return view
}

// A Bound is a secret that belongs to a key, at its only showing.
type Bound struct {
	Name   string `json:"name"`
	Secret string `json:"secret" doc:"In the form whsec_ of the Standard Webhooks specification. Shown this once."`
}

// ViewBound returns secrets for their only showing.
func ViewBound(secrets []apikey.BoundSecret) []Bound {
	var list []Bound
	for _, s := range secrets {
		list = append(list, Bound{Name: s.Name, Secret: "whsec_" + s.Secret.Reveal()})
	}
	return list
}
