package main

import (
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/management"
	"github.com/keytoll/keytoll/scopes"
)

type failure struct {
	Detail string `json:"detail"`
}

func system() host.System {
	told := func(message string) middleware.Answer { return middleware.Answer{Status: 401, Message: message} }
	perKey := []middleware.Limit{host.Sliding("key", 120, time.Minute, middleware.PerKey)}
	d := &desk{}
	return host.System{
		Name: "mediamagic", Prefix: "sk", Format: &apikey.FormatOptions{Environments: []string{"live", "test"}},
		Dashboard: "/settings/api-keys", Demo: "workspace",
		Manage: management.Options{Verbs: management.Create | management.Rotate | management.Revoke, RotateEvery: 30 * 24 * time.Hour},
		Plans:  map[string]host.Plan{"workspace": {Keys: apikey.Policy{MayCreate: true}}},
		Profile: middleware.Profile{
			Credentials: []middleware.Location{middleware.Header("X-API-Key")},
			Answers: map[middleware.Verdict]middleware.Answer{
				middleware.VerdictMissing:   told("Missing X-API-Key header"),
				middleware.VerdictMalformed: told("Invalid API key"), middleware.VerdictUnknown: told("Invalid API key"),
				middleware.VerdictExpired: told("This API key has expired"), middleware.VerdictRevoked: told("This API key has been revoked"),
				middleware.VerdictForeign: told("Invalid API key"), // for the workspace whose resources it asks for
			},
			Render: middleware.JSON(func(d *middleware.Denial) any { return failure{d.Detail()} }),
		},
		Routes: []host.Route{
			{Pattern: "POST /api/integrations/submissions", Operation: middleware.Operation{
				Name: "submissions.create", Scopes: scopes.None(), Price: middleware.Free(), Limits: perKey,
			}, Handler: d.create},
			{Pattern: "GET /api/integrations/submissions", Operation: middleware.Operation{
				Name: "submissions.list", Scopes: scopes.None(), Price: middleware.Free(), Limits: perKey,
			}, Handler: d.list},
			{Pattern: "GET /api/integrations/submissions/{id}", Operation: middleware.Operation{
				Name: "submissions.read", Scopes: scopes.None(), Price: middleware.Free(), Limits: perKey,
			}, Handler: d.read},
		},
		Keys: []host.Sample{
			{State: "active", Name: "Production", Environment: "live"}, {State: "sandbox", Name: "Staging", Environment: "test"},
			{State: "expired", Name: "Last Month", Environment: "live"}, {State: "revoked", Name: "Compromised", Environment: "live"},
		},
	}
}
