package idempotency_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/idempotency"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

var answers = []idempotency.Answer{
	{Status: 200},
	{Status: 599, Hold: strings.Repeat("h", idempotency.MaxHold)},
	{Status: 201, Header: http.Header{"Location": {"/v1/images/7"}, "Vary": {"Accept", "Origin"}, "Content-Type": {}}, Body: []byte("a cat")},
	{Status: 404, Body: []byte{0, 0xff, '\n'}},
	{Status: 200, Opaque: true, Hold: "idem_0000000000000000000000_0"},
	{Status: 200, Header: http.Header{"X-Utf8": {"caf\xc3\xa9\t"}}, Body: bytes.Repeat([]byte("x"), 100_000)},
}

func TestAnswersComeBackAsTheyWere(t *testing.T) {
	for _, want := range answers {
		data, err := want.MarshalBinary()
		must(t, err)
		again, err := want.MarshalBinary()
		must(t, err)
		if !bytes.Equal(data, again) {
			t.Error("one answer has two forms")
		}
		var got idempotency.Answer
		must(t, got.UnmarshalBinary(data))
		if !same(&got, &want) {
			t.Errorf("%+v came back as %+v", want, got)
		}
		if len(got.Body) > 0 {
			for i := range data {
				data[i] = 0
			}
			if !same(&got, &want) {
				t.Error("an answer lives in the bytes that it was read from")
			}
		}
	}
}

func same(a, b *idempotency.Answer) bool {
	return a.Status == b.Status && a.Opaque == b.Opaque && a.Hold == b.Hold && bytes.Equal(a.Body, b.Body) &&
		maps.EqualFunc(a.Header, b.Header, slices.Equal)
}

// The bytes are kept by servers for a day and read by the next version.
func TestTheFormOfAnswersIsPinned(t *testing.T) {
	a := idempotency.Answer{Status: 201, Header: http.Header{"B": {"2", "3"}, "A": {"1"}}, Body: []byte("ok"), Hold: "h"}
	data, err := a.MarshalBinary()
	must(t, err)
	const want = "010000c9" + "0168" + "02" + "014101" + "0131" + "014202" + "0132" + "0133" + "026f6b" + "190e14e6"
	if got := fmt.Sprintf("%x", data); got != want {
		t.Errorf("the form is\n%s, want\n%s", got, want)
	}
}

func TestASmallAnswerIsSmall(t *testing.T) {
	opaque := idempotency.Answer{Status: 200, Opaque: true, Hold: strings.Repeat("h", 40)}
	data, err := opaque.MarshalBinary()
	must(t, err)
	if len(data) > idempotency.SmallAnswer {
		t.Errorf("an opaque answer has %d bytes, want at most %d", len(data), idempotency.SmallAnswer)
	}
}

func TestWhatCannotBeKeptIsNamed(t *testing.T) {
	many := http.Header{}
	for i := range idempotency.MaxFields + 1 {
		many.Set(fmt.Sprint("X-", i), "1")
	}
	for name, tt := range map[string]struct {
		answer idempotency.Answer
		part   string
	}{
		"no status":         {idempotency.Answer{}, "status is 0"},
		"an early hint":     {idempotency.Answer{Status: 103}, "200 to 599"},
		"a large status":    {idempotency.Answer{Status: 600}, "200 to 599"},
		"a long hold":       {idempotency.Answer{Status: 200, Hold: strings.Repeat("h", 65)}, "hold"},
		"opaque and more":   {idempotency.Answer{Status: 200, Opaque: true, Body: []byte("x")}, "opaque"},
		"too many fields":   {idempotency.Answer{Status: 200, Header: many}, "lines"},
		"too long a header": {idempotency.Answer{Status: 200, Header: http.Header{"A": {strings.Repeat("x", idempotency.MaxHeaderBytes)}}}, "header has"},
		"a bad name":        {idempotency.Answer{Status: 200, Header: http.Header{"A b": {"1"}}}, "name"},
		"no name":           {idempotency.Answer{Status: 200, Header: http.Header{"": {"1"}}}, "name"},
		"a bad value":       {idempotency.Answer{Status: 200, Header: http.Header{"A": {"1\r\nB: 2"}}}, "value"},
		"too long a body":   {idempotency.Answer{Status: 200, Body: make([]byte, idempotency.MaxStored+1)}, "body has"},
		"too long in all":   {idempotency.Answer{Status: 200, Body: make([]byte, idempotency.MaxStored)}, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tt.answer.MarshalBinary(); errors.CodeOf(err) != errors.Invalid || !strings.Contains(err.Error(), tt.part) {
				t.Errorf("error %v, want one about %q", err, tt.part)
			}
		})
	}
}

// Every change to what was kept is noticed, and nothing of it is believed.
func TestCorruptAnswersAreRefused(t *testing.T) {
	for _, a := range answers[:5] {
		data, err := a.MarshalBinary()
		must(t, err)
		before := idempotency.Answer{Status: 418}
		refused := func(what string, data []byte) {
			t.Helper()
			if err := before.UnmarshalBinary(data); !errors.Is(err, idempotency.ErrCorrupt) || !reflect.DeepEqual(before, idempotency.Answer{Status: 418}) {
				t.Errorf("%s: %v, %+v", what, err, before)
			}
		}
		for i := range data {
			for bit := range 8 {
				bent := bytes.Clone(data)
				bent[i] ^= 1 << bit
				refused(fmt.Sprintf("bit %d of byte %d", bit, i), bent)
			}
			refused(fmt.Sprintf("the first %d bytes", i), data[:i])
		}
		refused("a byte more", append(bytes.Clone(data), 0))
	}
}

func FuzzAnswer(f *testing.F) {
	for _, a := range answers[:5] {
		data, err := a.MarshalBinary()
		must(f, err)
		f.Add(data)
		f.Add(data[:len(data)-4])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, data := range [][]byte{data, idempotency.Sealed(data)} { // with a right checksum the fuzzer gets further
			var a idempotency.Answer
			if err := a.UnmarshalBinary(data); err != nil {
				if !errors.Is(err, idempotency.ErrCorrupt) {
					t.Error(err)
				}
				continue
			}
			again, err := a.MarshalBinary()
			if err != nil {
				t.Fatalf("%+v cannot be written again: %v", a, err)
			}
			var b idempotency.Answer
			if err := b.UnmarshalBinary(again); err != nil || !same(&a, &b) {
				t.Errorf("%+v came back as %+v, %v", a, b, err)
			}
		}
	})
}
