package sqlitestore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/sqlitestore"
	"github.com/keytoll/keytoll/webhook"
)

// webhookEndpoints get every message of these tests.
var webhookEndpoints = []string{"e0", "e1", "e2"}

// processLease is longer than it takes to start the next process.
const processLease = 500 * time.Millisecond

// webhooksForEver publishes, claims and settles from many goroutines, and says so:
// what was done after it was, and what is about to be given up before it is.
func webhooksForEver(ctx context.Context, db *sqlitestore.DB, seed string) error {
	w := db.Webhooks()
	failed := make(chan error, 1)
	var published, claims atomic.Int64
	forEver := func(step func() error) {
		for {
			if err := step(); err != nil {
				failed <- err
				return
			}
		}
	}
	for range 3 {
		go forEver(func() error {
			id := seed + "-" + strconv.FormatInt(published.Add(1), 10)
			_, err := w.Publish(ctx, messageOf(id))
			return sayIf(err, "published "+id+"\n")
		})
		go forEver(func() error {
			token := seed + "." + strconv.FormatInt(claims.Add(1), 10)
			got, err := w.Claim(ctx, webhook.Claim{Token: token, Limit: 4, Lease: processLease})
			if err != nil {
				return err
			}
			var taken, given, done strings.Builder
			for _, name := range names(got) {
				fmt.Fprintf(&taken, "claimed %s %d %d\n", name, got.Now.UnixMicro(), got.Now.Add(processLease).UnixMicro())
				fmt.Fprintf(&given, "settling %s\n", name)
				fmt.Fprintf(&done, "delivered %s\n", name)
			}
			if claims.Load()%5 == 0 { // this one is forgotten, as by a process that dies
				return sayIf(nil, taken.String())
			}
			if err := sayIf(nil, taken.String()+given.String()); err != nil {
				return err
			}
			return sayIf(deliver(ctx, w, got), done.String())
		})
	}
	return <-failed
}

// sayIf writes lines in one system call, so that none is cut, unless err says that
// it did not happen.
func sayIf(err error, lines string) error {
	if err == nil && lines != "" {
		_, err = os.Stdout.WriteString(lines)
	}
	return err
}

// kill -9 in the middle of it: what was published and what was delivered stays so,
// and until its lease is over a delivery is handed out to nobody else.
func TestWebhooksSurviveKill(t *testing.T) {
	path := newFile(t)
	db := openAt(t, path, nil)
	for _, id := range webhookEndpoints {
		change(t, db.Webhooks(), id, func(e *webhook.Endpoint) { e.Settings.MaxInFlight = webhook.MaxMaxInFlight })
	}
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := newWebhookWords()
	for life := range 3 {
		c := start(t, "webhooks", path, "r"+strconv.Itoa(life))
		c.release(t)
		for n := 0; c.lines.Scan(); n++ {
			said.hear(t, c.lines.Text())
			if n == 250 {
				if err := c.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		said.check(t, path)
	}
	said.checkRest(t, path)
	t.Logf("in three lives %d were published, %d delivered", len(said.published), len(said.delivered))
}

// webhookWords are what children said.
type webhookWords struct {
	published, delivered map[string]bool
	leases               map[string]int64 // until when a delivery belongs to who claimed it last
}

func newWebhookWords() *webhookWords {
	return &webhookWords{published: map[string]bool{}, delivered: map[string]bool{}, leases: map[string]int64{}}
}

func (w *webhookWords) hear(t *testing.T, line string) {
	t.Helper()
	var verb, name string
	var at, until int64
	if _, err := fmt.Sscan(line+" 0 0", &verb, &name, &at, &until); err != nil {
		t.Fatalf("the child says %q: %v", line, err)
	}
	switch verb {
	case "published":
		w.published[name] = true
	case "claimed":
		if lease := w.leases[name]; at < lease {
			t.Errorf("%s was handed out at %d, within a lease until %d", name, at, lease)
		}
		w.leases[name] = until
	case "settling":
		w.leases[name] = 0
	case "delivered":
		w.delivered[name] = true
	default:
		t.Fatalf("the child says %q", line)
	}
}

// check proves that what was published is there, and what was delivered is so.
func (w *webhookWords) check(t *testing.T, path string) {
	t.Helper()
	db := openAt(t, path, nil)
	defer db.Close(t.Context())
	sound(t, db)
	for id := range w.published {
		m, err := db.Webhooks().Message(t.Context(), id)
		if want := messageOf(id); err != nil || m.Account != want.Account || string(m.Payload) != string(want.Payload) {
			t.Errorf("%s was published, and is now %+v, %v", id, m, err)
		}
		list, err := db.Webhooks().Deliveries(t.Context(), webhook.DeliveryQuery{Message: id, Limit: 10})
		if err != nil || len(list) != len(webhookEndpoints) {
			t.Errorf("%s has %d deliveries, %v", id, len(list), err)
		}
		for _, d := range list {
			if w.delivered[d.Endpoint+"/"+id] && d.State != webhook.DeliveryDelivered {
				t.Errorf("%s/%s was delivered, and is %v", d.Endpoint, id, d.State)
			}
		}
	}
}

// checkRest proves that everything else is handed out once all leases are over.
func (w *webhookWords) checkRest(t *testing.T, path string) {
	t.Helper()
	db := openAt(t, path, &sqlitestore.Options{Now: func() time.Time { return time.Now().Add(time.Hour) }})
	open, err := db.Int(t.Context(), `SELECT count(*) FROM webhook_deliveries WHERE state IN (1, 2)`)
	if err != nil {
		t.Fatal(err)
	}
	got := claim(t, db.Webhooks(), "rest", 1024)
	for _, name := range names(got) {
		if w.delivered[name] {
			t.Errorf("%s was delivered, and is handed out again", name)
		}
	}
	if int64(len(got.Deliveries)) != open {
		t.Errorf("%d of %d were handed out", len(got.Deliveries), open)
	}
}

const (
	sharedMessages = 150
	sharedCap      = 3
)

// deliverAll delivers until nothing is left, and says how much it did. It fails when
// more than the cap are in flight.
func deliverAll(ctx context.Context, db *sqlitestore.DB, seed string) error {
	w := db.Webhooks()
	fmt.Println("began")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the other has begun too
	var did, claims atomic.Int64
	failed := make(chan error, 4)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				got, err := w.Claim(ctx, webhook.Claim{Token: fmt.Sprint(seed, claims.Add(1)), Limit: 2, Lease: time.Hour})
				if err == nil && got.Next.IsZero() && len(got.Deliveries) == 0 {
					return
				}
				if err == nil {
					err = withinCap(ctx, w)
				}
				if err == nil {
					err = deliver(ctx, w, got)
				}
				if err != nil {
					failed <- err
					return
				}
				did.Add(int64(len(got.Deliveries)))
			}
		})
	}
	group.Wait()
	fmt.Println(did.Load())
	close(failed)
	return <-failed
}

