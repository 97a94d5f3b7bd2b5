package webhook_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// Webhooks of GitHub: the key is the text of the secret, and only the body is
// signed.
func ExampleGitHub() {
	secret, err := webhook.SecretFromRaw("It's a Secret to Everybody")
	if err != nil {
		log.Fatal(err)
	}
	keys, err := webhook.NewKeys(webhook.Key{Secret: secret, Scheme: webhook.GitHub()})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(keys, nil)
	if err != nil {
		log.Fatal(err)
	}

	header := http.Header{}
	header.Set("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
	header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958") // not signed: anybody could change it
	got, err := verifier.Verify(header, []byte("Hello, World!"))
	fmt.Printf("%q %q %v\n", got.Scheme, got.ID, err)
	fmt.Println(got.ReplayKey([]byte("Hello, World!"))[:14])
	// Output:
	// "github" "" <nil>
	// sha256:151743e
}

// A scheme of one's own, for receivers that exist already, next to Standard
// Webhooks until the last of them has moved.
func ExampleScheme() {
	legacy := webhook.Scheme{
		Name: "legacy", Signed: "{timestamp}.{body}", SignatureHeader: "Acme-Signature",
		TimestampEntry: "t=", Entry: "v1=", Separator: ",", Encoding: "hex",
	}
	old, err := webhook.SecretFromRaw("8f742231b10e8888abcd99yyyzzz85a5")
	if err != nil {
		log.Fatal(err)
	}
	keys, err := webhook.NewKeys(
		webhook.Key{ID: "2026", Secret: webhook.GenerateSecret()},
		webhook.Key{ID: "2019", Secret: old, Scheme: legacy, NotAfter: time.Unix(1630000000, 0)},
	)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := webhook.NewSigner(keys)
	if err != nil {
		log.Fatal(err)
	}

	for _, at := range []int64{1614265330, 1640000000} {
		header := http.Header{}
		if err := signer.Sign(header, webhook.NewID(), time.Unix(at, 0), []byte("{}")); err != nil {
			log.Fatal(err)
		}
		fmt.Println(header.Get("webhook-signature") != "", header.Get("acme-signature"))
	}
	// Output:
	// true t=1614265330,v1=4ee523ebe34f39392c664e30a2e3ff7be02c2ee6ba28090dc95778bec8af75fe
	// true
}

// A key pair: receivers hold the half that only verifies.
func ExampleGenerateKeyPair() {
	private, public := webhook.GenerateKeyPair()
	fmt.Println(private.Reveal()[:5], public.Reveal()[:5])

	ours, err := webhook.NewKeys(webhook.Key{Secret: private})
	if err != nil {
		log.Fatal(err)
	}
	signer, err := webhook.NewSigner(ours)
	if err != nil {
		log.Fatal(err)
	}
	theirs, err := webhook.NewKeys(webhook.Key{Secret: public})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(theirs, nil)
	if err != nil {
		log.Fatal(err)
	}

	header := http.Header{}
	if err := signer.Sign(header, "msg_1", time.Now(), []byte("{}")); err != nil {
		log.Fatal(err)
	}
	got, err := verifier.Verify(header, []byte("{}"))
	fmt.Println(got.ID, err)
	_, err = webhook.NewSigner(theirs)
	fmt.Println(err != nil)
	// Output:
	// whsk_ whpk_
	// msg_1 <nil>
	// true
}

// A body that is too large to hold goes to a file of its own, which counts only
// once all of it has been verified.
func ExampleVerifier_NewReader() {
	keys, err := webhook.NewKeys(webhook.Key{Secret: webhook.GenerateSecret()})
	if err != nil {
		log.Fatal(err)
	}
	signer, err := webhook.NewSigner(keys)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(keys, &webhook.VerifierOptions{MaxBody: 1 << 30})
	if err != nil {
		log.Fatal(err)
	}
	large := strings.Repeat("image ", 1<<16)
	header := http.Header{}
	if err := signer.Sign(header, "msg_1", time.Now(), []byte(large)); err != nil {
		log.Fatal(err)
	}

	dir, err := os.MkdirTemp("", "webhook")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for i, body := range []string{large, large[1:]} {
		r, err := verifier.NewReader(header, strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		file, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			log.Fatal(err)
		}
		n, err := io.Copy(file, r) // err is the denial
		fmt.Println(n, err == nil)
		file.Close()
	}
	// Output:
	// 393216 true
	// 393215 false
}
