package main

import (
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/management"
	"github.com/keytoll/keytoll/middleware/selfservice"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

func system() host.System {
	revoked := middleware.Answer{Status: 401, Code: "AUTH_KEY_INVALID", Message: "API key is invalid, expired, or revoked"}
	minute := []middleware.Limit{{Limit: ratelimit.Limit{Name: "minute", Algorithm: ratelimit.FixedWindow, Count: 60, Period: time.Minute}}}
	keys := apikey.Policy{MayCreate: true, RequireName: true, Scopes: host.Grants("*")}
	plan := host.Plan{Keys: keys, Credits: []credits.Schedule{{ID: "plan", Amount: 10_000 * credits.Credit, Unit: credits.Months, Every: 1}}}
	enterprise := plan
	plan.Features = &management.Features{Usage: true, Upgrade: "audit logs are part of Enterprise"}
	return host.System{
		Name: "aimagicx", Prefix: "mgx-sk", Dashboard: "/home/{account}/api-keys", Demo: "api-enterprise",
		Manage: management.Options{Verbs: management.Create | management.Update | management.Rotate | management.Revoke | management.Delete, RotateEvery: 90 * 24 * time.Hour},
		Format: &apikey.FormatOptions{Separator: "-", Alphabet: "abcdefghijklmnopqrstuvwxyz0123456789", SecretLength: 32, NoID: true, NoChecksum: true},
		Scopes: allAPIPlans("chat:completions", "Chat Completions", "models:read", "Read Models", "tools:read", "Read Tools",
			"usage:read", "Read Usage Statistics", "account:read", "Read Account Information", "credits:read", "Read Credits",
			"credits:purchase", "Purchase Credits", "image:generate", "Generate Images", "logo:generate", "Generate Logos"),
		Plans: map[string]host.Plan{"web": {}, "api": plan, "api-enterprise": enterprise},
		Profile: middleware.Profile{
			Credentials: []middleware.Location{middleware.BearerOnly()},
			Answers: map[middleware.Verdict]middleware.Answer{
				middleware.VerdictMissing:   {Code: "AUTH_MISSING", Message: "Authorization header required"},
				middleware.VerdictMalformed: {Code: "AUTH_INVALID_FORMAT", Message: "Invalid authorization format. Expected: Bearer mgx-sk-..."},
				middleware.VerdictUnknown:   revoked, middleware.VerdictExpired: revoked, middleware.VerdictRevoked: revoked, middleware.VerdictDisabled: revoked,
				middleware.VerdictScopeDenied: {Code: "AUTH_INSUFFICIENT_SCOPE", Message: "Operation requires '{scope}' scope"},
			},
			Fields: []middleware.Field{
				{Name: "X-API-Key-ID", Value: middleware.FieldKeyID}, {Name: "X-API-Key-Name", Value: middleware.FieldKeyName},
				{Name: "X-API-Key-Scopes", Value: middleware.FieldKeyScopes}, {Name: "X-Request-ID", Value: middleware.FieldRequestID},
				{Name: "X-RateLimit-Remaining", Value: middleware.FieldRemaining},
			},
			ExactCase: true, TellScopes: true, TellLimits: true, Render: middleware.JSON(envelope),
		},
		Watch: country,
		Self:  "/api/v1/account", SelfService: selfservice.Options{
			View: scopes.All("account:read"), Usage: scopes.All("usage:read"), Account: scopes.All("credits:read"),
		},
		Routes: []host.Route{
			{Pattern: "GET /api/v1/credits", Operation: middleware.Operation{
				Name: "credits.read", Scopes: scopes.All("credits:read"), Price: middleware.Free(), Limits: minute,
			}, Handler: balance},
			{Pattern: "POST /api/v1/credits", Operation: middleware.Operation{
				Name: "credits.purchase", Scopes: scopes.All("credits:purchase"), Price: middleware.Free(), Limits: minute,
			}, Serve: purchase},
			{Pattern: "POST /api/v1/chat", Operation: middleware.Operation{
				Name: "chat", Scopes: scopes.All("chat:completions"), Price: middleware.Fixed(credits.Credit), Limits: minute,
			}, Handler: answer},
			{Pattern: "POST /api/v1/images", Operation: middleware.Operation{
				Name: "images", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(10 * credits.Credit), Limits: minute,
			}, Handler: answer},
		},
		Keys: []host.Sample{
			{State: "active", Name: "Production App", Scopes: "chat:completions models:read tools:read usage:read account:read credits:read credits:purchase image:generate logo:generate"},
			{State: "expired", Name: "Last Quarter", Scopes: "chat:completions"}, {State: "revoked", Name: "Leaked", Scopes: "chat:completions"},
			{State: "limited", Name: "Development Testing", Scopes: "chat:write models:read", Imported: true},
		},
	}
}

// allAPIPlans defines scopes, each a name and a description, for all API plans.
func allAPIPlans(pairs ...string) (defs []scopes.Definition) {
	for i := 0; i < len(pairs); i += 2 {
		defs = append(defs, scopes.Definition{Name: pairs[i], Description: pairs[i+1], Plans: []string{"api", "api-enterprise"}})
	}
	return defs
}
