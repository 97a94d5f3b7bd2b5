package webhook_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/webhook"
)

const (
	vectorBody = `{"hello": "world"}`
	// RFC 9530 appendices D and E.
	vector256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
	vector512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
)

func TestContentDigestsOfRFC9530(t *testing.T) {
	if got := webhook.ContentDigest([]byte(vectorBody)); got != vector256 {
		t.Errorf("ContentDigest = %q, want %q", got, vector256)
	}
	for _, field := range []string{vector256, vector512, vector256 + ", " + vector512, vector512 + "\t,  " + vector256, "md5=:aGVsbG8=:, " + vector256} {
		if same, fault := webhook.CheckContentDigest(field, []byte(vectorBody)); !same || fault != "" {
			t.Errorf("%s: %v, %q", field, same, fault)
		}
		if same, _ := webhook.CheckContentDigest(field, []byte(vectorBody+" ")); same {
			t.Errorf("%s: another body is taken", field)
		}
	}
}

func TestEveryDigestOfAKnownAlgorithmHasToBeRight(t *testing.T) {
	wrong256 := webhook.ContentDigest([]byte("x"))
	for _, field := range []string{wrong256 + ", " + vector512, vector512 + ", " + wrong256} {
		if same, fault := webhook.CheckContentDigest(field, []byte(vectorBody)); same || fault != "" {
			t.Errorf("%s: %v, %q", field, same, fault)
		}
	}
}

// malformedDigests are no value of Content-Digest, or none that proves anything.
var malformedDigests = []string{
	"", " ", ",", "sha-256", "sha-256=", "sha-256=:", "sha-256=::", vector256 + ",", vector256 + ", ", "," + vector256, " " + vector256, vector256 + " ",
	vector256 + " " + vector512, vector256 + ";a=1", vector256 + ", " + vector256,
	strings.Replace(vector256, "sha-256", "SHA-256", 1), strings.Replace(vector256, "PE=", "PF=", 1), // stray bits
	strings.Replace(vector256, "=:X", "=:\nX", 1), strings.Replace(vector256, "PE=:", "PE:", 1), strings.Replace(vector256, "+", "-", 1) + "-",
	strings.Replace(vector256, "sha-256", "sha-512", 1), "md5=:aGVsbG8=:", "sha-256=X48E", `sha-256="X48E"`, "sha-256=?1", "sha-256=:\x00:",
	many(16, "%c=::") + ", " + vector256, vector256 + ", x=:" + strings.Repeat("A", 4096) + ":",
}

// many returns n members, each with a letter of its own.
func many(n int, member string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(member, 'a'+i)
	}
	return strings.Join(list, ", ")
}

func TestMalformedContentDigestsAreRefused(t *testing.T) {
	for _, field := range malformedDigests {
		if _, fault := webhook.CheckContentDigest(field, []byte(vectorBody)); fault == "" {
			t.Errorf("%.80q is taken", field)
		}
	}
}

func TestSignatureInputIsRead(t *testing.T) {
	const two = `sig1=("@method" "content-digest";req);created=1618884473;keyid="a\"b\\";alg="hmac-sha256" ,	*other.2=();expires=0;x;y=?0;z=-1.5;w=:aGk=:;v=tok/en:x;u="s"`
	list, fault := webhook.ParseInputs(two)
	if fault != "" || len(list) != 2 {
		t.Fatalf("%+v, %q", list, fault)
	}
	first, second := list[0], list[1]
	if first.Label != "sig1" || !slices.Equal(first.Components, []string{"@method", "content-digest"}) || !first.Foreign || first.Created != 1618884473 ||
		first.KeyID != `a\"b\\` || first.Alg != "hmac-sha256" || first.Text != `("@method" "content-digest";req);created=1618884473;keyid="a\"b\\";alg="hmac-sha256"` {
		t.Errorf("the first: %+v", first)
	}
	if second.Label != "*other.2" || len(second.Components) != 0 || second.Foreign || second.Text != `();expires=0;x;y=?0;z=-1.5;w=:aGk=:;v=tok/en:x;u="s"` {
		t.Errorf("the second: %+v", second)
	}
}

// malformedInputs are no value of Signature-Input, or not in its one spelling.
var malformedInputs = []string{
	"", "sig1", "sig1=", "sig1=(", "sig1=()x", "sig1=();", "sig1=(),", "sig1=(), ", ",sig1=()", "sig1=() sig2=()", "sig1=(),,sig2=()", "sig1=(),sig1=()", " sig1=()", "sig1=() ",
	"Sig1=()", "1sig=()", "sig1=1", `sig1="x"`, "sig1=?1", "sig1 =()", "sig1= ()", strings.Repeat("a", 65) + "=()",
	`sig1=( "a")`, `sig1=("a" )`, `sig1=("a"  "b")`, `sig1=("a""b")`, `sig1=("a"	"b")`, `sig1=("a" "a")`, `sig1=("A")`, `sig1=("")`, `sig1=("a b")`, `sig1=("a\"")`,
	`sig1=(a)`, `sig1=("@")`, `sig1=("a@b")`, `sig1=("@signature-params")`, `sig1=("@a@")`, "sig1=(\"a\x7f\")", "sig1=(\"\xc3\xa9\")", `sig1=("a`, `sig1=("a"`, `sig1=("a";)`, `sig1=("a";req=)`,
	"sig1=();created", "sig1=();created=", "sig1=();created=-1", "sig1=();created=01", "sig1=();created=1.0", "sig1=();created=1234567890123456", `sig1=();created="1"`, "sig1=();created=?1",
	"sig1=();created=1;created=1", "sig1=();expires=x", "sig1=();keyid=k", "sig1=();keyid", `sig1=();keyid="k`, `sig1=();keyid="\k"`, "sig1=();keyid=\"\n\"", "sig1=();alg=hmac-sha256", "sig1=();nonce=1", "sig1=();tag",
	"sig1=(); created=1", "sig1=() ;created=1", "sig1=();x=?1", "sig1=();x=?", "sig1=();x=:", "sig1=();x=:-:", "sig1=();=1", "sig1=();X=1", `sig1=();keyid="` + strings.Repeat("k", 257) + `"`,
	"sig1=(" + strings.TrimSpace(strings.Repeat(`"a" `, 17)) + ")", many(17, "%c=()"), "sig1=()" + strings.ReplaceAll(many(17, ";%c=1"), ", ", ""), `sig1=("` + strings.Repeat("a", 65) + `")`,
	"sig1=();x=" + strings.Repeat("1", 4096),
}

