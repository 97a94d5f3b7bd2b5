package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// patience bounds every wait for a process or an answer. It decides nothing:
// a test that meets it has failed.
const patience = 30 * time.Second

// binary is the quickstart as a user builds it.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "quickstart")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "quickstart")
		args := append([]string{"build", "-o", binary}, buildFlags...)
		if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return pgtest.Main(m)
	}())
}

// A process is a running quickstart.
type process struct {
	Addr          string `json:"addr"`
	Key           string `json:"key"`
	WebhookSecret string `json:"webhook_secret"`

	cmd    *exec.Cmd
	stderr *lockedBuffer
	ended  chan error // receives what Wait returned
}

// start runs the binary with args on a free port, waits for its JSON line and
// stops it when the test ends.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"-json", "-addr", "127.0.0.1:0"}, args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, stderr: new(lockedBuffer), ended: make(chan error, 1)}
	cmd.Stderr = p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make(chan []byte, 1)
	go func() {
		in := bufio.NewReader(stdout)
		first, _ := in.ReadBytes('\n')
		line <- first
		_, _ = io.Copy(io.Discard, in)
		p.ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if strings.Contains(p.stderr.String(), "DATA RACE") {
			t.Error("the race detector found something in the process")
		}
		if t.Failed() {
			t.Logf("quickstart wrote to standard error:\n%s", p.stderr)
		}
	})
	select {
	case first := <-line:
		if err := json.Unmarshal(first, p); err != nil {
			t.Fatalf("first line %q: %v\n%s", first, err, p.stderr)
		}
	case <-time.After(patience):
		t.Fatalf("no JSON line within %v\n%s", patience, p.stderr)
	}
	return p
}

// kill ends the process as a power cut would, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended already
	err := <-p.ended
	p.ended <- err
}

// terminate sends SIGTERM and returns the exit code.
func (p *process) terminate(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	return p.exitCode(t)
}

// exitCode waits for the process to end by itself.
func (p *process) exitCode(t *testing.T) int {
	t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("still running after %v", patience)
		return -1
	}
}

// An answer is a response that has been read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// problem is the RFC 9457 body of a denial.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
}

// client does not follow redirects and keeps one connection for each caller.
var client = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 128}}

// call sends one request with key as bearer token ("" sends none) and returns
// an error only if there was no answer.
func (p *process) call(method, path, key, body string) (answer, error) {
	req, err := http.NewRequest(method, "http://"+p.Addr+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return do(req)
}

func do(req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// must is call for requests that get an answer, whatever it says.
func (p *process) must(t *testing.T, method, path, key, body string) answer {
	t.Helper()
	a, err := p.call(method, path, key, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// image asks for one image.
func (p *process) image(t *testing.T, key string) answer {
	t.Helper()
	return p.must(t, http.MethodPost, "/v1/images", key, `{"prompt":"a lighthouse at dusk"}`)
}

// self is what GET /v1/key answers.
type self struct {
	ID        string    `json:"id"`
	Owner     string    `json:"owner"`
	Status    string    `json:"status"`
	ExpiresAt time.Time `json:"expires_at"`
	Scopes    []string  `json:"scopes"`
	Credits   struct {
		Available string `json:"available"`
		Held      string `json:"held"`
	} `json:"credits"`
	Limits []struct {
		Name      string `json:"name"`
		Quota     int64  `json:"quota"`
		Remaining int64  `json:"remaining"`
	} `json:"limits"`
}

// self reads the key's own view of itself.
func (p *process) self(t *testing.T, key string) self {
	t.Helper()
	a := p.must(t, http.MethodGet, "/v1/key", key, "")
	var s self
	a.want(t, http.StatusOK)
	a.decode(t, &s)
	return s
}

// used returns how many images the limit of the day has counted: it refills too
// slowly for a test to notice.
func (s self) used(t *testing.T) int64 {
	t.Helper()
	for _, l := range s.Limits {
		if l.Name == "images-day" {
			return l.Quota - l.Remaining
		}
	}
	t.Fatalf("no limit of the day in %+v", s.Limits)
	return 0
}

// want checks the status.
func (a answer) want(t *testing.T, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d\n%v\n%.500s", a.status, status, a.header, a.body)
	}
}

// decode reads the body as JSON.
func (a answer) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("body %.500q: %v", a.body, err)
	}
}

// wantProblem checks that a is a denial of that status and code, told as the
// documentation promises, and holds no part of secret.
func (a answer) wantProblem(t *testing.T, status int, code, secret string) problem {
	t.Helper()
	a.want(t, status)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q, want application/problem+json", got)
	}
	var p problem
	a.decode(t, &p)
	if p.Code != code || p.Status != status {
		t.Errorf("code %q and status %d in the body, want %q and %d", p.Code, p.Status, code, status)
	}
	if p.Title == "" || p.Detail == "" {
		t.Errorf("title %q, detail %q: neither may be empty", p.Title, p.Detail)
	}
	if id := a.header.Get("X-Request-Id"); id == "" || id != p.RequestID {
		t.Errorf("request id %q in the header and %q in the body", id, p.RequestID)
	}
	if len(secret) >= 12 {
		whole := fmt.Sprint(a.header) + string(a.body)
		for i := 0; i+12 <= len(secret); i++ {
			if strings.Contains(whole, secret[i:i+12]) {
				t.Fatalf("the answer holds %d or more characters of the presented key:\n%s", 12, whole)
			}
		}
	}
	return p
}

// lockedBuffer is a bytes.Buffer that a process and a test may share.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
