package main

import (
	"testing"

	"github.com/keytoll/keytoll/examples/systems/internal/wire"
)

func chatAs(authorization ...string) wire.Request {
	return postTo("/api/v1/chat", authorization...)
}

func imagesAs(authorization ...string) wire.Request {
	return postTo("/api/v1/images", authorization...)
}

func postTo(path string, authorization ...string) wire.Request {
	const body = `{"message":"Analyze this text","model":"4o-mini"}`
	if len(authorization) == 0 {
		return wire.Post(path, body)
	}
	return wire.Post(path, body, "Authorization", authorization[0])
}

func TestTheWireIsTheDocuments(t *testing.T) {
	for name, prepare := range map[string]func(*wire.Stage) wire.Request{
		"chat-200":          func(s *wire.Stage) wire.Request { return chatAs("Bearer " + s.Key("active")) },
		"images-200":        func(s *wire.Stage) wire.Request { return imagesAs("Bearer " + s.Key("active")) },
		"missing-401":       func(*wire.Stage) wire.Request { return chatAs() },
		"other-scheme-401":  func(*wire.Stage) wire.Request { return chatAs("Basic dXNlcjpwYXNz") },
		"other-format-401":  func(*wire.Stage) wire.Request { return chatAs("Bearer mgx-sk-your-api-key") },
		"unknown-401":       func(s *wire.Stage) wire.Request { return chatAs("Bearer " + s.Unknown("")) },
		"documents-key-401": func(*wire.Stage) wire.Request { return chatAs("Bearer mgx-sk-a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6") },
		"expired-401":       func(s *wire.Stage) wire.Request { return chatAs("Bearer " + s.Key("expired")) },
		"revoked-401":       func(s *wire.Stage) wire.Request { return chatAs("Bearer " + s.Key("revoked")) },
		"limited-403":       func(s *wire.Stage) wire.Request { return imagesAs("Bearer " + s.Key("limited")) },
		"minute-429": func(s *wire.Stage) wire.Request {
			s.Repeat(chatAs("Bearer "+s.Key("active")), 60)
			return chatAs("Bearer " + s.Key("active"))
		},
	} {
		wire.Golden(t, name, system, prepare)
	}
}
