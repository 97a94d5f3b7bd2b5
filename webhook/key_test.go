package webhook_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

var t0 = time.Unix(testTime, 0)

func generated(n int) []webhook.Key {
	list := make([]webhook.Key, n)
	for i := range list {
		list[i].Secret = webhook.GenerateSecret()
	}
	return list
}

func TestNewKeysReportsEveryFaultAtOnce(t *testing.T) {
	same := webhook.GenerateSecret()
	_, err := webhook.NewKeys(
		webhook.Key{ID: "empty"},
		webhook.Key{ID: "not a name", Secret: webhook.GenerateSecret()},
		webhook.Key{ID: strings.Repeat("n", 65), Secret: webhook.GenerateSecret()},
		webhook.Key{ID: "twice", Secret: same},
		webhook.Key{ID: "twice", Secret: webhook.GenerateSecret()},
		webhook.Key{ID: "again", Secret: same},
	)
	if kterrors.CodeOf(err) != kterrors.Invalid {
		t.Fatalf("NewKeys = %v", err)
	}
	for _, want := range []string{`key 1 "empty": the secret is empty`, "key 2: the ID", "key 3: the ID", `key 5 "twice": the ID is there twice`, `key 6 "again": the secret is that of key "twice"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func TestNewKeysBoundsTheirNumber(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 1: true, webhook.MaxKeys: true, webhook.MaxKeys + 1: false} {
		keys, err := webhook.NewKeys(generated(n)...)
		if (err == nil) != ok || ok && keys.Len() != n || !ok && keys.Len() != 0 {
			t.Errorf("NewKeys of %d = %d keys, %v", n, keys.Len(), err)
		}
	}
}

func TestAKeyWithoutAnIDIsNamedByAFingerprint(t *testing.T) {
	first := slices.Collect(keysOf(t, testSecret, otherSecret).All())
	again := slices.Collect(keysOf(t, otherSecret, testSecret).All())
	if !strings.HasPrefix(first[0].ID, "key_") || first[0].ID == first[1].ID || first[0].ID != again[1].ID {
		t.Errorf("fingerprints %q, %q and %q", first[0].ID, first[1].ID, again[1].ID)
	}
}

func TestKeysDoNotShareTheCallersSlice(t *testing.T) {
	list := generated(2)
	keys := must(webhook.NewKeys(list...))(t)
	list[0].ID = "changed"
	for k := range keys.All() {
		if k.ID == "changed" {
			t.Error("the set changed with the caller's slice")
		}
	}
}

// A key ends at an instant that processes agree on, which a monotonic reading
// is not.
func TestKeysDropMonotonicReadings(t *testing.T) {
	list := generated(1)
	list[0].NotAfter = time.Now().Add(time.Hour)
	for k := range must(webhook.NewKeys(list...))(t).All() {
		if strings.Contains(k.NotAfter.String(), "m=") || !k.NotAfter.Equal(list[0].NotAfter) {
			t.Errorf("NotAfter is %v", k.NotAfter)
		}
	}
}

func TestRotatePutsTheNewKeyInFrontAndEndsTheOthers(t *testing.T) {
	never, soon, later, gone := generated(1)[0], generated(1)[0], generated(1)[0], generated(1)[0]
	never.ID, soon.ID, later.ID, gone.ID = "never", "soon", "later", "gone"
	soon.NotAfter, later.NotAfter, gone.NotAfter = t0.Add(time.Minute), t0.Add(48*time.Hour), t0
	keys := must(webhook.NewKeys(never, soon, later, gone))(t)

	next := generated(1)[0]
	next.ID = "next"
	rotated := must(keys.Rotate(next, t0, 24*time.Hour))(t)

	var got []string
	for k := range rotated.All() {
		end := "never"
		if !k.NotAfter.IsZero() {
			end = k.NotAfter.Sub(t0).String()
		}
		got = append(got, k.ID+" "+end)
	}
	want := []string{"next never", "never 24h0m0s", "soon 1m0s", "later 24h0m0s"}
	if !slices.Equal(got, want) {
		t.Errorf("rotated = %q, want %q", got, want)
	}
	if keys.Len() != 4 {
		t.Error("Rotate changed the set it was called on")
	}
}

func TestRotateRefuses(t *testing.T) {
	full := must(webhook.NewKeys(generated(webhook.MaxKeys)...))(t)
	one := must(webhook.NewKeys(generated(1)...))(t)
	same := slices.Collect(one.All())[0]
	same.ID = "another"
	for name, err := range map[string]error{
		"an eleventh key":   second(full.Rotate(generated(1)[0], t0, time.Hour)),
		"a negative grace":  second(one.Rotate(generated(1)[0], t0, -1)),
		"a zero secret":     second(one.Rotate(webhook.Key{}, t0, 0)),
		"the secret it has": second(one.Rotate(same, t0, time.Hour)),
	} {
		if kterrors.CodeOf(err) != kterrors.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRotateWithoutGraceLeavesOnlyTheNewKey(t *testing.T) {
	full := must(webhook.NewKeys(generated(webhook.MaxKeys)...))(t)
	next := generated(1)[0]
	rotated := must(full.Rotate(next, t0, 0))(t)
	if rotated.Len() != 1 || !slices.Collect(rotated.All())[0].Secret.Equal(next.Secret) {
		t.Errorf("%d keys are left", rotated.Len())
	}
}

func second[T any](_ T, err error) error { return err }
