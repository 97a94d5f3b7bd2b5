package benchcmp_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

const (
	diffSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	diffOther   = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	diffSeed    = 20261121
	diffSamples = 4000 // for each library
)

// What our signer writes the libraries accept, with one key and with several,
// and what they write we accept.
func TestOfficialLibrariesAndOursAgreeOnWhatIsRight(t *testing.T) {
	bodies := [][]byte{nil, []byte("{}"), []byte(`{"name":"Zoë 🚀 <&>"}`), {0, 0xff, 0xfe, '\n', '.'}, bytes.Repeat([]byte("x"), 100_000)}
	for _, r := range rivals() {
		for i, body := range bodies {
			at, id := time.Now(), webhook.NewID()
			for _, secrets := range [][]string{{diffSecret}, {diffOther, diffSecret}, {diffSecret, diffOther}} {
				header := http.Header{}
				if err := r.signer(t, secrets...).Sign(header, id, at, body); err != nil {
					t.Fatal(err)
				}
				for _, secret := range secrets {
					if err := r.verify(secret, header, body); err != nil {
						t.Errorf("%s refuses body %d under one of %d keys: %v", r.name, i, len(secrets), err)
					}
				}
			}
			signature, err := r.sign(diffSecret, id, at, body)
			if err != nil {
				t.Fatal(err)
			}
			header := r.headers(id, strconv.FormatInt(at.Unix(), 10), signature)
			got, err := r.verifier(t, diffOther, diffSecret).Verify(header, body)
			if err != nil || got.Timestamp.Unix() != at.Unix() || r.prefix != "" && got.ID != id {
				t.Errorf("what %s wrote of body %d: %+v, %v", r.name, i, got, err)
			}
		}
	}
}

// headers are those of one message.
func (r *rival) headers(id, timestamp, signature string) http.Header {
	h := http.Header{}
	h.Set(r.scheme.SignatureHeader, signature)
	if r.prefix != "" {
		h[r.prefix+"Id"], h[r.prefix+"Timestamp"] = []string{id}, []string{timestamp}
	}
	return h
}

// Whatever we accept the libraries accept, and whatever they accept and we refuse
// is in the table of our strictness: of messages of all kinds, right ones, nearly
// right ones, and right ones that nobody should have signed.
func TestWeAreOnlyStricterThanTheOfficialLibraries(t *testing.T) {
	seed, samples := number(t, "KEYTOLL_WEBHOOK_SEED", diffSeed), number(t, "KEYTOLL_WEBHOOK_SAMPLES", diffSamples)
	for _, r := range rivals() {
		t.Run(r.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(seed), 1))
			d := newDifference(t, r)
			for i := range samples {
				s := r.random(random)
				if fault := d.compare(s); fault != "" {
					t.Fatalf("KEYTOLL_WEBHOOK_SEED=%d, sample %d: %s\nheaders %q\nbody %q", seed, i, fault, s.header, s.body)
				}
			}
			t.Logf("seed %d: of %d samples %d are accepted by both, %d by none, %d by %s alone: %v", seed, samples, d.both, d.none, samples-d.both-d.none, r.name, d.met)
			if samples < diffSamples || seed != diffSeed {
				return
			}
			if d.both < samples/20 || d.none < samples/20 {
				t.Errorf("%d are accepted by both, %d by none: too few to say anything", d.both, d.none)
			}
			for _, why := range r.strict {
				if d.met[why.name] == 0 {
					t.Errorf("no sample was refused for %s", why.name)
				}
			}
		})
	}
}

func number(tb testing.TB, name string, or int) int {
	tb.Helper()
	text := os.Getenv(name)
	if text == "" {
		return or
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		tb.Fatalf("%s is %q; give a whole number, 1 or more", name, text)
	}
	return n
}

// A difference counts what a library and we make of samples.
type difference struct {
	rival      *rival
	verifier   *webhook.Verifier
	both, none int
	met        map[string]int // by the name of a strictness that was the only one
}

func newDifference(tb testing.TB, r *rival) *difference {
	tb.Helper()
	return &difference{rival: r, verifier: r.verifier(tb, diffSecret), met: map[string]int{}}
}

