package endpoint

import (
	"fmt"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// What a rotated key has unless the host says otherwise.
const (
	Grace    = 10 * time.Minute
	MaxGrace = 30 * 24 * time.Hour
)

// FillGrace sets the defaults of a grace and of its bound, and adds what is wrong.
func FillGrace(f *errors.Faults, usual, longest *time.Duration) {
	if *usual < 0 || *longest < 0 {
		f.Add("Grace is %v and MaxGrace %v; give 0 (the default) or more", *usual, *longest)
	}
	if *longest == 0 {
		*longest = max(MaxGrace, *usual)
	}
	if *usual == 0 {
		*usual = min(Grace, *longest)
	}
	if *usual > *longest {
		f.Add("Grace %v is longer than MaxGrace %v", *usual, *longest)
	}
}

// A Rotation is the body with which a key is rotated.
type Rotation struct {
	GraceSeconds *int64 `json:"grace_seconds,omitempty" doc:"How long the old key goes on, in seconds; 0 ends it at once."`
}

// Rotate makes a successor of old, which goes on for as long as the body asks: at
// most longest, or usual when it says nothing.
func Rotate(w http.ResponseWriter, r *http.Request, keys *apikey.Service, old *apikey.Key, now time.Time, usual, longest time.Duration) (apikey.Issued, Previous, error) {
	var in Rotation
	if err := ReadJSON(w, r, &in); err != nil {
		return apikey.Issued{}, Previous{}, err
	}
	grace, err := in.grace(usual, longest)
	if err != nil {
		return apikey.Issued{}, Previous{}, err
	}
	until := ends(old.ExpiresAt, now, grace)
	issued, err := keys.Rotate(r.Context(), old.ID, grace)
	return issued, Previous{ID: old.ID, ExpiresAt: until}, err
}

// grace returns what the body says, at most longest, or usual when it says nothing.
func (r *Rotation) grace(usual, longest time.Duration) (time.Duration, error) {
	if r.GraceSeconds == nil {
		return usual, nil
	}
	if most := int64(longest / time.Second); *r.GraceSeconds < 0 || *r.GraceSeconds > most {
		return 0, Invalid(fmt.Sprintf("grace_seconds: give 0 to %d, or leave it out for %d", most, int64(usual/time.Second)))
	}
	return time.Duration(*r.GraceSeconds) * time.Second, nil
}

// A Previous is the key that another has taken the place of.
type Previous struct {
	ID        string    `json:"id"`
	ExpiresAt time.Time `json:"expires_at" doc:"When it stops working."`
}

// ends returns when an old key that ends at expires, the zero time being never,
// ends after a rotation at now. It is reckoned before the change, so that the old
// key lives no shorter than told: to look afterwards might fail, and lose the new
// key's only showing.
func ends(expires, now time.Time, grace time.Duration) time.Time {
	until := now.Add(grace).UTC().Truncate(time.Microsecond)
	if !expires.IsZero() && expires.Before(until) {
		return expires
	}
	return until
}
