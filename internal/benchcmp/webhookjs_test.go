package benchcmp_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// A script is the official JavaScript library, version 1.1.1, in a process of
// its own.
type script struct {
	in  *json.Encoder
	out *bufio.Scanner
}

type scriptQuestion struct {
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
}

type scriptAnswer struct {
	Error     string `json:"error"`
	Signature string `json:"signature"`
}

// startScript starts it where make servers has put it. Where that is not, t is
// skipped, and fails if the machine has Node and KEYTOLL_TEST_NODE says that it
// has to, as it does in CI.
func startScript(t *testing.T) *script {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("the official JavaScript library is not asked: install Node, with npm, and run make servers")
	}
	dir := filepath.Join("..", "..", "bin", "javascript")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "standardwebhooks")); err != nil {
		const reason = "the official JavaScript library is not asked: it is not in bin/javascript; run make servers, which gets it from npm"
		if os.Getenv("KEYTOLL_TEST_NODE") == "required" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	c := exec.CommandContext(t.Context(), node, "check.js")
	c.Dir, c.Stderr = dir, os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := c.Wait(); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return &script{json.NewEncoder(in), bufio.NewScanner(out)}
}

func (s *script) ask(t *testing.T, secret string, header http.Header, body string) scriptAnswer {
	t.Helper()
	q := scriptQuestion{secret, map[string]string{}, []byte(body)}
	for name := range header {
		q.Headers[http.CanonicalHeaderKey(name)] = header.Get(name)
	}
	// The library takes any spelling, its sign takes what we give it.
	q.Headers["webhook-id"], q.Headers["webhook-timestamp"] = header.Get("webhook-id"), header.Get("webhook-timestamp")
	if err := s.in.Encode(q); err != nil {
		t.Fatal(err)
	}
	if !s.out.Scan() {
		t.Fatalf("no answer: %v", s.out.Err())
	}
	var a scriptAnswer
	if err := json.Unmarshal(s.out.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// What our signer writes the official JavaScript library accepts, with one key,
// with several and beside a key pair; what it writes we accept; and it tells a
// message that was changed.
func TestOfficialJavaScriptLibraryAndOursAgree(t *testing.T) {
	js := startScript(t)
	shared := func(text string) webhook.Key {
		secret, err := webhook.SecretFromString(text)
		if err != nil {
			t.Fatal(err)
		}
		return webhook.Key{Secret: secret}
	}
	private, _ := webhook.GenerateKeyPair()
	for name, list := range map[string][]webhook.Key{
		"one key":    {shared(diffSecret)},
		"two keys":   {shared(diffOther), shared(diffSecret)},
		"a key pair": {{ID: "pair", Secret: private}, shared(diffSecret)},
	} {
		keys, err := webhook.NewKeys(list...)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := webhook.NewSigner(keys)
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := webhook.NewVerifier(keys, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{`{}`, `{"type":"image.created","data":{"name":"Zoë 🚀 <&>"}}`, `[1,2.50,"\u0000"]`, ` {"a" : 1 }` + "\n"} {
			id, at, header := webhook.NewID(), time.Now(), http.Header{}
			if err := signer.Sign(header, id, at, []byte(body)); err != nil {
				t.Fatal(err)
			}
			a := js.ask(t, diffSecret, header, body)
			if a.Error != "" {
				t.Errorf("%s, %s: it refuses: %s", name, body, a.Error)
			}
			theirs := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Webhook-Signature": {a.Signature}}
			if got, err := verifier.Verify(theirs, []byte(body)); err != nil || got.ID != id {
				t.Errorf("%s, %s: what it wrote: %+v, %v", name, body, got, err)
			}
			if a := js.ask(t, diffSecret, header, body+" "); a.Error == "" {
				t.Errorf("%s, %s: it accepts a changed body", name, body)
			}
			header.Set("webhook-id", "msg_other")
			if a := js.ask(t, diffSecret, header, body); a.Error == "" {
				t.Errorf("%s, %s: it accepts a changed id", name, body)
			}
		}
	}
}
