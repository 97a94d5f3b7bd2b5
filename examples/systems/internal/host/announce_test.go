package host_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/examples/systems/internal/host"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

// The commands that a person pastes from the banner open the API and the dashboard.
func TestWhatTheBannerSaysWorks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	banner, stdout := io.Pipe()
	ended := make(chan int)
	go func() {
		ended <- host.Run(ctx, host.System{
			Name: "test", Prefix: "t", Demo: "plan", Dashboard: "/home/{account}/keys",
			Plans:   map[string]host.Plan{"plan": {Keys: apikey.Policy{MayCreate: true}}},
			Profile: middleware.Profile{Credentials: []middleware.Location{middleware.Header("X-Test-Key")}},
			Routes: []host.Route{{
				Pattern: "POST /v1/things", Operation: middleware.Operation{Name: "things", Scopes: scopes.None(), Price: middleware.Free()},
				Handler: func(w http.ResponseWriter, _ *http.Request) { host.Reply(w, "done") },
			}},
			Keys: []host.Sample{{State: "active", Name: "one"}},
		}, []string{"-addr", "127.0.0.1:0"}, stdout, io.Discard)
	}()
	command := regexp.MustCompile(`curl -sS -i '(\S+)' -H '(\S+): ([^']+)'( -d '{}')?`)
	var commands [][]string
	for lines := bufio.NewScanner(banner); lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C"); {
		if found := command.FindStringSubmatch(lines.Text()); found != nil {
			commands = append(commands, found)
		}
	}
	var answers []int
	for _, c := range commands {
		method := http.MethodGet
		if c[4] != "" {
			method = http.MethodPost
		}
		r, err := http.NewRequestWithContext(t.Context(), method, c[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(c[2], c[3])
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		answers = append(answers, answer.StatusCode)
	}
	cancel()
	if code := <-ended; code != 0 || !slices.Equal(answers, []int{200, 200}) {
		t.Errorf("exit code %d, answers %v", code, answers)
	}
}
