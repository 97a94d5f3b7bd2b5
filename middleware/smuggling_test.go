package middleware_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/middleware"
)

// statuses returns the status of every answer in what came over a connection.
func statuses(text string) string {
	var all []string
	for _, match := range regexp.MustCompile(`HTTP/1\.[01] (\d{3}) `).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return strings.Join(all, " ")
}

// Shapes of requests that two servers may read differently. KEY stands for a good
// credential; END for the head of a last request without one. However net/http
// reads the bytes, each request that it makes of them shows its own credential or
// is refused: nothing is inherited along a connection.
func TestSmugglingShapes(t *testing.T) {
	const (
		post = "POST /image HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n"
		bare = "POST /image HTTP/1.1\r\nHost: x\r\n"
		next = "GET /image HTTP/1.1\r\nHost: x\r\n\r\n"
		end  = "GET /image HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	)
	h := build(t, blueprint{})
	h.grant(1000)
	key := h.key("image:generate").Secret.Reveal()
	var ran atomic.Int64
	mux := h.gate.Mux()
	mux.Handle("/image", priced(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran.Add(1) }))
	for _, tt := range []struct {
		name, text, want string
		ran              int64
	}{
		{"one after another", post + "\r\n" + next + post + "\r\n" + end, "200 401 200 401", 2},
		{"CL and TE: chunked wins", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next + end, "200 401 401", 1},
		{"TE and CL", post + "Transfer-Encoding: chunked\r\nContent-Length: 100\r\n\r\n0\r\n\r\n" + next + end, "200 401 401", 1},
		{"CL and TE without a key, a key behind", bare + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next + end, "401 401 401", 0},
		{"two lengths", post + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + next + end, "400", 0},
		{"one length twice", post + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + next + end, "200 401 401", 1},
		{"a list of lengths", post + "Content-Length: 0, 0\r\n\r\n" + end, "400", 0},
		{"a length with a sign", post + "Content-Length: +5\r\n\r\n" + end, "400", 0},
		{"a negative length", post + "Content-Length: -1\r\n\r\n" + end, "400", 0},
		{"a length that is none", post + "Content-Length: 0x5\r\n\r\n" + end, "400", 0},
		{"a coding that is none", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + end, "501", 0},
		{"a coding after chunked", post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + end, "501", 0},
		{"two codings", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + end, "501", 0},
		{"a coding behind a control byte", post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + end, "400", 0},
		{"a space before the colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + end, "400", 0},
		{"a tab before the colon", post + "Content-Length\t: 5\r\n\r\n" + end, "400", 0},
		{"a folded coding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + next + end, "200 401 401", 1},
		{"a folded first line", "GET /image HTTP/1.1\r\n Authorization: Bearer KEY\r\nHost: x\r\n\r\n" + end, "400", 0},
		{"lines without CR", "GET /image HTTP/1.1\nHost: x\n\nGET /image HTTP/1.1\nHost: x\nConnection: close\n\n", "401 401", 0},
		{"CR alone is no line", "GET /image HTTP/1.1\r\nHost: x\r\nX: y\rAuthorization: Bearer KEY\r\n\r\n" + end, "400", 0},
		{"a chunk of a negative size", post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + end, "200", 1},
		{"a key in the trailer", bare + "Trailer: Authorization\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer KEY\r\n\r\n" + end, "401 401", 0},
		{"a key in an unannounced trailer", bare + "Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer KEY\r\n\r\n" + end, "401 401", 0},
		{"a key in a body", bare + fmt.Sprintf("Content-Length: %d\r\n\r\n%s\r\n", len(post)-len("KEY")+len(key)+2, post) + end, "401 401", 0},
		{"HTTP/0.9", "GET /image\r\n\r\n", "400", 0},
		{"HTTP/1.0", "GET /image HTTP/1.0\r\nAuthorization: Bearer KEY\r\n\r\n", "200", 1},
		{"HTTP/1.0 with a coding", "POST /image HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + end, "401", 0},
		{"another version", "GET /image HTTP/9.9\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n", "505", 0},
		{"no host", "GET /image HTTP/1.1\r\nAuthorization: Bearer KEY\r\n\r\n" + end, "400", 0},
		{"two hosts", "GET /image HTTP/1.1\r\nHost: x\r\nHost: y\r\nAuthorization: Bearer KEY\r\n\r\n" + end, "400", 0},
		{"a method of its own", "image /image HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "401", 0},
		{"the preface of HTTP/2 in clear text", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", 0},
		{"an upgrade to HTTP/2 without a key", "GET /image HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", "401", 0},
		{"an upgrade to WebSocket without a key", "GET /image HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "401", 0},
		{"100-continue without a key", "POST /image HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n", "401", 0},
		{"100-continue that nobody reads", post + "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n", "200", 1},
		{"another expectation", post + "Expect: money\r\nConnection: close\r\n\r\n", "417", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ran.Store(0)
			got := exchange(t, mux, strings.ReplaceAll(tt.text, "KEY", key))
			if statuses(got) != tt.want || ran.Load() != tt.ran {
				t.Errorf("answered %q, ran %d times; want %q and %d:\n%s", statuses(got), ran.Load(), tt.want, tt.ran, got)
			}
			if strings.Contains(got, key[8:]) {
				t.Errorf("the key comes back:\n%s", got)
			}
		})
	}
}

// Targets that try to reach a route around its pattern, each sent as it is without
// a key: the handler behind the gate never runs, and the public one is no way in.
func TestPathsAroundTheGate(t *testing.T) {
	h := build(t, blueprint{})
	var secret atomic.Int64
	guarded := func(name string) middleware.Operation {
		op := open()
		op.Name = name
		return op
	}
	mux := h.gate.Mux()
	behind := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { secret.Add(1) })
	mux.Handle("/v1/image", guarded("image"), behind)
	mux.Handle("/v1/", guarded("tree"), behind)
	mux.Handle("x.example/host", guarded("host"), behind)
	mux.Public("/v1/public/", says(204))
	mux.Public("/{$}", says(204))
	for _, tt := range []struct{ line, want string }{
		{"GET /v1/image", "401"},
		{"GET /v1/public/a", "204"},
		{"GET /", "204"},
		{"GET /v1/%69mage", "401"},
		{"GET /%76%31/image", "401"},
		{"GET //v1/image", "307"},
		{"GET /v1//image", "307"},
		{"GET /v1/./image", "307"},
		{"GET /v1/public/../image", "307"},
		{"GET /v1/public/..%2fimage", "204"}, // one segment of the public tree, as its handler sees it
		{"GET /v1/public%2f..%2fimage", "401"},
		{"GET /v1/public/%2e%2e/image", "204"},
		{"GET /v1%2fimage", "404"},
		{"GET /v1/image/", "401"},
		{"GET /v1/image;x=1", "401"},
		{"GET /v1/image%00", "401"},
		{"GET /v1/image%0a", "401"},
		{"GET /V1/image", "404"},
		{"GET /v1\\image", "404"},
		{"GET /v1/image?x=/../../", "401"},
		{"GET http://x/v1/image", "401"},
		{"GET http://evil.example/v1/image", "401"},
		{"GET http://x.example/host", "401"},
		{"GET http://x.example:80/host", "401"},
		{"GET http://user:pass@x.example/host", "401"},
		{"GET https://x.example/host", "401"},
		{"GET HTTP://X.EXAMPLE/host", "404"},
		{"GET http:///v1/image", "401"},
		{"GET http:/v1/image", "401"},
		{"GET v1/image", "400"},
		{"GET *", "400"},
		{"OPTIONS *", "200"}, // of the server itself
		{"OPTIONS /v1/image", "401"},
		{"CONNECT /v1/image", "401"},
		{"CONNECT x.example:443", "404"},
		{"CONNECT /v1/public/../image", "204"}, // as it is: CONNECT has no path to clean
		{"HEAD /v1/image", "401"},
		{"TRACE /v1/image", "401"},
		{"GET /v1/image#fragment", "401"},
		{"GET /v1/%zz", "400"},
		{"GET /v1/im age", "400"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			got := exchange(t, mux, tt.line+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if statuses(got) != tt.want || secret.Load() != 0 {
				t.Errorf("answered %q, want %s; ran %d times\n%s", statuses(got), tt.want, secret.Load(), got)
			}
		})
	}
}
