package pgstore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/webhook"
)

// childLease is how long what a process claims is its own.
const childLease = 500 * time.Millisecond

// deliver claims and settles until nothing waits any more, and says of each delivery
// that it has it, and then that it is done.
func deliver(ctx context.Context, number, url string) error {
	db, err := openChild(ctx, url)
	if err != nil {
		return err
	}
	s := db.Webhooks(nil)
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the parent says go
	after := ""
	for n := 0; ; n++ {
		got, err := s.Claim(ctx, webhook.Claim{Token: fmt.Sprintf("%s-%d", number, n), Limit: 5, Lease: childLease, After: after})
		if err != nil {
			return err
		}
		after = got.Last
		if len(got.Deliveries) == 0 && got.Next.IsZero() {
			return db.Close(ctx)
		}
		for i := range got.Deliveries {
			d := &got.Deliveries[i].Delivery
			fmt.Println("has", d.Endpoint, d.Message, d.Tries)
		}
		var late []bool
		list := settlements(got.Deliveries)
		err = s.Settle(ctx, list, func(now time.Time, cases []webhook.Case) error {
			late = late[:0]
			for i := range cases {
				late = append(late, cases[i].Late)
			}
			return delivered(now, cases)
		})
		if err != nil {
			return err
		}
		for i, s := range list {
			if !late[i] {
				fmt.Println("done", s.Endpoint, s.Message)
			}
		}
	}
}

// Two processes, of which one begins its transactions at a stricter level, deliver
// each message once. A third is killed in the middle, and what it had is delivered
// by the others when its lease is over; nothing is done twice.
func TestProcessesDeliverEverythingOnce(t *testing.T) {
	const messages, endpoints = 60, 4
	url := withParameter(pgtest.Database(t), "synchronous_commit", "off")
	s := openURL(t, url).Webhooks(nil)
	endpointsOf(t, s, "a", endpoints)
	for i := range messages {
		publish(t, s, "a", fmt.Sprint("m", i))
	}
	done := map[string]int{}
	read := func(c *child, most int) {
		for n := 0; n < most && c.lines.Scan(); n++ {
			if word, rest, _ := strings.Cut(c.lines.Text(), " "); word == "done" {
				done[rest]++
			}
		}
	}
	victim := startChild(t, "deliver", 1, url)
	victim.begin(t)
	read(victim, 17) // in the middle of some claim
	if err := victim.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	read(victim, 1<<20) // what it said before
	_ = victim.cmd.Wait()
	others := []*child{
		startChild(t, "deliver", 2, url), startChild(t, "deliver", 3, withParameter(url, "default_transaction_isolation", "serializable")),
	}
	for _, c := range others {
		c.begin(t)
	}
	for _, c := range others {
		read(c, 1<<20)
		if err := c.cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	for name, n := range done {
		if n != 1 {
			t.Errorf("%s was done %d times", name, n)
		}
	}
	for i := range endpoints {
		list, err := s.Deliveries(t.Context(), webhook.DeliveryQuery{
			Endpoint: fmt.Sprintf("a-%05d", i), States: []webhook.DeliveryState{webhook.DeliveryDelivered}, Limit: 1000,
		})
		if err != nil || len(list) != messages {
			t.Errorf("endpoint %d has %d deliveries that ended well, %v; want %d", i, len(list), err, messages)
		}
	}
}