// compare returns what must not be, or "".
func (d *difference) compare(s *sample) (fault string) {
	_, ours := d.verifier.Verify(s.header, s.body)
	theirs := d.rival.verify(diffSecret, s.header, s.body)
	s.read()
	var names []string
	var allowed []error
	for _, why := range d.rival.strict {
		if why.differ(s) {
			names, allowed = append(names, why.name), append(allowed, why.err)
		}
	}
	switch {
	case ours == nil && theirs != nil:
		return fmt.Sprintf("we accept what %s refuses: %v", d.rival.name, theirs)
	case ours == nil && len(names) > 0:
		return fmt.Sprintf("we accept %q", names)
	case ours != nil && theirs == nil && len(names) == 0:
		return fmt.Sprintf("%s accepts, and no strictness of ours is a reason to refuse: %v", d.rival.name, ours)
	case ours != nil && theirs == nil && !slices.ContainsFunc(allowed, func(err error) bool { return errors.Is(ours, err) }):
		return fmt.Sprintf("we refuse %q with %v", names, ours)
	case ours == nil:
		d.both++
	case theirs != nil:
		d.none++
	case len(names) == 1:
		d.met[names[0]]++
	default:
		d.met["several"]++
	}
	return ""
}

// read finds what the library takes for id, timestamp and signature.
func (s *sample) read() {
	s.signature = s.header.Get(s.rival.scheme.SignatureHeader)
	if prefix := s.rival.prefix; prefix != "" {
		for _, p := range []string{prefix, "Webhook-"} {
			s.id, s.timestamp, s.signature = s.header.Get(p+"Id"), s.header.Get(p+"Timestamp"), s.header.Get(p+"Signature")
			if s.id != "" && s.timestamp != "" && s.signature != "" {
				return
			}
		}
		return
	}
	for entry := range strings.SplitSeq(s.signature, ",") {
		if text, ok := strings.CutPrefix(entry, "t="); ok {
			s.timestamp = text // the last one counts
		}
	}
}

