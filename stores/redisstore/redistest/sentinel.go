package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
)

// StartSentinel returns a client of a sentinel, and its address. The sentinel is
// a process of its own that watches master under a name, knows its replica, and
// promotes that when the master has not answered for a second. The client is
// closed with the test.
func StartSentinel(t testing.TB, name string, master *Server) (client *redis.SentinelClient, addr string) {
	t.Helper()
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	addr = freeAddr(t)
	_, own, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "sentinel.conf") // which the sentinel writes to
	text := fmt.Sprintf("bind %s\nport %s\ndir %s\nsentinel monitor %s %s %s 1\nsentinel down-after-milliseconds %[4]s 1000\n", host, own, dir, name, host, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := launch(binary(t), []string{file, "--sentinel"})
	if err != nil {
		t.Fatalf("the sentinel does not start: %v", err)
	}
	t.Cleanup(p.end)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.says(ctx, "+slave "); err != nil {
		t.Fatalf("waiting for the sentinel to find the replica: %v", err)
	}
	client = redis.NewSentinelClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	return client, addr
}
