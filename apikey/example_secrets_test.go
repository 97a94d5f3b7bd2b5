package apikey_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/apikey"
)

// A key comes with a secret to sign with, which is replaced without downtime:
// whoever still signs with the former one is understood until its end. Package
// webhook takes the same secret as "whsec_" and Secret.Reveal(), and knows how to
// sign a whole delivery.
func ExampleService_RotateSecret() {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, &apikey.Options{
		Now: func() time.Time { return now },
		// From wherever the host keeps secrets; this one is known to everybody.
		SealingKeys: []apikey.SealingKey{{Version: 1, Secret: []byte("example: 32 bytes, not for use!!")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42", Secrets: []string{"webhook"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(issued.Secrets[0].Name, issued.Secrets[0].Secret, len(issued.Secrets[0].Bytes()), "bytes")

	// The owner signs with what was shown once.
	body := []byte(`{"image":"cat.png"}`)
	sign := func(secret apikey.BoundSecret) []byte {
		mac := hmac.New(sha256.New, secret.Bytes())
		mac.Write(body)
		return mac.Sum(nil)
	}
	signature := sign(issued.Secrets[0])

	// The host verifies with all secrets that count, or signs with the first.
	verified := func() bool {
		secrets, err := keys.OpenSecrets(ctx, issued.Key.ID, "webhook")
		if err != nil {
			fmt.Println(err)
			return false
		}
		for _, secret := range secrets {
			if hmac.Equal(sign(secret), signature) {
				return true
			}
		}
		return false
	}
	fmt.Println("verified:", verified())

	_, err = keys.RotateSecret(ctx, issued.Key.ID, "webhook", time.Hour)
	fmt.Println("rotated, and verified:", verified(), err)
	now = now.Add(time.Hour)
	fmt.Println("an hour later:", verified())
	// Output:
	// webhook [redacted] 32 bytes
	// verified: true
	// rotated, and verified: true <nil>
	// an hour later: false
}
