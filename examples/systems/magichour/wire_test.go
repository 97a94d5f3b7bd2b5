package main

import (
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/examples/systems/internal/wire"
)

// generate asks with that value of Authorization, "" for none.
func generate(authorization string) wire.Request {
	if authorization == "" {
		return wire.Post("/v1/ai-image-generator", `{}`)
	}
	return wire.Post("/v1/ai-image-generator", `{}`, "Authorization", authorization)
}

func TestTheWireIsTheDocuments(t *testing.T) {
	for name, prepare := range map[string]func(*wire.Stage) wire.Request{
		"bearer-200":    func(s *wire.Stage) wire.Request { return generate("Bearer " + s.Key("active")) },
		"bare-200":      func(s *wire.Stage) wire.Request { return generate(s.Key("active")) },
		"missing-401":   func(*wire.Stage) wire.Request { return generate("") },
		"malformed-401": func(*wire.Stage) wire.Request { return generate("Basic dXNlcjpwYXNz") },
		"unknown-401":   func(s *wire.Stage) wire.Request { return generate("Bearer " + s.Unknown("")) },
		"revoked-401":   func(s *wire.Stage) wire.Request { return generate("Bearer " + s.Key("revoked")) },
		"limited-403":   func(s *wire.Stage) wire.Request { return generate("Bearer " + s.Key("limited")) },
		"credits-402": func(s *wire.Stage) wire.Request {
			_, err := s.Ledger.Debit(s.Context(), credits.Debit{Account: host.Demo, ID: "website", Amount: 99_996 * credits.Credit})
			s.Must(err)
			return generate("Bearer " + s.Key("active"))
		},
	} {
		wire.Golden(t, name, system, prepare)
	}
}