func TestMalformedSignatureInputsAreRefused(t *testing.T) {
	for _, field := range malformedInputs {
		if _, fault := webhook.ParseInputs(field); fault == "" {
			t.Errorf("%.80q is taken", field)
		}
	}
}

func TestSignaturesAreFoundByLabel(t *testing.T) {
	const field = "sig1=:aGk=:, sig2=:aGV5:"
	for label, want := range map[string]string{"sig1": "aGk=", "sig2": "aGV5", "sig": "", "sig3": ""} {
		if got, fault := webhook.FindSignature(field, label); got != want || fault != "" {
			t.Errorf("%s: %q, %q", label, got, fault)
		}
	}
	for _, field := range []string{"", "sig1", "sig1=aGk=", "sig1=:aGk=", "sig1=:aGk=:,", "sig1=:aGk=: sig2=:aGk=:", "sig1=:aGk=:,sig1=:aGk=:", "sig1=:a k:", "sig1=:aGk=:;x", "SIG=:aGk=:",
		many(17, "%c=::"), "sig1=:" + strings.Repeat("A", 4096) + ":"} {
		if _, fault := webhook.FindSignature(field, "sig1"); fault == "" {
			t.Errorf("%.80q is taken", field)
		}
	}
}

// The references below say in regular expressions what the parsers say in
// loops; whatever one accepts the other must.
const (
	naiveKey    = `[a-z*][a-z0-9_.*-]{0,63}`
	naiveString = `"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"`
	naiveItem   = `(?:` + naiveString + `|:[A-Za-z0-9+/=]*:|\?0|[A-Za-z0-9_!#$%&'*+.^` + "`" + `|~:/@-]+)`
	naiveAny    = `;` + naiveKey + `(?:=` + naiveItem + `)?`
	naiveName   = `"(?:@|[a-z0-9_!#$%&'*+.^` + "`" + `|~-])[a-z0-9_!#$%&'*+.^` + "`" + `|~-]*"(?:` + naiveAny + `)*`
	naiveInner  = `\((?:` + naiveName + `(?: ` + naiveName + `)*)?\)`
	naiveMember = naiveKey + `=` + naiveInner + `(?:` + naiveAny + `)*`
	naiveComma  = `[ \t]*,[ \t]*`
)

var (
	naiveInputs     = regexp.MustCompile(`\A` + naiveMember + `(?:` + naiveComma + naiveMember + `)*\z`)
	naiveDictionary = regexp.MustCompile(`\A` + naiveKey + `=:[A-Za-z0-9+/=]*:(?:` + naiveComma + naiveKey + `=:[A-Za-z0-9+/=]*:)*\z`)
)

// Whatever the parser takes, the grammar of the RFC has, and what it reads of it
// can be written back.
func FuzzSignatureInput(f *testing.F) {
	for _, field := range malformedInputs {
		f.Add(field)
	}
	f.Add(`sig1=("@method" "content-digest");created=1618884473;keyid="a";alg="ed25519";nonce="n";tag="t", b=()`)
	f.Fuzz(func(t *testing.T, field string) {
		list, fault := webhook.ParseInputs(field)
		if fault != "" {
			return
		}
		if !naiveInputs.MatchString(field) || len(field) > 4096 || len(list) > 16 {
			t.Errorf("%q is taken", field)
		}
		var texts []string
		for _, in := range list {
			texts = append(texts, in.Label+"="+in.Text)
			if len(in.Components) > 16 || strings.ContainsAny(in.Text, "\r\n") {
				t.Errorf("%q: %+v", field, in)
			}
		}
		// Only the blanks around commas are gone.
		again := strings.Join(texts, ",")
		if second, fault := webhook.ParseInputs(again); fault != "" || len(second) != len(list) {
			t.Errorf("%q becomes %q, which is refused: %s", field, again, fault)
		}
	})
}

func FuzzContentDigest(f *testing.F) {
	for _, field := range append(malformedDigests, vector256, vector512, vector256+", "+vector512) {
		f.Add(field, []byte(vectorBody))
	}
	f.Fuzz(func(t *testing.T, field string, body []byte) {
		same, fault := webhook.CheckContentDigest(field, body)
		if fault != "" {
			return
		}
		if !naiveDictionary.MatchString(field) {
			t.Errorf("%q is taken", field)
		}
		sum256, sum512 := sha256.Sum256(body), sha512.Sum512(body)
		want := true
		for _, member := range regexp.MustCompile(naiveComma).Split(field, -1) {
			key, value, _ := strings.Cut(member, "=")
			switch key {
			case "sha-256":
				want = want && value == ":"+base64.StdEncoding.EncodeToString(sum256[:])+":"
			case "sha-512":
				want = want && value == ":"+base64.StdEncoding.EncodeToString(sum512[:])+":"
			}
		}
		if same != want {
			t.Errorf("%q of %q: %v", field, body, same)
		}
	})
}
