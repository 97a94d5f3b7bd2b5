package main

import (
	"testing"

	"github.com/keytoll/keytoll/examples/systems/internal/wire"
)

func TestMain(m *testing.M) { wire.Main(m, main) }

func TestTheProgramRuns(t *testing.T) {
	wire.Program(t, wire.Get("/api/v1/models"), "Authorization", "Bearer ", "active", "expired", "revoked")
}
