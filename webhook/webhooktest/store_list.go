package webhooktest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func listChecks() []storeCheck {
	return []storeCheck{
		{"Deliveries of an endpoint come newest first, in pages that neither overlap nor leave out", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e", "f")
			ids := numbered("m", 11)
			q.publish(ctx, ids...)
			slices.Reverse(ids)
			for _, size := range []int{1, 4, 11, 1000} {
				var got []string
				for before := int64(0); ; {
					list, err := q.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: "e", Before: before, Limit: size})
					q.must(err)
					q.want(len(list) <= size, "%d deliveries for a limit of %d", len(list), size)
					if len(list) == 0 {
						break
					}
					for _, d := range list {
						q.want(d.Endpoint == "e" && d.Seq > 0 && (before == 0 || d.Seq < before), "%+v is not of endpoint e before %d", d, before)
						got, before = append(got, d.Message), d.Seq
					}
				}
				q.want(slices.Equal(got, ids), "pages of %d: %v, want %v", size, got, ids)
			}
		}},
		{"Deliveries of a message are those of all its endpoints, newest first", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "a", "b", "c")
			q.publish(ctx, "m1", "m2")
			var seqs []int64
			list, err := q.Deliveries(ctx, webhook.DeliveryQuery{Message: "m1", Limit: 10})
			q.must(err)
			for _, d := range list {
				q.want(d.Message == "m1", "%+v is not of m1", d)
				seqs = append(seqs, d.Seq)
			}
			q.want(len(seqs) == 3 && seqs[0] > seqs[1] && seqs[1] > seqs[2], "the deliveries of m1 have the Seqs %v, want three that fall", seqs)
			rest, err := q.Deliveries(ctx, webhook.DeliveryQuery{Message: "m1", Before: seqs[0], Limit: 1})
			q.must(err)
			q.want(len(rest) == 1 && rest[0] == list[1], "behind the first of them comes %+v, want %+v", rest, list[1])
		}},
		{"Deliveries are only those of the states asked for", func(ctx context.Context, q *queue) {
			q.menagerie(ctx, "e")
			for _, query := range []struct {
				states []webhook.DeliveryState
				want   []string
			}{
				{[]webhook.DeliveryState{pending}, []string{"future", "due"}},
				{[]webhook.DeliveryState{sending}, []string{"over", "sending"}},
				{[]webhook.DeliveryState{delivered}, []string{"delivered"}},
				{[]webhook.DeliveryState{dropped, dead}, []string{"dropped", "dead"}},
				{[]webhook.DeliveryState{dead, pending, sending}, []string{"dead", "future", "due", "over", "sending"}},
				{nil, []string{"dropped", "dead", "delivered", "future", "due", "over", "sending"}},
			} {
				for limit := 1; limit <= len(query.want)+1; limit++ {
					list, err := q.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: "e", States: query.states, Limit: limit})
					q.must(err)
					var got []string
					for _, d := range list {
						got = append(got, d.Message)
					}
					want := query.want[:min(limit, len(query.want))]
					q.want(slices.Equal(got, want), "%d deliveries in %v: %v, want %v", limit, query.states, got, want)
				}
			}
			list, err := q.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: "e", Message: "dead", States: []webhook.DeliveryState{pending}, Limit: 1})
			q.must(err)
			q.want(len(list) == 0, "one that is dead is listed as pending: %+v", list)
		}},
		{"Deliveries of what is not there are none", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e")
			q.publish(ctx, "m")
			for _, query := range []webhook.DeliveryQuery{
				{Endpoint: "nothing"}, {Message: "nothing"}, {Endpoint: "E"}, {Message: "M"}, {Endpoint: "nothing", Message: "m"}, {Endpoint: "e", Message: "nothing"},
				{Endpoint: "e", Before: 1},
			} {
				query.Limit = 10
				list, err := q.Deliveries(ctx, query)
				q.must(err)
				q.want(len(list) == 0, "Deliveries(%+v) = %+v", query, list)
			}
		}},
		{"Attempts come in ascending order of Number, behind the one given, up to limit", func(ctx context.Context, q *queue) {
			q.endpoints(ctx, "e", "f")
			q.publish(ctx, "m")
			for _, number := range []int{11, 2, 1, 100, 3, 20} { // as they may be filed late
				s := webhook.Settlement{Endpoint: "e", Message: "m", Token: "late", Attempt: webhook.Attempt{Number: number, At: q.now(ctx)}}
				q.must(q.Settle(ctx, []webhook.Settlement{s}, func(time.Time, []webhook.Case) error { return nil }))
			}
			for _, page := range []struct {
				after, limit int
				want         string
			}{{0, 10, "[1 2 3 11 20 100]"}, {0, 2, "[1 2]"}, {2, 2, "[3 11]"}, {10, 1, "[11]"}, {11, 5, "[20 100]"}, {100, 5, "[]"}} {
				list, err := q.Attempts(ctx, "e", "m", page.after, page.limit)
				q.must(err)
				numbers := []int{}
				for _, a := range list {
					numbers = append(numbers, a.Number)
				}
				q.want(fmt.Sprint(numbers) == page.want, "%d attempts behind %d: %v, want %s", page.limit, page.after, numbers, page.want)
			}
			for _, name := range []string{"f/m", "e/nothing", "nothing/m", "E/m", "e/M"} {
				q.want(len(q.attempts(ctx, name)) == 0, "attempts of %s: %+v", name, q.attempts(ctx, name))
			}
		}},
		{"a message that is not there is ErrNotFound", func(ctx context.Context, q *queue) {
			q.publish(ctx, "m")
			for _, id := range []string{"M", "nothing", ""} {
				_, err := q.Message(ctx, id)
				q.wantErr("Message of "+id, err, webhook.ErrNotFound)
			}
		}},
	}
}
