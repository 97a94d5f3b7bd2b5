package main

import (
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/management"
	"github.com/keytoll/keytoll/scopes"
)

func system() host.System {
	invalid := middleware.Answer{Status: 401, Code: "unauthorized", Message: "Invalid or missing API key"}
	keys := apikey.Policy{MayCreate: true, RequireName: true, Scopes: host.Grants("*")}
	monthly := func(amount credits.Amount) []credits.Schedule {
		return []credits.Schedule{{ID: "plan", Amount: amount * credits.Credit, Unit: credits.Months, Every: 1}}
	}
	basic := &management.Features{Audit: true, Upgrade: "analytics are part of usage-based pricing"}
	return host.System{
		Name: "magichour", Prefix: "mhk", Dashboard: "/developer", Demo: "usage-based",
		Manage: management.Options{Verbs: management.Create | management.Clone | management.Delete, RotateEvery: 90 * 24 * time.Hour},
		Scopes: []scopes.Definition{{Name: "image:generate", Description: "Make images"}, {Name: "video:generate", Description: "Make videos"}},
		Plans: map[string]host.Plan{
			"free":         {Keys: keys, Credits: monthly(400), Features: basic},
			"subscription": {Keys: keys, Credits: monthly(10_000), Features: basic},
			"usage-based":  {Keys: keys, Credits: monthly(100_000)},
		},
		Profile: middleware.Profile{
			Credentials: []middleware.Location{middleware.BearerOrBare()},
			Answers: map[middleware.Verdict]middleware.Answer{
				middleware.VerdictMissing: invalid, middleware.VerdictMalformed: invalid, middleware.VerdictUnknown: invalid,
				middleware.VerdictDisabled: invalid, middleware.VerdictExpired: invalid, middleware.VerdictRevoked: invalid,
			},
		},
		Routes: []host.Route{{Pattern: "POST /v1/ai-image-generator", Operation: middleware.Operation{
			Name: "ai-image-generator", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(5 * credits.Credit),
			Limits: []middleware.Limit{host.Sliding("key", 300, time.Minute, middleware.PerKey)},
		}, Handler: image}},
		Keys: []host.Sample{
			{State: "active", Name: "Production App", Scopes: "image:generate video:generate"},
			{State: "revoked", Name: "Development Testing", Scopes: "image:generate video:generate"},
			{State: "limited", Name: "Mobile App", Scopes: "video:generate"},
		},
	}
}