// random makes a message. About half are signed for what they hold, whatever
// that is.
func (r *rival) random(random *rand.Rand) *sample {
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	id := pick("msg_1", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", strings.Repeat("m", 256))
	if random.IntN(8) == 0 {
		id = pick("msg_1.1614265999", "", "a b", "é", strings.Repeat("m", 257), "msg_1\t")
	}
	// Never near the tolerance, so that no clock decides.
	offset := []int64{0, 0, 0, 0, -100, 100, -240, 240, 0, 0, 0, 0, -400, 400, -365 * 86400, 365 * 86400}[random.IntN(16)]
	at := time.Now().Unix() + offset
	body := []byte(pick("{}", "", `{"a":1}`, "\xff\xfe", ".", strings.Repeat("x", 1000)))
	timestamp := strconv.FormatInt(at, 10)
	switch random.IntN(16) {
	case 0:
		timestamp = pick("+", "0", "00", "-", " ", "") + timestamp
	case 1:
		timestamp += pick("0", " ", ".0", "abc")
	}
	secret := diffSecret
	if random.IntN(10) == 0 {
		secret = diffOther
	}
	right, err := r.sign(secret, id, time.Unix(at, 0), body)
	if err != nil {
		panic(err)
	}
	if r.prefix == "" {
		right = strings.TrimPrefix(right, "t="+strconv.FormatInt(at, 10)+",")
	}
	list := r.entries(random, right)
	if r.prefix == "" {
		list = slices.Insert(list, random.IntN(len(list)+1), "t="+timestamp)
		if random.IntN(16) == 0 {
			list = slices.Insert(list, 0, "t="+pick("1", timestamp, "x", ""))
		}
	}
	text := strings.Join(list, r.scheme.Separator)
	if random.IntN(8) == 0 {
		text = soup(random, right[3:], "t="+timestamp)
	}
	header := r.headers(id, timestamp, text)
	r.disturb(random, header)
	if random.IntN(12) == 0 && len(body) > 0 {
		body = bytes.Clone(body)
		body[random.IntN(len(body))] ^= 1 << random.IntN(8)
	}
	return &sample{rival: r, header: header, body: body}
}

// entries are those of a signature header, among which right may be.
func (r *rival) entries(random *rand.Rand, right string) []string {
	between := right[2:3] // "v1," or "v1="
	sum := right[3:]
	list := []string{right}
	junk := random.IntN(5) == 0
	for range []int{0, 0, 0, 1, 2, 3, 14, 15, 16, 100}[random.IntN(10)] {
		others := []string{"v1a" + between + "x", "v2" + between + "x", "v0" + between + strings.TrimRight(sum, "="), right, "v1" + between + r.other(sum)}
		if junk {
			others = []string{
				"", "v1", "v1" + between, "v1" + between + sum[:len(sum)-1], "v1" + between + strings.ToUpper(sum), right + ",junk", right + between, "V2" + between + "x", between,
				"v1" + between + sum + "=", "x y", "v2" + between, strings.Repeat("v", 17) + between + "x", "é" + between + "x", "v2" + between + "é", " " + right, "v1" + between + "zz", "v2" + between + "a=b",
			}
		}
		list = slices.Insert(list, random.IntN(len(list)+1), others[random.IntN(len(others))])
	}
	switch random.IntN(32) {
	case 0:
		list[slices.Index(list, right)] = right + ",junk"
	case 1:
		list[slices.Index(list, right)] = "v1" + between + strings.ToUpper(sum)
	case 2:
		list = slices.DeleteFunc(list, func(e string) bool { return e == right })
	case 3:
		list = append(list, "v2"+between+strings.Repeat("x", 5000))
	}
	return list
}

// soup is a header of pieces in any order, the right ones among them.
func soup(random *rand.Rand, pieces ...string) string {
	pieces = append(pieces, pieces[0], pieces[0], "v1,", "v1=", "v1,"+pieces[0], "v1="+pieces[0], ",", "=", " ", "v1a", "v2", "t=", "x", "é", ";", "\t", "\x00", "==")
	text := ""
	for range random.IntN(8) {
		text += pieces[random.IntN(len(pieces))]
		if random.IntN(2) == 0 {
			text += []string{",", " "}[random.IntN(2)]
		}
	}
	return text
}

// other is a signature that looks like one and is none.
func (r *rival) other(sum string) string { return strings.Repeat("0", len(sum)-1) + sum[len(sum)-1:] }

// disturb changes headers as proxies and strangers might.
func (r *rival) disturb(random *rand.Rand, header http.Header) {
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names) // a map has no order, and the seed has to decide
	name := names[random.IntN(len(names))]
	switch random.IntN(32) {
	case 0:
		header.Add(name, header.Get(name))
	case 1:
		header.Add(name, "evil")
	case 2:
		header[name] = append([]string{"evil"}, header[name]...)
	case 3:
		header.Del(name)
	case 4:
		if r.prefix == "Svix-" {
			for _, name := range names {
				header["Webhook-"+strings.TrimPrefix(name, "Svix-")] = header[name]
				delete(header, name)
			}
		}
	case 5:
		if text := []byte(header.Get(name)); len(text) > 0 {
			text[random.IntN(len(text))] ^= 1 << random.IntN(8)
			header[name] = []string{string(text)}
		}
	}
}

// Secrets that the libraries take, and an empty one is among them, under which
// anybody can sign.
func TestSecretsOfTheOfficialLibrariesThatAreTooWeakOrUnclear(t *testing.T) {
	short := "whsec_" + strings.Repeat("QUJD", 7) + "QQ==" // 22 bytes
	for _, r := range rivals() {
		texts := map[string]string{"empty": "", "too short": "0123456789abcdefghijklm", "a pattern": strings.Repeat("ab", 16), "a line break at the end": diffSecret + "\n"}
		if r.prefix != "" {
			texts = map[string]string{
				"empty": "", "only a prefix": "whsec_", "only line breaks": "\n\n", "one byte": "whsec_YQ==", "too short": short, "a pattern": "whsec_" + strings.Repeat("A", 32),
				"without its prefix": strings.TrimPrefix(diffSecret, "whsec_"), "a line break at the end": diffSecret + "\n", "stray bits": diffSecret + "QUJ=",
			}
		}
		at := time.Now()
		for name, text := range texts {
			if signature, err := r.sign(text, "msg_1", at, []byte("{}")); err != nil {
				t.Errorf("%s refuses a secret that is %s: %v", r.name, name, err)
			} else if err := r.verify(text, r.headers("msg_1", strconv.FormatInt(at.Unix(), 10), signature), []byte("{}")); err != nil {
				t.Errorf("%s refuses what it signed with a secret that is %s: %v", r.name, name, err)
			}
			if _, err := r.secret(text); !errors.Is(err, webhook.ErrSecret) {
				t.Errorf("we take a secret that is %s: %v", name, err)
			}
		}
	}
}
