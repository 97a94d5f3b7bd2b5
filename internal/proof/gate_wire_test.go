package proof_test

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// A wire is a proxy on loopback between a client and its server.
type wire struct {
	addr string
	cut  atomic.Bool  // nothing goes either way, and nobody is told
	lose atomic.Int64 // when an answer takes it from 1 to 0 that answer is lost, and the connection with it

	mu    sync.Mutex
	conns []net.Conn
}

func newWire(t *testing.T, network, address string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	w := &wire{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				client.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, client, server)
			w.mu.Unlock()
			go w.carry(server, client, false)
			go w.carry(client, server, true)
		}
	}()
	return w
}

// mend lets everything pass again, on other connections: what was sent on those of
// before is gone.
func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut.Store(false)
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

// carry copies one direction until either end is gone, and then ends the other.
func (w *wire) carry(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		switch {
		case err != nil:
			return
		case answers && w.lose.Load() > 0 && w.lose.Add(-1) == 0:
			return
		case w.cut.Load():
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// toPostgres returns a wire to a database, and the URL that goes through it.
func toPostgres(t *testing.T, database string) (w *wire, through string) {
	t.Helper()
	u, err := url.Parse(database)
	must(t, err)
	q := u.Query()
	network, address := "tcp", u.Host
	if dir := q.Get("host"); dir != "" {
		network, address = "unix", dir+"/.s.PGSQL.5432"
	}
	w = newWire(t, network, address)
	q.Del("host")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = w.addr, q.Encode()
	return w, u.String()
}
