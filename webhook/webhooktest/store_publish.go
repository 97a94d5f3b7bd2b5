package webhooktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func publishChecks() []storeCheck {
	return []storeCheck{
		{"a message is kept byte for byte, with the store's own At", messageKept},
		{"a payload of 16 MiB is kept", func(ctx context.Context, q *queue) {
			m := message("m")
			m.Payload = bytes.Repeat([]byte("0123456789\x00\xff\xfe\n\r\""), webhook.MaxPayload/16)
			q.endpoints(ctx, "e")
			_, err := q.Publish(ctx, m)
			q.must(err)
			got := q.gives(ctx, webhook.Claim{}, "e/m").Deliveries[0].Message
			q.want(bytes.Equal(got.Payload, m.Payload), "16 MiB came back as %d bytes, or as others", len(got.Payload))
		}},
		{"a delivery, pending and due now, is filed for each endpoint of the account that takes the type", fanOut},
		{"a message that no endpoint takes is kept", func(ctx context.Context, q *queue) {
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.Events = []string{"other"} })
			q.want(q.publish(ctx, "m").Deliveries == 0, "an endpoint took a type that it filters out")
			m, err := q.Message(ctx, "m")
			q.must(err)
			q.want(m.ID == "m", "Message = %+v", m)
			q.gives(ctx, webhook.Claim{})
		}},
		{"a message for one endpoint goes there whatever it takes, and nowhere else", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "all")
			q.change(ctx, "one", func(e *webhook.Endpoint) { e.Settings.Events = []string{"other"} })
			m := message("m")
			m.Endpoint = "one"
			p, err := q.Publish(ctx, m)
			q.must(err)
			q.want(p.Deliveries == 1, "Publish = %+v, want one delivery", p)
			kept, err := q.Message(ctx, "m")
			q.must(err)
			q.want(kept.Endpoint == "one", "the message names the endpoint %q", kept.Endpoint)
			q.gives(ctx, webhook.Claim{}, "one/m")
		}},
		{"a message for an endpoint that is not there, is deleted or another account's is not found, and nothing is filed", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "mine", "gone")
			q.change(ctx, "other", func(e *webhook.Endpoint) { e.Account = "acct_2" })
			q.change(ctx, "gone", func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
			for _, id := range []string{"other", "gone", "nothing"} {
				m := message("m")
				m.Endpoint = id
				_, err := q.Publish(ctx, m)
				q.wantErr("Publish for the endpoint "+id, err, webhook.ErrNotFound)
				_, err = q.Message(ctx, "m")
				q.wantErr("Message after that", err, webhook.ErrNotFound)
			}
			q.publish(ctx, "m")
			q.gives(ctx, webhook.Claim{}, "mine/m")
		}},
		{"Publish sees every endpoint change that returned before", func(ctx context.Context, q *queue) {
			q.want(q.publish(ctx, "m0").Deliveries == 0, "a delivery without an endpoint")
			q.endpoints(ctx, "e")
			q.want(q.publish(ctx, "m1").Deliveries == 1, "an endpoint that was just made got nothing")
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.Events = []string{"other"} })
			q.want(q.publish(ctx, "m2").Deliveries == 0, "a filter that was just set did not hold")
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.Settings.Events, e.State = nil, webhook.EndpointDisabled })
			q.want(q.publish(ctx, "m3").Deliveries == 1, "nothing is held for a disabled endpoint")
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
			q.want(q.publish(ctx, "m4").Deliveries == 0, "a message was filed for a deleted endpoint")
		}},
		{"a message goes to 1000 endpoints, and can be claimed and settled for all at once", wideFanOut},
		{"Seq grows with publication, whoever publishes", seqGrows},
	}
}

