package main

import (
	"net/http"
	"time"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/selfservice"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// The limits let a person feel a burst, and a test wait for the recovery.
var (
	imageLimits = []middleware.Limit{
		{Limit: ratelimit.Limit{Name: "images", Count: 120, Period: time.Minute, Unit: "images"}},
		{Limit: ratelimit.Limit{Name: "images-day", Algorithm: ratelimit.SlidingWindow, Count: 5000, Period: 24 * time.Hour, Unit: "images"}, Subject: middleware.PerOwner},
	}
	modelLimits = []middleware.Limit{
		{Limit: ratelimit.Limit{Name: "models", Count: 60, Period: time.Minute, Burst: 20}},
	}
	keyLimits = []middleware.Limit{
		{Limit: ratelimit.Limit{Name: "key", Count: 120, Period: time.Minute, Burst: 60}},
	}
)

// mount makes the whole API. What a route asks for and costs stands beside it.
func (a *app) mount() (http.Handler, error) {
	mux := http.NewServeMux()
	for _, r := range []struct {
		pattern   string
		operation middleware.Operation
		handler   http.HandlerFunc
	}{
		{"POST /v1/images", middleware.Operation{
			Name: "images.create", Scopes: scopes.All("image:generate"), Price: middleware.Fixed(imagePrice), Limits: imageLimits,
		}, a.createImage},
		{"GET /v1/models", middleware.Operation{
			Name: "models.list", Scopes: scopes.None(), Price: middleware.Free(), Limits: modelLimits,
		}, a.listModels},
	} {
		mux.Handle(r.pattern, a.gate.Handler(r.operation)(r.handler))
	}
	// What a key may ask about itself: any key may.
	self, err := selfservice.New(a.keys, a.gate, &selfservice.Options{
		Usage: scopes.None(), Rotate: scopes.None(), Limits: keyLimits, Now: a.now, Log: a.log,
	})
	if err != nil {
		return nil, err
	}
	for _, r := range self.Routes("/v1/key") {
		mux.Handle(r.Pattern, r.Handler)
	}
	return mux, nil
}
