package main

import (
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/examples/systems/internal/wire"
)

const path = "/api/integrations/submissions"

func submitAs(key string) wire.Request { return wire.Post(path, `{"assets":[]}`, "X-API-Key", key) }

func TestTheWireIsTheDocuments(t *testing.T) {
	for name, prepare := range map[string]func(*wire.Stage) wire.Request{
		"live-200":      func(s *wire.Stage) wire.Request { return submitAs(s.Key("active")) },
		"sandbox-200":   func(s *wire.Stage) wire.Request { return submitAs(s.Key("sandbox")) },
		"missing-401":   func(*wire.Stage) wire.Request { return wire.Post(path, `{"assets":[]}`) },
		"malformed-401": func(*wire.Stage) wire.Request { return submitAs("your-api-key-here") },
		"unknown-401":   func(s *wire.Stage) wire.Request { return submitAs(s.Unknown("live")) },
		"expired-401":   func(s *wire.Stage) wire.Request { return submitAs(s.Key("expired")) },
		"revoked-401":   func(s *wire.Stage) wire.Request { return submitAs(s.Key("revoked")) },
		"foreign-401": func(s *wire.Stage) wire.Request {
			s.Must(s.SetPlan(s.Context(), "ws_other", "workspace"))
			other := s.Issue(apikey.Spec{Owner: "ws_other", Environment: "live"})
			if a := s.Do(submitAs(other.Secret.Reveal())); a.Status != 200 {
				s.Fatalf("%d %s", a.Status, a.Body)
			}
			return wire.Get(path+"/sub_1", "X-API-Key", s.Key("active"))
		},
		"limited-429": func(s *wire.Stage) wire.Request {
			s.Repeat(submitAs(s.Key("active")), 120)
			return submitAs(s.Key("active"))
		},
	} {
		wire.Golden(t, name, system, prepare)
	}
}
