package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A Server is a PostgreSQL server of one test. Its methods are for the test's
// own goroutine.
type Server struct {
	t   testing.TB
	c   *cluster
	url string
}

// Start starts a server for t alone, with an empty database, and ends it when t
// is over. It takes a second or two: a test that does not kill its server needs
// only a [Database]. Where a server cannot be started, t is skipped.
func Start(t testing.TB) *Server {
	t.Helper()
	c := started(t)
	t.Cleanup(func() {
		if err := c.remove(); err != nil {
			t.Error(err)
		}
	})
	return &Server{t: t, c: c, url: c.url("postgres")}
}

func started(t testing.TB, settings ...string) *cluster {
	t.Helper()
	c, err := newCluster(settings...)
	if err == errNoPrograms { //nolint:errorlint // it comes as it is
		t.Skip(err)
	}
	if err == nil {
		if err = c.start(t.Context()); err != nil {
			_ = os.RemoveAll(c.dir)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// URL returns how to reach the server's database.
func (s *Server) URL() string { return s.url }

// Kill ends the server and all its processes with kill -9, and returns when
// they are gone. What was committed is on the disk; nothing else is.
func (s *Server) Kill() {
	s.t.Helper()
	if err := s.c.kill(); err != nil {
		s.t.Fatal(err)
	}
}

// Restart starts the server again after Kill, or ends it in an orderly hurry and
// starts it again. It returns when the server answers, at the same URL.
func (s *Server) Restart() {
	s.t.Helper()
	err := s.c.stop()
	if err == nil {
		err = s.c.start(s.t.Context())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// Log returns the last lines that the server said.
func (s *Server) Log() string { return s.c.log.String() }

// shared is the server of the test binary.
var shared struct {
	mu sync.Mutex
	c  *cluster
}

// Main runs the tests of m and then ends the server that [Database] started, if
// any. It returns what to give to os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.c != nil {
		if err := shared.c.remove(); err != nil && code == 0 {
			code = 1
		}
		shared.c = nil
	}
	return code
}

// Database returns the URL of an empty database for t alone, which is dropped
// when t is over, on a server that the tests of the binary share. Where there is
// none, t is skipped.
func Database(t testing.TB) string {
	t.Helper()
	server := sharedURL(t)
	name := "keytoll_test_" + strings.ToLower(rand.Text())
	execute(t, server, t.Context(), "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, server, context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("KEYTOLL_TEST_POSTGRES is not a URL such as postgres://user:password@host:5432/postgres")
	}
	u.Path = "/" + name
	return u.String()
}

func sharedURL(t testing.TB) string {
	t.Helper()
	if named := os.Getenv("KEYTOLL_TEST_POSTGRES"); named != "" { //nolint:forbidigo // where the tests' server is, is said by their surroundings
		return named
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.c == nil {
		shared.c = started(t, "fsync=off", "full_page_writes=off") // nobody kills it
	}
	return shared.c.url("postgres")
}

func execute(t testing.TB, server string, ctx context.Context, statement string) { //nolint:revive // t comes first
	t.Helper()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(ctx, statement)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		t.Fatal(err)
	}
}
