package redisstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/apikey"
)

func TestNoticesSurviveTheWay(t *testing.T) {
	var sent []apikey.Notice
	for i := range 1000 {
		sent = append(sent, apikey.Notice{Handle: strings.Repeat("h", i+1)}, apikey.Notice{Owner: strings.Repeat("\xff", i%255+1)})
	}
	messages, err := encode(sent)
	if err != nil {
		t.Fatal(err)
	}
	var got []apikey.Notice
	for _, m := range messages {
		if len(m) > maxMessage {
			t.Errorf("a message has %d bytes", len(m))
		}
		notices, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, notices...)
	}
	if !slices.Equal(got, sent) {
		t.Errorf("%d notices came back, want the %d sent", len(got), len(sent))
	}
	if messages, err := encode([]apikey.Notice{{}, {}}); err != nil || len(messages) != 0 {
		t.Errorf("empty notices are %q, %v", messages, err)
	}
}

// FuzzDecode: whatever comes over the channel is read in one way or not at all.
func FuzzDecode(f *testing.F) {
	for _, m := range []string{"", "hello", "keytoll/2:h", mark, mark + "h\x00\x01a", mark + "o\x00\x02abh\x00\x01c", mark + "h\xff\xff", mark + "h\x00\x00"} {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, m string) {
		notices, err := decode(m)
		if err != nil && notices != nil {
			t.Fatal("notices beside an error")
		}
		if err != nil || len(notices) == 0 {
			return
		}
		again, err := encode(notices)
		if err != nil || len(again) != 1 || again[0] != m {
			t.Fatalf("%q reads as %+v, which is written %q, %v", m, notices, again, err)
		}
	})
}
