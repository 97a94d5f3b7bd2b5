package main

import (
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/examples/systems/internal/wire"
)

const header = "x-magnific-api-key"

func resourcesAs(s *wire.Stage, state string) wire.Request {
	return wire.Get("/v1/resources", header, s.Key(state))
}

func mysticAs(s *wire.Stage, state, body string) wire.Request {
	return wire.Post("/v1/ai/mystic", body, header, s.Key(state))
}

// magnific is the system at the prices that it starts with.
func magnific() host.System {
	list, err := prices("2026-01", 5)
	if err != nil {
		panic(err)
	}
	return system(list)
}

func TestTheWireIsTheDocuments(t *testing.T) {
	for name, prepare := range map[string]func(*wire.Stage) wire.Request{
		"resources-200": func(s *wire.Stage) wire.Request { return resourcesAs(s, "active") },
		"mystic-200":    func(s *wire.Stage) wire.Request { return mysticAs(s, "active", `{"num_images":3}`) },
		"missing-401":   func(*wire.Stage) wire.Request { return wire.Get("/v1/resources") },
		"malformed-401": func(*wire.Stage) wire.Request { return wire.Get("/v1/resources", header, "not a key") },
		"unknown-401":   func(s *wire.Stage) wire.Request { return wire.Get("/v1/resources", header, s.Unknown("")) },
		"inactive-401":  func(s *wire.Stage) wire.Request { return resourcesAs(s, "inactive") },
		"limited-403":   func(s *wire.Stage) wire.Request { return mysticAs(s, "limited", `{"num_images":1}`) },
		"unpriced-400":  func(s *wire.Stage) wire.Request { return mysticAs(s, "active", `{"num_images":"many"}`) },
		"unknown-404":   func(s *wire.Stage) wire.Request { return wire.Get("/v1/nothing", header, s.Key("active")) },
		"credits-402": func(s *wire.Stage) wire.Request {
			_, err := s.Ledger.Debit(s.Context(), credits.Debit{Account: host.Demo, ID: "website", Amount: 89_990 * credits.Credit})
			s.Must(err)
			return mysticAs(s, "active", `{"num_images":3}`)
		},
		"burst-429": func(s *wire.Stage) wire.Request {
			s.Repeat(resourcesAs(s, "active"), 250)
			return resourcesAs(s, "active")
		},
		"images-429": func(s *wire.Stage) wire.Request {
			s.Repeat(mysticAs(s, "active", `{"num_images":1999}`), 1)
			return mysticAs(s, "active", `{"num_images":2}`)
		},
		"broken-500": func(s *wire.Stage) wire.Request {
			s.Limits.Down.Store(true)
			return mysticAs(s, "active", `{"num_images":1}`)
		},
	} {
		wire.Golden(t, name, magnific, prepare)
	}
}
