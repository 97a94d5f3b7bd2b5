package main

import (
	"testing"

	"github.com/keytoll/keytoll/examples/systems/internal/wire"
)

func modelsAs(s *wire.Stage, state string) wire.Request {
	return wire.Get("/api/v1/models", "Authorization", "Bearer "+s.Key(state))
}

func TestTheWireIsTheDocuments(t *testing.T) {
	for name, prepare := range map[string]func(*wire.Stage) wire.Request{
		"models-200":  func(s *wire.Stage) wire.Request { return modelsAs(s, "active") },
		"missing-401": func(*wire.Stage) wire.Request { return wire.Get("/api/v1/models") },
		"malformed-401": func(*wire.Stage) wire.Request {
			return wire.Get("/api/v1/models", "Authorization", "Bearer gx_your_api_key")
		},
		"unknown-401": func(s *wire.Stage) wire.Request {
			return wire.Get("/api/v1/models", "Authorization", "Bearer "+s.Unknown(""))
		},
		"expired-401": func(s *wire.Stage) wire.Request { return modelsAs(s, "expired") },
		"revoked-401": func(s *wire.Stage) wire.Request { return modelsAs(s, "revoked") },
		"limited-429": func(s *wire.Stage) wire.Request {
			s.Repeat(modelsAs(s, "active"), 60)
			return modelsAs(s, "active")
		},
	} {
		wire.Golden(t, name, system, prepare)
	}
}
