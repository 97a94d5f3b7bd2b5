package main

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/management"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

func system(priceList *atomic.Pointer[credits.PriceTable]) host.System {
	invalid := middleware.Answer{Status: 401, Code: "unauthorized", Message: "API key is invalid or missing; check the header x-magnific-api-key"}
	limited := middleware.Answer{Status: 429, Message: "Rate limit exceeded ({limit}); wait {retry_after} seconds for it to reset, {upgrade}"}
	broken := middleware.Answer{Status: 500, Code: "internal", Message: "Something went wrong on our side; retry, and contact support if it persists"}
	limits := []middleware.Limit{ // 50 a second over 5 seconds and 10 a second over 2 minutes, of the key and of the address
		host.Sliding("key-burst", 250, 5*time.Second, middleware.PerKey), host.Sliding("key-average", 1200, 2*time.Minute, middleware.PerKey),
		host.Sliding("ip-burst", 250, 5*time.Second, middleware.PerIP), host.Sliding("ip-average", 1200, 2*time.Minute, middleware.PerIP),
	}
	daily := func(name, unit string, count int64) middleware.Limit {
		return middleware.Limit{Limit: ratelimit.Limit{Name: name, Algorithm: ratelimit.Calendar, Every: ratelimit.Day, Count: count, Unit: unit}, Subject: middleware.PerOwner, Setting: name}
	}
	stock := func(name string) middleware.Operation { // what costs nothing, and is counted
		return middleware.Operation{Name: name, Scopes: scopes.None(), Price: middleware.Free(), Limits: limits}
	}
	keys := func(may bool, most int, rpd, ipd int64, hint string) apikey.Policy {
		return apikey.Policy{
			MayCreate: may, MaxKeys: most, RequireName: true, Scopes: host.Grants("*"), UpgradeHint: hint,
			Settings: []apikey.Setting{{Name: "mystic-rpd", Default: rpd, Min: rpd, Max: rpd}, {Name: "mystic-ipd", Default: ipd, Min: ipd, Max: ipd}},
		}
	}
	const enterprise, business = "contact Sales about Enterprise: magnific.com/api#contact", "upgrade to Business: magnific.com/api/pricing"
	pool := func(every credits.Unit, amount credits.Amount) []credits.Schedule {
		return []credits.Schedule{{ID: "plan", Amount: amount * credits.Credit, Unit: every, Every: 1}}
	}
	paying := []string{"business", "business-yearly", "enterprise", "enterprise-api"}
	return host.System{
		Name: "magnific", Prefix: "mag", Secrets: []string{"webhook"}, Demo: "business", Dashboard: "/developers/dashboard",
		Manage: management.Options{Verbs: management.Create | management.Update | management.Switch | management.Regenerate | management.Delete},
		Scopes: []scopes.Definition{{Name: "models:image"}, {Name: "models:video"}, {Name: "models:audio"}, {Name: "models:3d"}},
		Plans: map[string]host.Plan{
			"free":            {Keys: keys(false, 0, 100, 50, business)},
			"business":        {Keys: keys(true, 5, 10_000, 2_000, enterprise), Credits: pool(credits.Months, 90_000)},
			"business-yearly": {Keys: keys(true, 5, 10_000, 2_000, enterprise), Credits: pool(credits.Years, 1_080_000)},
			"enterprise":      {Keys: keys(false, 0, 10_000, 2_000, "ask your representative to enable API access"), Credits: pool(credits.Years, 5_000_000)},
			"enterprise-api":  {Keys: keys(true, 0, 1_000_000, 200_000, enterprise), Credits: pool(credits.Years, 5_000_000)},
		},
		Profile: middleware.Profile{
			Credentials: []middleware.Location{middleware.Header("x-magnific-api-key")},
			Answers: map[middleware.Verdict]middleware.Answer{
				middleware.VerdictMissing: invalid, middleware.VerdictMalformed: invalid, middleware.VerdictUnknown: invalid,
				middleware.VerdictDisabled: invalid, middleware.VerdictExpired: invalid, middleware.VerdictRevoked: invalid,
				middleware.VerdictRateLimited: limited, middleware.VerdictStoreError: broken, middleware.VerdictMisconfigured: broken,
			},
		},
		Upgrade: func(_ apikey.Key, v middleware.Verdict) string {
			return map[middleware.Verdict]string{middleware.VerdictRateLimited: enterprise, middleware.VerdictCreditDenied: enterprise, middleware.VerdictPlanDenied: business}[v]
		},
		Routes: []host.Route{
			{Pattern: "GET /v1/resources", Operation: stock("resources.list"), Handler: resources, Plans: paying},
			{Pattern: "POST /v1/resources/{id}/download", Operation: stock("resources.download"), Handler: resources, Plans: paying},
			{Pattern: "POST /v1/ai/mystic", Operation: middleware.Operation{
				Name: "mystic", Scopes: scopes.All("models:image"), Price: middleware.Listed(priceList.Load),
				Unit: "images", Units: middleware.JSONUnits("num_images", 1),
				Limits: append(slices.Clip(limits), daily("mystic-rpd", "requests", 10_000), daily("mystic-ipd", "images", 2_000)),
			}, Handler: mystic, Plans: paying},
		},
		Keys: []host.Sample{{State: "active", Name: "Heroes Test", Scopes: "models:*"},
			{State: "inactive", Name: "Rotated Out", Scopes: "models:*"}, {State: "limited", Name: "Audio Only", Scopes: "models:audio"}},
	}
}
