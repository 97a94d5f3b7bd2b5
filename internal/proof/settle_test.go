package proof_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

const customer = "acme"

// A server hands a job's hold over, is in the midst of another call and of a
// stream, and is killed. A worker, another process with nothing but the hold's
// JSON and the database, settles the job; what else the server had held comes back
// by itself. The account adds up at every step.
func TestAnotherProcessSettlesAfterAKill(t *testing.T) {
	path := os.Getenv("KEYTOLL_SETTLE_DB")
	switch os.Getenv("KEYTOLL_SETTLE_ROLE") {
	case "server":
		serveAndHang(t, path)
		return
	case "worker":
		work(t, path, os.Getenv("KEYTOLL_SETTLE_HOLD"))
		return
	}
	path = filepath.Join(t.TempDir(), "credits.db")
	clock := newClock()
	clock.micros.Store(time.Now().UnixMicro()) // as the processes have it
	ledger := newLedger(t, openSQLite(t, path, clock.now))
	if _, err := ledger.Grant(t.Context(), credits.Grant{Account: customer, ID: "welcome", Amount: 100 * credits.Credit}); err != nil {
		t.Fatal(err)
	}
	adds := func(when string, consumed, held credits.Amount) {
		t.Helper()
		b, err := ledger.Balance(t.Context(), customer)
		if err != nil || b.Consumed != consumed*credits.Credit || b.Held != held*credits.Credit || !b.Balanced() {
			t.Errorf("%s: %+v, %v; want %d consumed and %d held", when, b.Totals, err, consumed, held)
		}
	}

	server := child(t, "server", path, "")
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.StdinPipe(); err != nil { // which stays open as long as this process lives
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the server said nothing")
	}
	hold := lines.Text()
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait() // it was killed
	adds("after the kill", 0, 10+10+30)

	if out, err := child(t, "worker", path, hold).CombinedOutput(); err != nil {
		t.Fatalf("the worker failed: %v\n%s", err, out)
	}
	adds("after the worker", 7, 10+30)
	clock.advance(time.Hour)
	adds("when the holds have timed out", 7, 0)
}

// child is this test in a process of its own.
func child(t *testing.T, role, path, hold string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "KEYTOLL_SETTLE_ROLE="+role, "KEYTOLL_SETTLE_DB="+path, "KEYTOLL_SETTLE_HOLD="+hold)
	return cmd
}

// openSQLite opens a database that other processes open, too.
func openSQLite(t *testing.T, path string, now func() time.Time) credits.Store {
	t.Helper()
	db, err := sqlitestore.Open(path, &sqlitestore.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db.Credits()
}

// serveAndHang is the server: three calls that never end. The first has handed its
// hold over, and says so when the other two have begun.
func serveAndHang(t *testing.T, path string) {
	format, err := apikey.NewFormat("proof", nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := keys.Create(t.Context(), apikey.Spec{Owner: customer})
	if err != nil {
		t.Fatal(err)
	}
	gate, err := middleware.NewGate(keys, &middleware.Options{
		Credits: newLedger(t, openSQLite(t, path, nil)), HoldTTL: 30 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	video := gate.Handler(middleware.Operation{Name: "video", Scopes: scopes.None(), Price: middleware.Fixed(10 * credits.Credit)})
	call := func(work func(*middleware.Pass)) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.Header.Set("Authorization", "Bearer "+issued.Secret.Reveal())
		video(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			p, _ := middleware.PassFrom(r.Context())
			work(p)
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
	call(func(job *middleware.Pass) {
		hold, err := job.Detach(t.Context())
		if err != nil {
			t.Error(err)
		}
		text, err := json.Marshal(hold)
		if err != nil {
			t.Error(err)
		}
		call(func(stream *middleware.Pass) {
			for range 11 {
				if err := stream.Meter().Add(t.Context(), credits.Credit); err != nil {
					t.Error(err)
				}
			}
			call(func(*middleware.Pass) {
				fmt.Println(string(text))
				_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or its parent is
			})
		})
	})
}

// work is the worker: it settles what the hold names.
func work(t *testing.T, path, text string) {
	var hold middleware.Hold
	if err := json.Unmarshal([]byte(text), &hold); err != nil {
		t.Fatal(err)
	}
	ledger := newLedger(t, openSQLite(t, path, nil))
	for _, again := range []bool{false, true} { // a job that is delivered twice is charged once
		r, err := hold.Capture(t.Context(), ledger, 7*credits.Credit)
		if err != nil || r.Amount != 7*credits.Credit || r.Replayed != again {
			t.Fatalf("captured %v, replayed %t, %v", r.Amount, r.Replayed, err)
		}
	}
}