func withinCap(ctx context.Context, w *sqlitestore.WebhookStore) error {
	for _, id := range webhookEndpoints {
		list, err := w.Deliveries(ctx, webhook.DeliveryQuery{Endpoint: id, States: []webhook.DeliveryState{webhook.DeliverySending}, Limit: 100})
		if err != nil {
			return err
		}
		if len(list) > sharedCap {
			return fmt.Errorf("%d are in flight to %s", len(list), id)
		}
	}
	return nil
}

// pile files messages that are due, all for each of these endpoints.
func pile(t testing.TB, db *sqlitestore.DB, messages int, endpoints ...string) {
	t.Helper()
	err := db.Write(t.Context(), func(exec sqlitestore.Exec) error {
		const numbers = `WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT ?1) `
		err := exec(numbers+`INSERT INTO webhook_messages (id, account, type, endpoint, content_type, at, deliveries, payload)
			SELECT 'past-' || hex(randomblob(10)), 'a', 't', '', 'application/json', n, 1, zeroblob(300) FROM r`, messages)
		if err != nil {
			return err
		}
		for _, id := range endpoints {
			err = exec(`INSERT INTO webhook_deliveries (message, endpoint, due, created_at)
				SELECT seq, ?2, at, at FROM webhook_messages ORDER BY seq DESC LIMIT ?1`, messages, id)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTwoProcessesDeliverEachMessageOnceAndKeepTheCap(t *testing.T) {
	path := newFile(t)
	db := openAt(t, path, nil)
	for _, id := range webhookEndpoints {
		change(t, db.Webhooks(), id, func(e *webhook.Endpoint) { e.Settings.MaxInFlight = sharedCap })
	}
	pile(t, db, sharedMessages, webhookEndpoints...)
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if did, want := race(t, []*child{start(t, "deliver", path, "one."), start(t, "deliver", path, "two.")}), sharedMessages*len(webhookEndpoints); did != want {
		t.Errorf("%d were delivered, want %d", did, want)
	}
	db = openAt(t, path, nil)
	if n, err := db.Int(t.Context(), `SELECT count(*) FROM webhook_deliveries WHERE state = 3 AND tries = 1`); err != nil || n != int64(sharedMessages*len(webhookEndpoints)) {
		t.Errorf("%d were delivered by their first attempt, %v", n, err)
	}
	if n := rowsOf(t, db, "webhook_attempts"); n != int64(sharedMessages*len(webhookEndpoints)) {
		t.Errorf("%d attempts", n)
	}
	sound(t, db)
}
