package secretscan_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware/secretscan"
)

// FuzzIntake: whatever a partner signs is answered, without a panic, with no more
// labels than items, and leaves a key that it does not name as it is.
func FuzzIntake(f *testing.F) {
	for _, body := range []string{
		``, `null`, `[]`, `[1]`, `[{"token":"sk_x","type":"t","url":"u","source":"commit"}]`, `[{"token":null}]`,
		`[{"token":"\ud800"}]`, `[{"TOKEN":"x","token":"y"}]`, `[[[`, `[{"token":"x"},]`, "\xef\xbb\xbf[]",
	} {
		f.Add(body)
	}
	s := newScene(f, always(apikey.LeakRevoke), &secretscan.Options{MaxItems: 10})
	issued := s.create()
	f.Fuzz(func(t *testing.T, body string) {
		s.t = t
		w := s.serve(s.request(body))
		r := <-s.reports
		switch w.Code {
		case http.StatusOK:
			var answers []map[string]string
			if err := json.Unmarshal(w.Body.Bytes(), &answers); err != nil || answers == nil || len(answers) != r.True+r.False || len(answers) > r.Items {
				t.Fatalf("%q is answered %s with %+v", body, w.Body, r)
			}
			if !json.Valid([]byte(body)) {
				t.Fatalf("%q is taken for JSON", body)
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Fatalf("%q is answered %d", body, w.Code)
		}
		if !strings.Contains(body, issued.Secret.Reveal()) && s.state(issued.Key.ID) != apikey.StateActive {
			t.Fatalf("%q revoked a key that it does not name", body)
		}
	})
}