func messageKept(ctx context.Context, q *queue) {
	q.endpoints(ctx, "e")
	for i, payload := range [][]byte{
		nil, []byte("{}"), {0}, []byte("a\x00b"), {0xff, 0xfe, 0xc3, 0x28, 0x80}, []byte("\\x00 \\ ' \" \r\n\t"), []byte("Zoë \U0001F680 \u2028"), bytes.Repeat([]byte{0xed, 0xa0, 0x80}, 3000),
	} {
		m := message(fmt.Sprintf("Msg_-%d", i))
		m.Payload, m.Type, m.ContentType = payload, "Image.created_v2.x-1", "application/x-thing; charset=\"utf-8\""
		m.At = time.Unix(1, 0)
		before := q.now(ctx)
		p, err := q.Publish(ctx, m)
		q.must(err)
		after := q.now(ctx)
		q.want(p == webhook.Publication{ID: m.ID, At: p.At, Deliveries: 1} && inWhole(p.At), "Publish = %+v", p)
		q.want(!p.At.Before(before) && !p.At.After(after), "published at %v, which is not between %v and %v of the same clock", p.At, before, after)
		m.At = p.At
		got, err := q.Message(ctx, m.ID)
		q.must(err)
		q.want(sameMessage(got, m), "Message:\n got %+v\nwant %+v", got, m)
		claimed := q.gives(ctx, webhook.Claim{}, "e/"+m.ID).Deliveries[0].Message
		q.want(sameMessage(*claimed, m), "Claim:\n got %+v\nwant %+v", *claimed, m)
	}
}

// sameMessage tells a nil payload from an empty one no more than a receiver does.
func sameMessage(a, b webhook.Message) bool {
	same := bytes.Equal(a.Payload, b.Payload)
	return same && a.ID == b.ID && a.Account == b.Account && a.Type == b.Type && a.Endpoint == b.Endpoint && a.ContentType == b.ContentType && a.At == b.At
}

