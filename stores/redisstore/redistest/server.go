package redistest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Variable names the environment variable that names a server.
const Variable = "KEYTOLL_TEST_REDIS"

// patience is how long a server may take to start.
const patience = 20 * time.Second

// A Server is one Redis server. Its methods are for the test's own goroutine.
type Server struct {
	t       testing.TB
	options *redis.Options
	binary  string   // "" for a server that is not ours
	dir     string   // where it keeps its files
	args    []string // beside what every server gets
	process *process // nil while it does not run
}

// Start returns a server that answers. The test is skipped where there is none.
func Start(t testing.TB) *Server {
	t.Helper()
	if named := os.Getenv(Variable); named != "" { //nolint:forbidigo // this is where tests read it
		return use(t, named)
	}
	return start(t, nil)
}

// StartOwn returns a server that the test may kill, a process of its own even
// where KEYTOLL_TEST_REDIS names another. The arguments are options of
// redis-server ("--maxclients", "20").
func StartOwn(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, args)
}

// use returns the server that the environment names.
func use(t testing.TB, named string) *Server {
	t.Helper()
	options, err := redis.ParseURL(named)
	if err != nil {
		if _, _, err := net.SplitHostPort(named); err != nil {
			t.Fatalf("%s is not an address; give host:port or redis://host:port", Variable)
		}
		options = &redis.Options{Addr: named}
	}
	s := &Server{t: t, options: options}
	if err := s.Client(t).Ping(t.Context()).Err(); err != nil {
		t.Fatalf("the server named in %s does not answer: %v", Variable, err)
	}
	return s
}

// start runs a server of our own.
func start(t testing.TB, args []string) *Server {
	t.Helper()
	s := &Server{t: t, binary: binary(t), dir: t.TempDir(), args: args}
	t.Cleanup(func() {
		if s.process != nil {
			s.process.end()
		}
	})
	var err error
	for range 5 { // somebody else may take the port between the look and the start
		s.options = &redis.Options{Addr: freeAddr(t)}
		if err = s.run(); err == nil {
			return s
		}
	}
	t.Fatalf("redis-server does not start: %v", err)
	return nil
}

// binary returns the server's program.
func binary(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("no redis-server in PATH: install one (Debian: apt-get install redis-server), or name a running one in %s", Variable)
	return ""
}

// freeAddr returns an address of the loopback interface that nobody has now.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// run starts the process and returns when it takes connections.
func (s *Server) run() error {
	host, port, err := net.SplitHostPort(s.options.Addr)
	if err != nil {
		return err
	}
	args := append([]string{
		"--bind", host, "--port", port, "--dir", s.dir, "--logfile", "",
		"--save", "", "--appendonly", "no",
	}, s.args...)
	s.process, err = launch(s.binary, args)
	if err != nil {
		s.process = nil
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), patience)
	defer cancel()
	if err := s.process.says(ctx, "Ready to accept connections"); err != nil {
		s.process.end()
		s.process = nil
		return err
	}
	return nil
}

// Addr returns the server's address, "127.0.0.1:41234".
func (s *Server) Addr() string { return s.options.Addr }

// Client returns a new client, closed with the test.
func (s *Server) Client(t testing.TB) *redis.Client {
	o := *s.options
	o.ContextTimeoutEnabled = true
	c := redis.NewClient(&o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Kill ends the server at once, as kill -9 does, running or paused.
func (s *Server) Kill() {
	s.t.Helper()
	s.own().end()
	s.process = nil
}

// Restart starts the server again at its address, after Kill or instead of it.
func (s *Server) Restart() {
	s.t.Helper()
	if s.process != nil || s.binary == "" {
		s.Kill()
	}
	if err := s.run(); err != nil {
		s.t.Fatalf("redis-server does not start again: %v", err)
	}
}

// Pause stops the server without ending it: its connections stay open, and it
// answers nothing until Resume.
func (s *Server) Pause() {
	s.t.Helper()
	if err := s.own().pause(); err != nil {
		s.t.Fatalf("pausing redis-server: %v", err)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume() {
	s.t.Helper()
	if err := s.own().resume(); err != nil {
		s.t.Fatalf("resuming redis-server: %v", err)
	}
}

// own returns the process, and skips the test when it is not ours.
func (s *Server) own() *process {
	s.t.Helper()
	switch {
	case s.binary == "":
		s.t.Skipf("the server named in %s is not this test's to stop: unset it, and have redis-server in PATH", Variable)
	case s.process == nil:
		s.t.Fatal("the server is killed; call Restart first")
	}
	return s.process
}
