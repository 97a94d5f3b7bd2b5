package middleware_test

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A frame of HTTP/2 (RFC 9113 section 4.1).
type frame struct {
	kind, flags byte
	payload     []byte
}

const (
	frameHeaders, frameReset, frameGoAway = 1, 3, 7
	endStream, endHeaders                 = 1, 4
)

// hpack writes fields, "name=value" each, literally and without an index (RFC 7541
// section 6.2.2).
func hpack(fields ...string) []byte {
	var b []byte
	text := func(s string) {
		if len(s) < 127 {
			b = append(b, byte(len(s)))
		} else { // in two more bytes
			rest := len(s) - 127
			b = append(b, 127, byte(rest&127|128), byte(rest>>7))
		}
		b = append(b, s...)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		b = append(b, 0)
		text(name)
		text(value)
	}
	return b
}

// statusOf reads the status that a block of fields begins with.
func statusOf(t *testing.T, block []byte) string {
	t.Helper()
	for len(block) > 0 && block[0]&0xe0 == 0x20 {
		block = block[1:] // another size of the table
	}
	if block[0]&0x80 != 0 { // of the static table
		return map[byte]string{8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}[block[0]&0x7f]
	}
	if index := block[0] & 0x0f; index < 8 || index > 14 {
		t.Fatalf("a block that begins with %x", block[0])
	}
	length, text := int(block[1]&0x7f), block[2:]
	if block[1]&0x80 == 0 {
		return string(text[:length])
	}
	var bits uint64 // the Huffman code of digits: 0 to 2 in five bits, the rest in six
	for _, c := range text[:length] {
		bits = bits<<8 | uint64(c)
	}
	var status string
	for left := length * 8; len(status) < 3; {
		code := bits >> (left - 5) & 0x1f
		if left -= 5; code > 2 {
			left--
			code = code<<1&0x3f | bits>>left&1
			code -= 0x19 - 3
		}
		status += fmt.Sprint(code)
	}
	return status
}

// transportOf returns what a client of the server sends with.
func transportOf(t *testing.T, s *httptest.Server) *http.Transport {
	t.Helper()
	transport, ok := s.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("another transport")
	}
	return transport
}

// exchange2 sends frames on stream 1 of a new connection, and returns the status of
// the answer, or "reset" or "closed".
func exchange2(t *testing.T, s *httptest.Server, frames ...frame) string {
	t.Helper()
	config := transportOf(t, s).TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	must(t, err)
	defer func() { _ = conn.Close() }()
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	b := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	for _, f := range frames {
		b = append(b, byte(len(f.payload)>>16), byte(len(f.payload)>>8), byte(len(f.payload)), f.kind, f.flags, 0, 0, 0, 1)
		b = append(b, f.payload...)
	}
	_, err = conn.Write(b)
	must(t, err)
	for {
		var head [9]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return "closed"
		}
		payload := make([]byte, binary.BigEndian.Uint32(append([]byte{0}, head[:3]...)))
		if _, err := io.ReadFull(conn, payload); err != nil {
			return "closed"
		}
		switch head[3] {
		case frameHeaders:
			return statusOf(t, payload)
		case frameReset:
			return "reset"
		case frameGoAway:
			return "closed"
		}
	}
}