func fanOut(ctx context.Context, q *queue) {
	q.endpoints(ctx, "all", "disabled", "deleted", "other-account")
	for id, events := range map[string][]string{
		"exact": {"x", "a.b"}, "prefix": {"a.*"}, "longer": {"a.b.*"}, "shorter": {"a"}, "case": {"A.b"}, "other": {"b.*", "c"},
	} {
		q.change(ctx, id, func(e *webhook.Endpoint) { e.Settings.Events = events })
	}
	q.change(ctx, "disabled", func(e *webhook.Endpoint) { e.State, e.Reason = webhook.EndpointDisabled, webhook.DisabledByHost })
	q.change(ctx, "deleted", func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
	q.change(ctx, "other-account", func(e *webhook.Endpoint) { e.Account = "ACCT_1" })
	p := q.publish(ctx, "m")
	q.want(p.Deliveries == 4, "Publish = %+v, want 4 deliveries", p)
	list, err := q.Deliveries(ctx, webhook.DeliveryQuery{Message: "m", Limit: 1000})
	q.must(err)
	var to []string
	for _, d := range list {
		to = append(to, d.Endpoint)
		q.want(d.Seq > 0, "a delivery has the Seq %d", d.Seq)
		want := webhook.Delivery{
			Endpoint: d.Endpoint, Message: "m", Account: account, Type: "a.b", Seq: d.Seq, State: webhook.DeliveryPending, Due: p.At, CreatedAt: p.At,
		}
		q.want(d == want, "a new delivery:\n got %+v\nwant %+v", d, want)
		q.want(q.row(ctx, d.Endpoint+"/m") == want, "the delivery differs when it is listed by its endpoint")
	}
	slices.Sort(to)
	q.want(slices.Equal(to, []string{"all", "disabled", "exact", "prefix"}), "the message went to %v", to)
	q.gives(ctx, webhook.Claim{}, "all/m", "exact/m", "prefix/m")
}

func wideFanOut(ctx context.Context, q *queue) {
	const n = 1000
	ids := numbered("e", n)
	q.together(ctx, 8, func(ctx context.Context, i int) error {
		for k := i; k < n; k += 8 {
			if err := changeEndpoint(ctx, q, ids[k], nil); err != nil {
				return err
			}
		}
		return nil
	})
	m := message("m")
	m.Payload = bytes.Repeat([]byte("payload "), 4096)
	p, err := q.Publish(ctx, m)
	q.must(err)
	q.want(p.Deliveries == n, "Publish = %+v", p)
	list, err := q.Deliveries(ctx, webhook.DeliveryQuery{Message: "m", Limit: n})
	q.must(err)
	q.want(len(list) == n, "%d deliveries are listed", len(list))
	got := q.claim(ctx, webhook.Claim{})
	q.want(len(got.Deliveries) == n, "Claim gave %d", len(got.Deliveries))
	for i, c := range got.Deliveries {
		q.want(bytes.Equal(c.Message.Payload, m.Payload), "the payload of delivery %d is another", i)
	}
	q.settle(ctx, got.Deliveries, end(webhook.DeliveryDelivered))
	list, err = q.Deliveries(ctx, webhook.DeliveryQuery{Message: "m", States: []webhook.DeliveryState{webhook.DeliveryDelivered}, Limit: n})
	q.must(err)
	q.want(len(list) == n, "%d of %d settled deliveries are delivered", len(list), n)
}

func seqGrows(ctx context.Context, q *queue) {
	q.endpoints(ctx, "e", "f")
	const publishers, each = 4, 10
	q.together(ctx, publishers, func(ctx context.Context, i int) error {
		for k := range each {
			if _, err := q.Publish(ctx, message(fmt.Sprintf("m%d_%05d", i, k))); err != nil {
				return err
			}
		}
		return nil
	})
	for _, endpoint := range []string{"e", "f"} {
		last, seen := map[byte]string{}, map[int64]bool{}
		for _, d := range q.rows(ctx, endpoint) {
			q.want(!seen[d.Seq], "two deliveries have the Seq %d", d.Seq)
			q.want(last[d.Message[1]] < d.Message, "%s has a greater Seq than %s, which was published after it", last[d.Message[1]], d.Message)
			seen[d.Seq], last[d.Message[1]] = true, d.Message
		}
		q.want(len(seen) == publishers*each, "%d deliveries, want %d", len(seen), publishers*each)
	}
}

func intentChecks() []storeCheck {
	return []storeCheck{
		{"publishing a message again changes nothing and answers as the first time", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			m := message("m")
			m.Endpoint = "e"
			first, err := q.Publish(ctx, m)
			q.must(err)
			want := first
			want.Replayed = true
			again := func(when string) {
				before := q.row(ctx, "e/m")
				p, err := q.Publish(ctx, m)
				q.must(err)
				q.want(p == want, "Publish again, %s:\n got %+v\nwant %+v", when, p, want)
				q.want(q.row(ctx, "e/m") == before, "Publish again, %s, changed the delivery", when)
				list, err := q.Deliveries(ctx, webhook.DeliveryQuery{Message: "m", Limit: 10})
				q.must(err)
				q.want(len(list) == 1, "Publish again, %s, filed %d deliveries", when, len(list)-1)
			}
			again("at once")
			q.endpoints(ctx, "f")
			m.At = first.At.Add(long)
			q.passes(ctx, 2*time.Millisecond)
			again("after another endpoint was made")
			q.arrange(ctx, map[string]func(time.Time, *webhook.Case){"e/m": end(webhook.DeliveryDelivered)})
			again("after it was delivered")
			q.change(ctx, "e", func(e *webhook.Endpoint) { e.State = webhook.EndpointDeleted })
			again("after its endpoint was deleted")
		}},
		{"a message for many endpoints is not filed for those that came later", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			q.endpoints(ctx, "f")
			p, err := q.Publish(ctx, message("m"))
			q.must(err)
			q.want(p.Replayed && p.Deliveries == 1, "Publish again = %+v, want the one delivery of the first time", p)
			q.gives(ctx, webhook.Claim{}, "e/m")
		}},
		{"another message under an ID that was used is refused with ErrIntent", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			p := q.publish(ctx, "m")
			for field, edit := range map[string]func(m *webhook.Message){
				"Account":     func(m *webhook.Message) { m.Account = "acct_2" },
				"Type":        func(m *webhook.Message) { m.Type = "a.B" },
				"Endpoint":    func(m *webhook.Message) { m.Endpoint = "e" },
				"ContentType": func(m *webhook.Message) { m.ContentType = "text/plain" },
				"Payload":     func(m *webhook.Message) { m.Payload = append(m.Payload, 0) },
				"no Payload":  func(m *webhook.Message) { m.Payload = nil },
			} {
				m := message("m")
				edit(&m)
				got, err := q.Publish(ctx, m)
				q.wantErr("Publish with another "+field, err, webhook.ErrIntent)
				q.want(got == webhook.Publication{}, "Publish with another %s = %+v and an error", field, got)
			}
			got, err := q.Message(ctx, "m")
			q.must(err)
			want := message("m")
			want.At = p.At
			q.want(sameMessage(got, want), "the message has become %+v", got)
			q.gives(ctx, webhook.Claim{}, "e/m")
		}},
		{"of publishers of one message at once, one files it", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e", "f")
			for _, id := range numbered("m", 10) {
				var fresh atomic.Int64
				q.together(ctx, 8, func(ctx context.Context, _ int) error {
					p, err := q.Publish(ctx, message(id))
					if err == nil && p.Deliveries != 2 {
						err = fmt.Errorf("publish at the same time = %+v", p)
					}
					if !p.Replayed {
						fresh.Add(1)
					}
					return err
				})
				q.want(fresh.Load() == 1, "%d of 8 publishers at once were the first", fresh.Load())
				q.gives(ctx, webhook.Claim{}, "e/"+id, "f/"+id)
			}
		}},
		{"of publishers of different messages under one ID at once, one wins and the others get ErrIntent", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			for _, id := range numbered("m", 10) {
				var won atomic.Int64
				q.together(ctx, 8, func(ctx context.Context, i int) error {
					m := message(id)
					m.Payload = fmt.Append(nil, i)
					_, err := q.Publish(ctx, m)
					switch {
					case err == nil:
						won.Add(1)
					case errors.Is(err, webhook.ErrIntent):
						return nil
					}
					return err
				})
				q.want(won.Load() == 1, "%d of 8 messages under one ID were taken", won.Load())
				q.gives(ctx, webhook.Claim{}, "e/"+id)
			}
		}},
		{"the longest names are kept apart and come back whole", longestNames},
		{"ids compare byte by byte", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e", "E")
			q.change(ctx, "other", func(e *webhook.Endpoint) { e.Account = "Acct_1" })
			q.publish(ctx, "m", "M", "m-", "m_")
			m := message("mine")
			m.Endpoint = "e"
			_, err := q.Publish(ctx, m)
			q.must(err)
			q.gives(ctx, webhook.Claim{}, "e/m", "e/M", "e/m-", "e/m_", "E/m", "E/M", "E/m-", "E/m_", "e/mine")
		}},
	}
}

