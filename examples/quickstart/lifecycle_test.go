package main_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestTermFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	p := start(t)
	body, send := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, "http://"+p.Addr+"/v1/images", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.Key)
	req.Header.Set("Expect", "100-continue")
	reading := make(chan struct{})
	req = req.WithContext(traceContinue(req.Context(), reading))
	type result struct {
		answer
		error
	}
	got := make(chan result, 1)
	slow := &http.Client{Timeout: patience, Transport: &http.Transport{ExpectContinueTimeout: patience}}
	go func() {
		resp, err := slow.Do(req)
		if err != nil {
			got <- result{error: err}
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		got <- result{answer{resp.StatusCode, resp.Header, b}, err}
	}()
	select {
	case <-reading: // the handler waits for the body: the request is in flight
	case <-time.After(patience):
		t.Fatal("the handler never asked for the body")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	refusesConnections(t, p.Addr)
	if _, err := io.WriteString(send, `{"prompt":"late"}`); err != nil {
		t.Fatal(err)
	}
	send.Close()
	r := <-got
	if r.error != nil {
		t.Fatalf("the request in flight was cut off: %v", r.error)
	}
	r.want(t, http.StatusOK)
	if code := p.exitCode(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}

// A client that never finishes its request cannot make the stop unclean.
func TestTermOutlastsAHalfSentBody(t *testing.T) {
	t.Parallel()
	p := start(t)
	conn, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head := "POST /v1/images HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + p.Key +
		"\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v, want the handler to ask for the body", line, err)
	}
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}

// A receiver that is down costs its webhooks and nothing else: the uses of keys
// are still written.
func TestTermOutlastsADeadReceiver(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there now
	p := start(t, "-webhook", "http://"+l.Addr().String()+"/hook")
	p.image(t, p.Key).want(t, http.StatusOK)
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if out := p.stderr.String(); !strings.Contains(out, "webhooks lost") || strings.Contains(out, "stopped uncleanly") {
		t.Errorf("want the webhooks reported lost, and a clean stop, in:\n%s", out)
	}
}

// A start that fails for its address makes no key that nobody has seen.
func TestAddressTaken(t *testing.T) {
	t.Parallel()
	p := start(t)
	file := filepath.Join(t.TempDir(), "x.db")
	cmd := exec.CommandContext(t.Context(), binary, "-addr", p.Addr, "-db", file)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !bytes.Contains(out, []byte("-addr HOST:PORT listens elsewhere")) {
		t.Errorf("exit code %d, want 1 and a way out in:\n%s", code, out)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("stat of the database: %v, want none made", err)
	}
}

// refusesConnections waits until nobody listens on addr any more.
func refusesConnections(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
	}
	t.Fatalf("still listening %v after SIGTERM", patience)
}

func TestRestartKeepsKeysAndCredits(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "toll #1?.db")
	p := start(t, "-db", db)
	p.image(t, p.Key).want(t, http.StatusOK)
	p.must(t, http.MethodPost, "/v1/images", p.Key, `{"prompt":"x","simulate":"failure"}`).want(t, http.StatusInternalServerError)
	second := start(t, "-db", db) // a second process on the same file
	second.image(t, p.Key).want(t, http.StatusOK)
	second.kill()
	p.kill()

	p2 := start(t, "-db", db)
	s := p2.self(t, p.Key)
	if s.Credits.Available != "90" || s.Credits.Held != "0" {
		t.Errorf("credits %+v after two images and kill -9, want 90 available and 0 held", s.Credits)
	}
	if p2.Key == p.Key {
		t.Error("the second start printed the first start's key: the secret was stored")
	}
	p2.image(t, p2.Key).want(t, http.StatusOK)
	p2.must(t, http.MethodDelete, "/v1/key", p.Key, "").want(t, http.StatusNoContent)
	if code := p2.terminate(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}

	p3 := start(t, "-db", db)
	p3.image(t, p.Key).wantProblem(t, http.StatusUnauthorized, "revoked_key", p.Key)
	if s := p3.self(t, p2.Key); s.Credits.Available != "85" {
		t.Errorf("credits %+v after the third start, want 85 available", s.Credits)
	}
	stored, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{p.Key, p2.Key, p3.Key} {
		if bytes.Contains(stored, []byte(key[len(key)-20:])) {
			t.Errorf("the file holds the secret of a key")
		}
	}
}

func TestKillUnderLoadLosesNoPaidCredit(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "toll.db")
	p := start(t, "-db", db)
	var served atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				a, err := p.call(http.MethodPost, "/v1/images", p.Key, `{"prompt":"x"}`)
				if err != nil || a.status != http.StatusOK {
					return
				}
				if served.Add(1) == affordable/2 {
					p.kill()
				}
			}
		})
	}
	wg.Wait()
	s := start(t, "-db", db).self(t, p.Key)
	left, held := credits(t, s.Credits.Available), credits(t, s.Credits.Held)
	spent := 100 - left - held
	if spent < 5*served.Load() || spent > 100 || spent%5 != 0 || held%5 != 0 || held > 8*5 {
		t.Errorf("%d images served before kill -9; %d credits spent, %d held, %d left of 100", served.Load(), spent, held, left)
	}
}

func TestCurlLinesWorkAsPrinted(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed: the printed lines are not tried")
	}
	cmd := exec.Command(binary, "-addr", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var lines []string
	banner := new(strings.Builder)
	for in := bufio.NewScanner(stdout); in.Scan(); {
		banner.WriteString(in.Text() + "\n")
		if line := strings.TrimSpace(in.Text()); strings.HasPrefix(line, "curl ") {
			lines = append(lines, line)
		}
		if strings.Contains(in.Text(), "Ctrl-C") {
			break
		}
	}
	if len(lines) < 5 {
		t.Fatalf("%d curl lines, want one for each of the five routes:\n%s", len(lines), banner)
	}
	dir := t.TempDir()
	for _, line := range lines {
		sh := exec.CommandContext(t.Context(), "sh", "-c", line)
		sh.Dir = dir
		if out, err := sh.CombinedOutput(); err != nil || bytes.Contains(out, []byte(`"code"`)) {
			t.Errorf("%s\n%v\n%s", line, err, out)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "image.png"))
	if err != nil || !bytes.HasPrefix(b, []byte("\x89PNG")) {
		t.Errorf("image.png: %v, %.20q", err, b)
	}
	refused := exec.CommandContext(t.Context(), "sh", "-c", lines[0]) // the last line has revoked the key
	refused.Dir = t.TempDir()
	if out, err := refused.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("401")) {
		t.Errorf("an image that is refused: %v, %s, want a failure that says 401", err, out)
	}
	if files, _ := os.ReadDir(refused.Dir); len(files) > 0 {
		t.Errorf("an image that is refused left %v, want no file", files)
	}
}

// traceContinue closes reading when the server asks for the request's body.
func traceContinue(ctx context.Context, reading chan struct{}) context.Context {
	return withTrace(ctx, func() { close(reading) })
}
