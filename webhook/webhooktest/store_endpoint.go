package webhooktest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func endpointChecks() []storeCheck {
	return []storeCheck{
		{"Change of an endpoint that is not there gives a zero one with its ID", func(ctx context.Context, q *queue) {
			var got webhook.Endpoint
			q.must(q.Change(ctx, "new", func(_ time.Time, e *webhook.Endpoint) error { got = *e; return nil }))
			q.want(reflect.DeepEqual(plain(got), webhook.Endpoint{ID: "new"}), "Change gave %+v", got)
		}},
		{"a row whose State is 0 after Change is not written", func(ctx context.Context, q *queue) {
			change := func(state webhook.EndpointState, url string) {
				q.must(q.Change(ctx, "e", func(_ time.Time, e *webhook.Endpoint) error {
					e.Account, e.State, e.Settings.URL = account, state, url
					return nil
				}))
			}
			change(0, "https://example.com/1")
			list, err := q.Endpoints(ctx, webhook.EndpointQuery{ID: "e", Limit: 1})
			q.must(err)
			q.want(len(list) == 0, "an endpoint without a State was made: %+v", list)
			change(webhook.EndpointActive, "https://example.com/2")
			change(0, "https://example.com/3")
			got := q.endpoint(ctx, "e")
			q.want(got.State == webhook.EndpointActive && got.Settings.URL == "https://example.com/2", "State 0 was written over an endpoint: %+v", got)
		}},
		{"an endpoint comes back as it was written, to the microsecond", roundTrip},
		{"each part of an endpoint can be changed and taken away", func(ctx context.Context, q *queue) {
			q.must(q.Change(ctx, "e", func(now time.Time, e *webhook.Endpoint) error { *e = fullEndpoint(now); return nil }))
			var want webhook.Endpoint
			q.must(q.Change(ctx, "e", func(now time.Time, e *webhook.Endpoint) error {
				*e = webhook.Endpoint{ID: "e", Account: "acct_2", State: webhook.EndpointDeleted, CreatedAt: now}
				want = *e
				return nil
			}))
			got := plain(q.endpoint(ctx, "e"))
			q.want(reflect.DeepEqual(got, want), "an endpoint of which all was taken away:\n got %+v\nwant %+v", got, want)
		}},
		{"what the function of Change does to ID is not written", func(ctx context.Context, q *queue) {
			for range 2 {
				q.change(ctx, "e", func(e *webhook.Endpoint) { e.ID = "f" })
			}
			list, err := q.Endpoints(ctx, webhook.EndpointQuery{Limit: 10})
			q.must(err)
			q.want(len(list) == 1 && list[0].ID == "e", "Endpoints = %+v, want e alone", list)
		}},
		{"an error of the function of Change is returned as it is, and nothing is written", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			before := q.endpoint(ctx, "e")
			mine := errors.New("mine")
			for _, id := range []string{"e", "new"} {
				err := q.Change(ctx, id, func(_ time.Time, e *webhook.Endpoint) error {
					e.Account, e.State, e.Settings.Note, e.Sealed = account, webhook.EndpointDisabled, "changed", []byte("changed")
					return mine
				})
				q.want(err == mine, "Change returned %v, want the error of its function itself", err) //nolint:errorlint // as it is
			}
			after := q.endpoint(ctx, "e")
			q.want(reflect.DeepEqual(plain(before), plain(after)), "a change that failed was written: %+v", after)
			list, err := q.Endpoints(ctx, webhook.EndpointQuery{Limit: 10})
			q.must(err)
			q.want(len(list) == 1, "a new endpoint was written although its function failed: %+v", list)
		}},
		{"of concurrent changes of one endpoint each sees the one before", func(ctx context.Context, q *queue) {
			const writers, each = 8, 10
			q.together(ctx, writers, func(ctx context.Context, _ int) error {
				for range each {
					if err := changeEndpoint(ctx, q, "e", func(e *webhook.Endpoint) { e.Health.Failures++ }); err != nil {
						return err
					}
				}
				return nil
			})
			got := q.endpoint(ctx, "e").Health.Failures
			q.want(got == writers*each, "%d changes at once add up to %d", writers*each, got)
		}},
		{"functions handed in get the store's own time, in UTC and whole microseconds, which does not run backwards", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			last := q.now(ctx)
			check := func(what string, now time.Time) {
				q.want(inWhole(now), "the time of %s is %v, want UTC and whole microseconds", what, now)
				q.want(!now.Before(last) && now.Sub(last) < patience, "the time of %s is %v, that of the call before %v", what, now, last)
				last = now
			}
			check("Publish", q.publish(ctx, "m").At)
			got := q.gives(ctx, webhook.Claim{}, "e/m")
			check("Claim", got.Now)
			var settled time.Time
			q.settle(ctx, got.Deliveries, func(now time.Time, c *webhook.Case) { settled = now; giveBack(now, c) })
			check("Settle", settled)
			check("Change", q.now(ctx))
		}},
		{"Endpoints lists in ascending byte order of ID, behind After and up to Limit, without deleted ones", endpointPages},
		{"Endpoints by ID finds deleted ones too, and not those of another account", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "gone", "here")
			q.change(ctx, "gone", func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
			q.want(q.endpoint(ctx, "gone").State == webhook.EndpointDeleted, "the deleted endpoint is not deleted")
			q.want(q.endpoint(ctx, "here").State == webhook.EndpointActive, "the other is not active")
			for _, query := range []webhook.EndpointQuery{{ID: "nothing", Limit: 1}, {ID: "Here", Limit: 1}, {ID: "here", Account: "acct_2", Limit: 1}} {
				list, err := q.Endpoints(ctx, query)
				q.must(err)
				q.want(len(list) == 0, "Endpoints(%+v) = %+v", query, list)
			}
		}},
	}
}

