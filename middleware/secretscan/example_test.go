package secretscan_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware/secretscan"
)

func Example() {
	ctx := context.Background()
	format, err := apikey.NewFormat("acme", &apikey.FormatOptions{Environments: []string{"live", "test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer keys.Close(ctx)

	// In a program: secretscan.NewGitHubKeys(client, nil).
	partner, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	source := secretscan.StaticKeys{"partner-1": &partner.PublicKey}

	// A test key is noted, a live one has a day left: its owner is told, rotates it,
	// and gives the successor another end, as the example of ReportLeak in apikey does.
	policy := func(k apikey.Key) apikey.LeakDecision {
		if k.Environment == "test" {
			return apikey.LeakDecision{Action: apikey.LeakNote}
		}
		return apikey.LeakDecision{Action: apikey.LeakExpire, Within: 24 * time.Hour}
	}
	intake, err := secretscan.NewIntake(keys, source, policy, &secretscan.Options{
		Notify: func(_ context.Context, n secretscan.Notice) {
			fmt.Printf("to %s: your key %s... is at %s: %s\n", n.Key.Owner, n.Key.Start[:10], n.URL, n.Decision.Action)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer intake.Close(ctx)

	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42", Name: "CI", Environment: "live"})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := json.Marshal([]map[string]string{{
		"token": issued.Secret.Reveal(), "type": "acme_api_key", "source": "content", "url": "https://github.com/octocat/hello/blob/main/.env",
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	sum := sha256.Sum256(body)
	signature, err := ecdsa.SignASN1(rand.Reader, partner, sum[:])
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 { // the partner sends twice
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/github/secret-scanning", bytes.NewReader(body))
		r.Header.Set(secretscan.HeaderKey, "partner-1")
		r.Header.Set(secretscan.HeaderSignature, base64.StdEncoding.EncodeToString(signature))
		w := httptest.NewRecorder()
		intake.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// to acct_42: your key acme_live_... is at https://github.com/octocat/hello/blob/main/.env: expire
	// 200
	// 200
}
