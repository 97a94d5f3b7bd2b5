package host_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keytoll/keytoll/examples/systems/internal/host"
)

// A system as it is built and run: one JSON line when it is ready, answers, and 0 at
// the end that a signal brings.
func TestTheProgramSaysWhereItIsAndEndsWithZero(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "magica")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../magica").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-json", "-addr", "127.0.0.1:0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var ready struct {
		Addr      string
		Keys      map[string]string
		Dashboard string
	}
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, token string
		want        int
	}{
		{"/api/v1/models", ready.Keys["active"], 200}, {"/api/v1/models", ready.Keys["expired"], 401}, {"/api/v1/models", ready.Keys["revoked"], 401},
		{"/settings/api-keys", ready.Dashboard, 200}, {"/settings/api-keys", ready.Keys["active"], 401}, {"/settings/api-keys", "", 401},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ready.Addr+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+tt.token)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", tt.path, a.StatusCode, tt.want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &stderr)
	}
	for _, secret := range append([]string{ready.Dashboard}, ready.Keys["active"], ready.Keys["expired"]) {
		if strings.Contains(stderr.String(), secret) {
			t.Error("the log shows a secret")
		}
	}
}

func TestWrongFlagsEndWithTwo(t *testing.T) {
	for _, args := range [][]string{{"-port", "1"}, {"-addr", "nowhere"}, {"serve"}, {"-json=perhaps"}} {
		var stderr strings.Builder
		if code := host.Run(t.Context(), host.System{Name: "test"}, args, io.Discard, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", args, code, stderr.String())
		}
	}
	if code := host.Run(t.Context(), host.System{Name: "test"}, []string{"-h"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("-h: exit code %d", code)
	}
}

func TestWhatCannotStartEndsWithOne(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, sys := range map[string]host.System{"no plan": {Name: "test", Prefix: "t", Demo: "none", Dashboard: "/keys"}, "no prefix": {Name: "test"}} {
		var stderr strings.Builder
		if code := host.Run(ended, sys, []string{"-addr", "127.0.0.1:0"}, io.Discard, &stderr); code != 1 || stderr.Len() == 0 {
			t.Errorf("%s: exit code %d, %q", name, code, stderr.String())
		}
	}
}
