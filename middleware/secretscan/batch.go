package secretscan

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

const (
	maxPartner = 32
	maxType    = 128
)

// A match is one item of a report. Members that are not named here are ignored.
type match struct {
	Token  *string `json:"token"`
	Type   remark  `json:"type"`
	URL    remark  `json:"url"`
	Source remark  `json:"source"`
}

// A remark is a text beside a token, empty where there is something else: a key
// that leaked is dealt with whatever is said of it.
type remark string

// UnmarshalJSON implements [json.Unmarshaler].
func (r *remark) UnmarshalJSON(value []byte) error {
	var text string
	if json.Unmarshal(value, &text) == nil {
		*r = remark(text)
	}
	return nil
}

// An itemAnswer is what a partner is told of one item.
type itemAnswer struct {
	Raw   string `json:"token_raw,omitempty"`
	Hash  string `json:"token_hash,omitempty"`
	Type  string `json:"token_type"`
	Label label  `json:"label"`
}

type label string

const (
	truePositive  label = "true_positive"
	falsePositive label = "false_positive"
)

// A batch is a report that is being worked on.
type batch struct {
	in      *Intake
	matches []*match // nil for one that is bad
	answers []itemAnswer
	first   []Notice
	report  Report
}

// parse reads a body that is proven.
func (in *Intake) parse(body []byte) (*batch, *refusal) {
	no := func(err error) *refusal {
		return &refusal{http.StatusBadRequest, "send a JSON array of objects with token, type, url and source", err}
	}
	b := &batch{in: in, answers: []itemAnswer{}}
	d := json.NewDecoder(bytes.NewReader(body))
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return nil, no(errors.New("secretscan: the body is not a JSON array"))
	}
	for d.More() {
		if len(b.matches) == in.o.MaxItems {
			return nil, &refusal{http.StatusRequestEntityTooLarge, "the array has too many items", errors.New("secretscan: too many items")}
		}
		// Errors of the decoder are not handed on: they may hold what they stumbled on.
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return nil, no(errors.New("secretscan: the body is not JSON"))
		}
		m := new(match)
		if json.Unmarshal(raw, m) != nil || m.Token == nil {
			m = nil
			b.report.Bad++
		}
		b.matches = append(b.matches, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, no(errors.New("secretscan: the array does not end"))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, no(errors.New("secretscan: something follows the array"))
	}
	b.report.Items = len(b.matches)
	return b, nil
}

// work deals with every item, whatever becomes of the others.
func (b *batch) work(ctx context.Context) {
	b.report.Status = http.StatusOK
	for _, m := range b.matches {
		if m == nil {
			continue
		}
		if err := b.item(ctx, m); err != nil {
			b.report.Status, b.report.Err = http.StatusServiceUnavailable, err // the last of them says enough
		}
	}
	b.report.First = len(b.first)
}

// item deals with one match; its error says that it could not be decided.
func (b *batch) item(ctx context.Context, m *match) error {
	leak := apikey.Leak{Source: b.in.o.Partner + "/" + source(string(m.Source)), URL: string(m.URL)}
	if len(leak.URL) > apikey.MaxLeakURL || strings.ContainsFunc(leak.URL, unicode.IsControl) {
		leak.URL = "" // a part of it could hold a part of a key
	}
	var decided apikey.LeakDecision
	var failed error
	report, err := b.in.service.ReportLeak(ctx, *m.Token, leak, func(k apikey.Key) apikey.LeakDecision {
		decided, failed = b.in.decide(k)
		return decided
	})
	if err != nil && failed != nil {
		err = errors.Join(err, failed)
	}
	switch {
	case err == nil:
		b.report.True++
		b.label(m, truePositive)
	case errors.Is(err, apikey.ErrUnprovable):
		b.report.Undecided++
		return nil
	case errors.Is(err, apikey.ErrMalformed), errors.Is(err, apikey.ErrUnknown):
		b.report.False++
		b.label(m, falsePositive)
		return nil
	default:
		return err
	}
	if report.First {
		_, link, _ := strings.Cut(report.Place, " ")
		b.first = append(b.first, Notice{Key: report.Key, Decision: decided, Type: kind(string(m.Type), *m.Token), Source: leak.Source, URL: link})
	}
	return nil
}

// decide returns what the policy says, and nothing where it panicked, with what:
// the other items' leaks must be dealt with and told of.
func (in *Intake) decide(k apikey.Key) (d apikey.LeakDecision, err error) {
	defer func() {
		if p := recover(); p != nil {
			d, err = apikey.LeakDecision{}, fmt.Errorf("secretscan: the policy panicked: %v", p)
		}
	}()
	return in.policy(k), nil
}

// label notes what the partner is told of a match.
func (b *batch) label(m *match, l label) {
	a := itemAnswer{Type: string(m.Type), Label: l}
	if b.in.o.RawTokens {
		a.Raw = *m.Token
	} else {
		sum := sha256.Sum256([]byte(*m.Token))
		a.Hash = hex.EncodeToString(sum[:])
	}
	b.answers = append(b.answers, a)
}

// source returns where a partner says that it found a key, as one word.
func source(text string) string {
	if w := word(strings.ToLower(text)); w != "" && len(w) <= apikey.MaxLeakSource-maxPartner-1 {
		return w
	}
	return "unknown"
}

// word returns text if it is of a-z, 0-9, _ and -, else "".
func word(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	}) {
		return ""
	}
	return text
}

// kind returns a partner's name for keys, or "" for what is none.
func kind(text, token string) string {
	if len(text) > maxType || strings.Contains(text, token) || strings.ContainsFunc(text, unicode.IsControl) {
		return ""
	}
	return text
}
