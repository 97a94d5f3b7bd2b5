package wire

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/examples/systems/internal/host"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// A Request is what a client sends. Header names go over HTTP/1.1 as they are
// spelled.
type Request struct {
	Method, Path string
	Header       [][2]string
	Body         string
}

// Get and Post return requests with a credential in a header, if there is one.
func Get(path string, header ...string) Request { return request("GET", path, "", header) }

// Post is like [Get], with a body.
func Post(path, body string, header ...string) Request { return request("POST", path, body, header) }

func request(method, path, body string, header []string) Request {
	r := Request{Method: method, Path: path, Body: body}
	for i := 0; i < len(header); i += 2 {
		r.Header = append(r.Header, [2]string{header[i], header[i+1]})
	}
	return r
}

// Raw sends r over HTTP/1.1 and returns the answer as it came.
func (s *Stage) Raw(r Request) []byte {
	s.Helper()
	conn, err := new(net.Dialer).DialContext(s.Context(), "tcp", s.server.Listener.Addr().String())
	s.Must(err)
	defer conn.Close()
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: api.example\r\n", r.Method, r.Path)
	for _, h := range r.Header {
		fmt.Fprintf(&out, "%s: %s\r\n", h[0], h[1])
	}
	if r.Body != "" {
		fmt.Fprintf(&out, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(r.Body))
	}
	fmt.Fprintf(&out, "\r\n%s", r.Body)
	_, err = conn.Write(out.Bytes())
	s.Must(err)
	var answer bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &answer))
	length := 0
	for {
		line, err := in.ReadString('\n')
		s.Must(err)
		if text, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			length, err = strconv.Atoi(strings.TrimSpace(text))
			s.Must(err)
		}
		if line == "\r\n" {
			break
		}
	}
	_, err = io.CopyN(io.Discard, in, int64(length))
	s.Must(err)
	return answer.Bytes()
}

// Repeat has the system answer r so many times with 200, without a connection: it is
// for using limits up.
func (s *Stage) Repeat(r Request, times int) {
	s.Helper()
	for i := range times {
		in := httptest.NewRequestWithContext(s.Context(), r.Method, r.Path, strings.NewReader(r.Body))
		in.RemoteAddr = "127.0.0.1:1" // where the others come from
		for _, h := range r.Header {
			in.Header.Add(h[0], h[1])
		}
		out := httptest.NewRecorder()
		s.Handler.ServeHTTP(out, in)
		if out.Code != http.StatusOK {
			s.Fatalf("request %d: %d %s", i+1, out.Code, out.Body)
		}
	}
}

// An Answer is a response that has been read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Do sends r over HTTP/1.1.
func (s *Stage) Do(r Request) Answer {
	s.Helper()
	in, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(s.Raw(r))), nil)
	s.Must(err)
	return s.read(in)
}

// Do2 sends r over HTTP/2.
func (s *Stage) Do2(r Request) Answer {
	s.Helper()
	var body io.Reader
	if r.Body != "" {
		body = strings.NewReader(r.Body)
	}
	out, err := http.NewRequestWithContext(s.Context(), r.Method, s.server.URL+r.Path, body)
	s.Must(err)
	out.Host = "api.example"
	for _, h := range r.Header {
		out.Header.Add(h[0], h[1])
	}
	if r.Body != "" {
		out.Header.Set("Content-Type", "application/json")
	}
	in, err := s.second.Do(out)
	s.Must(err)
	if in.ProtoMajor != 2 {
		s.Fatalf("the answer came over %s", in.Proto)
	}
	return s.read(in)
}

func (s *Stage) read(in *http.Response) Answer {
	s.Helper()
	defer in.Body.Close()
	body, err := io.ReadAll(in.Body)
	s.Must(err)
	return Answer{in.StatusCode, in.Header, string(body)}
}

// Golden holds what a fresh system answers to the request that prepare returns
// against testdata/NAME.http, byte for byte, and what another one answers over
// HTTP/2 against that: the same status, body and header.
func Golden(t *testing.T, name string, sys func() host.System, prepare func(*Stage) Request) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		s := Open(t, sys())
		got := s.Raw(prepare(s))
		path := filepath.Join("testdata", name+".http")
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v; go test -update writes it", err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("on the wire:\n%s\nwant:\n%s", got, want)
		}
		in, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(want)), nil)
		if err != nil {
			t.Fatal(err)
		}
		first := s.read(in)
		other := Open(t, sys())
		if second := other.Do2(prepare(other)); first.Status != second.Status || first.Body != second.Body || lines(first) != lines(second) {
			t.Errorf("over HTTP/2:\n%d %s\n%s\nwant:\n%d %s\n%s", second.Status, second.Body, lines(second), first.Status, first.Body, lines(first))
		}
	})
}

// lines returns the header with names in lower case, in order.
func lines(a Answer) string {
	var all []string
	for name, values := range maps.All(a.Header) {
		for _, value := range values {
			all = append(all, strings.ToLower(name)+": "+value)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