// fullEndpoint has something in every field. Its instants are of every kind.
func fullEndpoint(now time.Time) webhook.Endpoint {
	return webhook.Endpoint{
		ID: "e", Account: "!acct~\"'\\%_{}", State: webhook.EndpointDisabled, Reason: webhook.DisabledByFailures,
		Sealed: []byte("\x00sealed\xff\xfe"), CreatedAt: now.Add(-123_456_789 * time.Microsecond), UpdatedAt: now,
		Settings: webhook.Settings{
			URL: "https://example.com/hook?a=1&b=<x>", Events: []string{"a.b", "image.*"},
			Headers: map[string]string{"X-One": "1", "X-Two": "\"2\" & <more>"}, MaxInFlight: 17, Rate: 9999, Ordered: true, Timeout: 1_234_567 * time.Microsecond,
			Schedule: []time.Duration{time.Second, 24*time.Hour + time.Microsecond}, TLS: webhook.TLSSettings{RootCAs: "pem\nroots", Certificate: "pem\nchain", Least: tls.VersionTLS13},
			Note: "Zoë \U0001F680 'note'",
		},
		Health: webhook.Health{
			BlockedUntil: now.Add(time.Microsecond), PacedUntil: time.Date(2500, 1, 2, 3, 4, 5, 678901000, time.UTC), Trips: 3, Failures: 1 << 20,
			WindowAt: now.Add(-time.Second), Attempts: 10, Missed: 9, FailingSince: time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC), FailedAt: now, Told: true,
		},
	}
}

func roundTrip(ctx context.Context, q *queue) {
	zero := webhook.Endpoint{ID: "z", Account: "a", State: webhook.EndpointActive}
	var full webhook.Endpoint
	q.must(q.Change(ctx, "z", func(_ time.Time, e *webhook.Endpoint) error { *e = zero; return nil }))
	q.must(q.Change(ctx, "e", func(now time.Time, e *webhook.Endpoint) error {
		full = fullEndpoint(now)
		*e = fullEndpoint(now)
		return nil
	}))
	for _, want := range []webhook.Endpoint{zero, full} {
		got := plain(q.endpoint(ctx, want.ID))
		q.want(reflect.DeepEqual(got, want), "Endpoints:\n got %+v\nwant %+v", got, want)
		var loaded webhook.Endpoint
		q.must(q.Change(ctx, want.ID, func(_ time.Time, e *webhook.Endpoint) error { loaded = *e; return nil }))
		q.want(reflect.DeepEqual(plain(loaded), want), "Change:\n got %+v\nwant %+v", loaded, want)
	}
}

// plain takes empty lists for none.
func plain(e webhook.Endpoint) webhook.Endpoint {
	if len(e.Sealed) == 0 {
		e.Sealed = nil
	}
	if len(e.Settings.Events) == 0 {
		e.Settings.Events = nil
	}
	if len(e.Settings.Headers) == 0 {
		e.Settings.Headers = nil
	}
	if len(e.Settings.Schedule) == 0 {
		e.Settings.Schedule = nil
	}
	return e
}

func endpointPages(ctx context.Context, q *queue) {
	want := []string{"-", "0", "A", "B", "_", "a", "aa", "b"}
	for _, i := range []int{3, 0, 7, 5, 1, 2, 6, 4} {
		q.endpoints(ctx, want[i])
	}
	q.change(ctx, "Deleted", func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
	q.change(ctx, "Other", func(e *webhook.Endpoint) { e.Account = "acct_2" })
	q.change(ctx, "b", func(e *webhook.Endpoint) { e.State = webhook.EndpointDisabled })
	for _, size := range []int{1, 3, len(want), 1000} {
		var got []string
		for after := ""; ; {
			list, err := q.Endpoints(ctx, webhook.EndpointQuery{Account: account, After: after, Limit: size})
			q.must(err)
			q.want(len(list) <= size, "%d endpoints for a limit of %d", len(list), size)
			if len(list) == 0 {
				break
			}
			for _, e := range list {
				got = append(got, e.ID)
			}
			after = list[len(list)-1].ID
		}
		q.want(slices.Equal(got, want), "pages of %d of an account: %v, want %v", size, got, want)
	}
	list, err := q.Endpoints(ctx, webhook.EndpointQuery{After: "B", Limit: 2})
	q.must(err)
	q.want(len(list) == 2 && list[0].ID == "Other" && list[1].ID == "_", "endpoints of all accounts behind B: %v", idsOf(list))
}

func idsOf(list []webhook.Endpoint) string {
	ids := make([]string, 0, len(list))
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return fmt.Sprint(ids)
}