// Header blocks that a well-behaved client never sends. KEY stands for a good
// credential. A request that is not exactly one is not served, and none is without
// its own key.
func TestOddRequestsOnHTTP2(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(100)
	key := h.key("image:generate").Secret.Reveal()
	var ran atomic.Int64
	mux := h.gate.Mux()
	mux.Handle("/image", priced(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran.Add(1) }))
	s, _ := serve(t, "h2", mux)
	const auth = "authorization=Bearer KEY"
	request := func(more ...string) []string {
		return append([]string{":method=GET", ":scheme=https", ":path=/image", ":authority=x"}, more...)
	}
	for _, tt := range []struct {
		name   string
		fields []string
		want   string
		ran    int64
	}{
		{"a good one", request(auth), "200", 1},
		{"without a key", request(), "401", 0},
		{"two keys", request(auth, auth), "401", 0},
		{"two schemes", request("authorization=Basic dTpw", auth), "401", 0},
		{"a name in upper case", request("Authorization=Bearer KEY"), "reset", 0},
		{"a space before the value", request("authorization= Bearer KEY"), "401", 0},
		{"a space behind the value", request(auth + " "), "401", 0},
		{"a NUL in the value", request(auth + "\x00"), "reset", 0},
		{"a line end in the value", request(auth + "\r\nx: y"), "reset", 0},
		{"a high byte in the value", request(auth + "\x80"), "401", 0},
		{"a control byte in the value", request(auth + "\x01"), "reset", 0},
		{"a space in the name", request(auth, "x y=z"), "reset", 0},
		{"no name", request(auth, "=z"), "reset", 0},
		{"a pseudo field behind a field", []string{":method=GET", ":scheme=https", auth, ":path=/image", ":authority=x"}, "reset", 0},
		{"an unknown pseudo field", request(":key=KEY"), "reset", 0},
		{"the status of an answer", request(":status=200", auth), "reset", 0},
		{"two paths", request(":path=/other", auth), "reset", 0},
		{"two methods", request(":method=HEAD", auth), "reset", 0},
		{"no method", request(auth)[1:], "reset", 0},
		{"no scheme", append([]string{":method=GET"}, request(auth)[2:]...), "reset", 0},
		{"no path", []string{":method=GET", ":scheme=https", ":authority=x", auth}, "reset", 0},
		{"an empty path", []string{":method=GET", ":scheme=https", ":path=", ":authority=x", auth}, "reset", 0},
		{"a path without a slash", []string{":method=GET", ":scheme=https", ":path=image", ":authority=x", auth}, "reset", 0},
		{"a path of two slashes", []string{":method=GET", ":scheme=https", ":path=//image", ":authority=x"}, "307", 0},
		{"an absolute path", []string{":method=GET", ":scheme=https", ":path=https://y/image", ":authority=x"}, "401", 0},
		{"no authority", request(auth)[:3], "401", 0},
		{"another host", request("host=y"), "401", 0},
		{"a connection's field", request(auth, "connection=close"), "400", 0},
		{"a coding", request(auth, "transfer-encoding=chunked"), "400", 0},
		{"an upgrade", request(auth, "upgrade=websocket"), "400", 0},
		{"te that is not trailers", request(auth, "te=gzip"), "400", 0},
		{"CONNECT", []string{":method=CONNECT", ":authority=x:443", auth}, "404", 0},
		{"CONNECT with a protocol", append([]string{":method=CONNECT", ":protocol=websocket"}, request(auth)[1:]...), "reset", 0},
		{"a length without a body", request(auth, "content-length=5"), "200", 1},
		{"two lengths", request(auth, "content-length=0", "content-length=5"), "200", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ran.Store(0)
			fields := make([]string, len(tt.fields))
			for i, f := range tt.fields {
				fields[i] = strings.ReplaceAll(f, "KEY", key)
			}
			got := exchange2(t, s, frame{frameHeaders, endStream | endHeaders, hpack(fields...)})
			if got != tt.want || ran.Load() != tt.ran {
				t.Errorf("%s, ran %d times; want %s and %d", got, ran.Load(), tt.want, tt.ran)
			}
		})
	}
	t.Run("a key in the trailer", func(t *testing.T) {
		ran.Store(0)
		fields := request("trailer=authorization")
		fields[0] = ":method=POST"
		got := exchange2(t, s, frame{frameHeaders, endHeaders, hpack(fields...)}, frame{frameHeaders, endStream | endHeaders, hpack("authorization=Bearer " + key)})
		if got != "401" && got != "reset" || ran.Load() != 0 { // whichever comes first
			t.Errorf("%s, ran %d times", got, ran.Load())
		}
	})
}
