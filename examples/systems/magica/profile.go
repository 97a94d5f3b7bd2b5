package main

import (
	"strings"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/management"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

type failure struct {
	Error   string `json:"error"`
	Message string `json:"message"`
	Code    string `json:"code"`
	TraceID string `json:"traceId"`
}

func system() host.System {
	invalid := middleware.Answer{Status: 401, Code: "UNAUTHORIZED", Message: "Invalid or expired API key."}
	limited := middleware.Answer{Status: 429, Code: "RATE_LIMITED", Message: "Rate limit exceeded. Please try again later."}
	window := func(name string, count int64, period time.Duration) middleware.Limit {
		return middleware.Limit{Limit: ratelimit.Limit{Name: name, Algorithm: ratelimit.FixedWindow, Count: count, Period: period}, Setting: name}
	}
	return host.System{
		Name: "magica", Prefix: "gx", Dashboard: "/settings/api-keys", Demo: "account",
		Manage: management.Options{Verbs: management.Create | management.Update | management.Revoke, Editable: management.FieldName | management.FieldSettings},
		Plans: map[string]host.Plan{"account": {Keys: apikey.Policy{
			MayCreate: true, MaxKeys: 10, CountStates: []apikey.State{apikey.StateActive, apikey.StateDisabled}, CountExpired: true,
			RequireName: true, UniqueNames: true, UpgradeHint: "an account has up to 10 API keys",
			Settings: []apikey.Setting{{Name: "minute", Default: 60, Min: 1, Max: 10_000}, {Name: "day", Default: 1000, Min: 1, Max: 100_000}},
		}}},
		Profile: middleware.Profile{
			Answers: map[middleware.Verdict]middleware.Answer{
				middleware.VerdictMissing: invalid, middleware.VerdictMalformed: invalid, middleware.VerdictUnknown: invalid,
				middleware.VerdictDisabled: invalid, middleware.VerdictExpired: invalid, middleware.VerdictRevoked: invalid,
				middleware.VerdictRateLimited: limited, middleware.VerdictAuthLimited: limited,
			},
			Fields: []middleware.Field{
				{Name: "X-Request-Id", Value: middleware.FieldRequestID},
				{Name: "X-RateLimit-Remaining", Value: middleware.FieldRemaining}, {Name: "X-RateLimit-Reset", Value: middleware.FieldResetUnixMilli},
			},
			ExactCase: true,
			Render: middleware.JSON(func(d *middleware.Denial) any {
				return failure{d.Detail(), d.Detail(), strings.ToUpper(d.Code), d.RequestID}
			}),
		},
		Routes: []host.Route{{Pattern: "GET /api/v1/models", Operation: middleware.Operation{
			Name: "models.list", Scopes: scopes.None(), Price: middleware.Free(),
			Limits: []middleware.Limit{window("minute", 60, time.Minute), window("day", 1000, 24*time.Hour)},
		}, Handler: listModels}},
		Keys: []host.Sample{{State: "active", Name: "Production"}, {State: "expired", Name: "Contractor"}, {State: "revoked", Name: "Lost"}},
	}
}
