package webhook_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/webhook"
)

func TestSealingKeyGoesThroughAVariableOfTheEnvironment(t *testing.T) {
	for _, version := range []uint32{1, 7, 1<<32 - 1} {
		key := webhook.GenerateSealingKey(version)
		again := must(webhook.SealingKeyFromString(key.Reveal()))(t)
		if again.Version != version || len(key.Secret) != 32 || !bytes.Equal(again.Secret, key.Secret) {
			t.Errorf("version %d became %v, or other bytes", version, again)
		}
	}
	if bytes.Equal(webhook.GenerateSealingKey(1).Secret, webhook.GenerateSealingKey(1).Secret) {
		t.Error("two keys are the same")
	}
	const text = "ktseal_12_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8"
	if got := must(webhook.SealingKeyFromString(text))(t); got.Version != 12 || got.Secret[1] != 1 || got.Secret[31] != 255 || got.Reveal() != text {
		t.Errorf("the pinned text became %d %x", got.Version, got.Secret)
	}
}

func TestSealingKeyThatIsNearlyRightIsRefused(t *testing.T) {
	const good = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8"
	for text, want := range map[string]string{
		"":                            "is not like",
		good:                          "is not like",
		"whsec_" + good:               "is not like",
		"ktseal_1":                    "is not like",
		"KTSEAL_1_" + good:            "is not like",
		"ktseal_1_" + good + "\n":     "white space",
		" ktseal_1_" + good:           "white space",
		"ktseal_0_" + good:            "is not a version",
		"ktseal_01_" + good:           "is not a version",
		"ktseal_+1_" + good:           "is not a version",
		"ktseal__" + good:             "is not a version",
		"ktseal_4294967296_" + good:   "is not a version",
		"ktseal_" + good + "_":        "is not a version", // the key itself, '_' being one of its characters
		"ktseal_1_":                   "43 characters",
		"ktseal_1_" + good[1:]:        "43 characters",
		"ktseal_1_" + good + "A":      "43 characters",
		"ktseal_1_" + good + "=":      "43 characters",
		"ktseal_1_" + good[:42] + "9": "43 characters", // bits beyond the last byte
		"ktseal_1_" + good[:42] + "+": "43 characters",
		"ktseal_1_" + good[:20] + "\n" + good[20:]: "43 characters",
	} {
		_, err := webhook.SealingKeyFromString(text)
		wantIs(t, err, webhook.ErrSecret)
		if !strings.Contains(fmt.Sprint(err), want) || strings.Contains(fmt.Sprint(err), "AwQFBgcI") {
			t.Errorf("%q: error %v, want one with %q and without the text", text, err, want)
		}
	}
}

func TestSealingKeyRedactsItself(t *testing.T) {
	key := must(webhook.SealingKeyFromString("ktseal_7_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8"))(t)
	const want = "sealing key 7 [redacted]"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, key); got != want {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if got := string(must(json.Marshal(map[string]any{"key": key}))(t)); got != `{"key":"`+want+`"}` {
		t.Errorf("JSON is %s", got)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", key, "keys", []webhook.SealingKey{key})
	if got := out.String(); strings.Count(got, want) != 2 {
		t.Errorf("slog prints %s", got)
	}
}