// longestNames uses all that may be long at its longest.
func longestNames(ctx context.Context, q *queue) {
	name := func(n int, last string) string { return strings.Repeat("x", n-1) + last }
	ends := []string{"a", "b"}
	for _, end := range ends {
		q.change(ctx, name(64, end), func(e *webhook.Endpoint) {
			e.Account = name(128, end)
			e.Settings.Note, e.Settings.URL = name(256, end), "https://example.com/"+name(2000, end)
			e.Settings.Events = numbered(name(120, end), webhook.MaxFilters-1)
			e.Settings.Events = append(e.Settings.Events, name(webhook.MaxType, end))
		})
	}
	for _, end := range ends {
		m := message(name(256, end))
		m.Account, m.Type, m.ContentType = name(128, end), name(webhook.MaxType, end), name(256, end)
		p, err := q.Publish(ctx, m)
		q.must(err)
		q.want(p == webhook.Publication{ID: m.ID, At: p.At, Deliveries: 1}, "Publish of the longest names = %+v", p)
		m.At = p.At
		got := q.gives(ctx, webhook.Claim{Token: name(64, end)}, name(64, end)+"/"+m.ID)
		q.want(sameMessage(*got.Deliveries[0].Message, m), "the message:\n got %+v\nwant %+v", *got.Deliveries[0].Message, m)
		e := got.Deliveries[0].Endpoint
		q.want(e.Settings.Note == name(256, end) && len(e.Settings.Events) == webhook.MaxFilters, "the endpoint has the note %q and %d filters", e.Settings.Note, len(e.Settings.Events))
		s := settlementsOf(got.Deliveries)
		s[0].Attempt = webhook.Attempt{Number: 1, At: p.At, Detail: name(256, end), Location: name(1024, end), Body: bytes.Repeat([]byte{0}, webhook.MaxKeepBody)}
		q.must(q.Settle(ctx, s, func(now time.Time, cases []webhook.Case) error { wake(time.Hour)(now, &cases[0]); return nil }))
		list := q.attempts(ctx, name(64, end)+"/"+m.ID)
		q.want(len(list) == 1 && list[0].Detail == name(256, end) && list[0].Location == name(1024, end) && len(list[0].Body) == webhook.MaxKeepBody, "the attempts are %+v", list)
	}
}
