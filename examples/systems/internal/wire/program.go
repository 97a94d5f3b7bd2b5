package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// asProgram in the environment makes a test binary the program that it tests.
const asProgram = "KEYTOLL_TEST_AS_PROGRAM"

// Main is the TestMain of a system: it runs the tests, or main where [Program] has
// started the binary.
func Main(m *testing.M, main func()) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// Program runs the system as its users do: one JSON line when it is ready, with a
// key for each of states, answers to r with the active key in that field, and 0 at
// the end that a signal brings.
func Program(t *testing.T, r Request, field, before string, states ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-json", "-addr", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0") // else the race detector ends a second late
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var ready struct {
		Addr      string
		Keys      map[string]string
		Dashboard string
	}
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if ready.Dashboard == "" || len(ready.Keys) != len(states) {
		t.Errorf("%d keys, want %v", len(ready.Keys), states)
	}
	ask := func(value string) int {
		t.Helper()
		out, err := http.NewRequestWithContext(t.Context(), r.Method, "http://"+ready.Addr+r.Path, strings.NewReader(r.Body))
		if err != nil {
			t.Fatal(err)
		}
		out.Header.Set(field, value)
		in, err := http.DefaultClient.Do(out)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Body.Close()
		return in.StatusCode
	}
	want := map[string]int{"active": 200, "sandbox": 200, "limited": 403}
	for _, state := range states {
		if want[state] == 0 {
			want[state] = 401
		}
		if got := ask(before + ready.Keys[state]); got != want[state] {
			t.Errorf("the %s key: %d, want %d", state, got, want[state])
		}
	}
	if got := ask(before + ready.Dashboard); got != 401 {
		t.Errorf("the dashboard's session: %d", got)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the end: %v\n%s", err, &stderr)
	}
	for _, secret := range append([]string{ready.Dashboard}, ready.Keys["active"]) {
		if strings.Contains(stderr.String(), secret) {
			t.Error("the log shows a secret")
		}
	}
}
