package webhook_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func TestWhatAFilterTakes(t *testing.T) {
	for _, tt := range []struct {
		filters string
		takes   string
		leaves  string
	}{
		{"", "a image.created", ""},
		{"image.created", "image.created", "image image.created.late image.createdx Image.created"},
		{"image.*", "image.created image.created.late", "image imagex.created image2 a.image.created"},
		{"image.created.*", "image.created.late", "image.created image.created2"},
		{"a image.*", "a image.created", "b image a.b"},
	} {
		e := webhook.Endpoint{Settings: webhook.Settings{Events: strings.Fields(tt.filters)}}
		for kind := range strings.FieldsSeq(tt.takes) {
			if !e.Takes(kind) {
				t.Errorf("%q does not take %q", tt.filters, kind)
			}
		}
		for kind := range strings.FieldsSeq(tt.leaves) {
			if e.Takes(kind) {
				t.Errorf("%q takes %q", tt.filters, kind)
			}
		}
	}
}

func TestRoom(t *testing.T) {
	second := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	for _, tt := range []struct {
		name     string
		endpoint webhook.Endpoint
		inFlight int
		room     int
		ready    time.Time
	}{
		{name: "by default", room: webhook.DefaultMaxInFlight},
		{name: "some in flight", inFlight: 3, room: webhook.DefaultMaxInFlight - 3},
		{name: "all in flight", endpoint: webhook.Endpoint{Settings: webhook.Settings{MaxInFlight: 2}}, inFlight: 2},
		{name: "more than all", endpoint: webhook.Endpoint{Settings: webhook.Settings{MaxInFlight: 2}}, inFlight: 5},
		{name: "ordered", endpoint: webhook.Endpoint{Settings: webhook.Settings{Ordered: true}}, room: 1},
		{name: "ordered, one in flight", endpoint: webhook.Endpoint{Settings: webhook.Settings{Ordered: true}}, inFlight: 1},
		{name: "half open", endpoint: webhook.Endpoint{Health: webhook.Health{Trips: 3}}, room: 1},
		{name: "half open, a probe in flight", endpoint: webhook.Endpoint{Health: webhook.Health{Trips: 3}}, inFlight: 1},
		{name: "blocked", endpoint: webhook.Endpoint{Health: webhook.Health{BlockedUntil: second(1)}}, ready: second(1)},
		{name: "blocked until now", endpoint: webhook.Endpoint{Health: webhook.Health{BlockedUntil: second(0)}}, room: webhook.DefaultMaxInFlight, ready: second(0)},
		{name: "a rate", endpoint: webhook.Endpoint{Settings: webhook.Settings{Rate: 20}}, room: 3},
		{
			name:     "a rate that is used up",
			endpoint: webhook.Endpoint{Settings: webhook.Settings{Rate: 1}, Health: webhook.Health{PacedUntil: second(1)}},
			ready:    second(1).Add(-100 * time.Millisecond),
		},
		{
			name:     "a rate and a block",
			endpoint: webhook.Endpoint{Settings: webhook.Settings{Rate: 1}, Health: webhook.Health{PacedUntil: second(1), BlockedUntil: second(2)}},
			ready:    second(2),
		},
		{name: "disabled", endpoint: webhook.Endpoint{State: webhook.EndpointDisabled, Health: webhook.Health{BlockedUntil: second(1)}}},
		{name: "deleted", endpoint: webhook.Endpoint{State: webhook.EndpointDeleted}},
	} {
		e := tt.endpoint
		if e.State == 0 {
			e.State = webhook.EndpointActive
		}
		if room := e.Room(noon, tt.inFlight); room != tt.room {
			t.Errorf("%s: room for %d, want %d", tt.name, room, tt.room)
		}
		if ready := e.ReadyAt(); !ready.Equal(tt.ready) {
			t.Errorf("%s: ready at %v, want %v", tt.name, ready, tt.ready)
		}
		if e.Claimed(noon, 5); e.Settings.Rate == 0 && e.Health != tt.endpoint.Health {
			t.Errorf("%s: a claim without a rate wrote %+v", tt.name, e.Health)
		}
	}
}

// Names and numbers are stored, and written to logs and metrics. A row may be added
// and never changed.
func TestNamesOfTheSendingSideArePinned(t *testing.T) {
	for _, tt := range []struct {
		of   func(i uint8) fmt.Stringer
		want string // from 0 on, to one more than there are
	}{
		{func(i uint8) fmt.Stringer { return webhook.EndpointState(i) }, "unknown active disabled deleted unknown"},
		{func(i uint8) fmt.Stringer { return webhook.DisableReason(i) }, "- host gone receiver failures unknown"},
		{func(i uint8) fmt.Stringer { return webhook.DeliveryState(i) }, "unknown pending sending delivered dead dropped unknown"},
		{func(i uint8) fmt.Stringer { return webhook.Failure(i) }, "- status redirect gone busy timeout lookup connect tls refused config answer lost keys unknown"},
		{func(i uint8) fmt.Stringer { return webhook.Control(i) }, "- abort-message disable unknown"},
		{
			func(i uint8) fmt.Stringer { return webhook.SenderEventKind(i) },
			"unknown message_delivered attempt_failed message_exhausted message_dropped endpoint_failing endpoint_recovered endpoint_blocked endpoint_disabled sender_trouble unknown",
		},
	} {
		for i, want := range strings.Fields(tt.want) {
			if got := tt.of(uint8(i)).String(); got != strings.Trim(want, "-") {
				t.Errorf("%T(%d) is called %q, want %q", tt.of(0), i, got, want)
			}
		}
	}
	for state, want := range map[webhook.DeliveryState]bool{
		webhook.DeliveryPending: false, webhook.DeliverySending: false, webhook.DeliveryDelivered: true, webhook.DeliveryDead: true, webhook.DeliveryDropped: true,
	} {
		if state.Ended() != want {
			t.Errorf("%v has ended: %t", state, !want)
		}
	}
}
