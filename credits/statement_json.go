package credits

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// statementFormat names the JSON form, and its version.
const statementFormat = "keytoll-credits-statement-1"

// The JSON forms. Amounts are decimal texts of credits, hashes hexadecimal,
// instants RFC 3339 in UTC.
type (
	statementJSON struct {
		Format    string        `json:"format"`
		Account   AccountID     `json:"account"`
		From      time.Time     `json:"from,omitzero"`
		To        time.Time     `json:"to,omitzero"`
		Opening   totalsJSON    `json:"opening"`
		Closing   totalsJSON    `json:"closing"`
		Base      Hash          `json:"base"`
		Entries   []entryJSON   `json:"entries"`
		First     int           `json:"first"`
		Last      int           `json:"last"`
		Head      headJSON      `json:"head"`
		Index     int64         `json:"index"`
		Proof     []Hash        `json:"proof"`
		Seal      sealJSON      `json:"seal"`
		Key       string        `json:"key"`
		Algorithm SealAlgorithm `json:"algorithm"`
		Signature []byte        `json:"signature"`
	}
	headJSON struct {
		Account AccountID  `json:"account"`
		Seq     int64      `json:"seq"`
		Hash    Hash       `json:"hash"`
		Totals  totalsJSON `json:"totals"`
	}
	sealJSON struct {
		Begun     time.Time     `json:"begun"`
		At        time.Time     `json:"at"`
		Accounts  int64         `json:"accounts"`
		Root      Hash          `json:"root"`
		Key       string        `json:"key"`
		Algorithm SealAlgorithm `json:"algorithm"`
		Signature []byte        `json:"signature"`
	}
	totalsJSON struct {
		Issued    Amount `json:"issued"`
		Pending   Amount `json:"pending"`
		Available Amount `json:"available"`
		Held      Amount `json:"held"`
		Leased    Amount `json:"leased"`
		Consumed  Amount `json:"consumed"`
		Expired   Amount `json:"expired"`
		Suspense  Amount `json:"suspense"`
		Debt      Amount `json:"debt"`
	}
	entryJSON struct {
		Seq       int64     `json:"seq"`
		At        time.Time `json:"at"`
		Kind      string    `json:"kind"`
		Op        OpID      `json:"op"`
		Lot       LotID     `json:"lot"`
		From      string    `json:"from"`
		To        string    `json:"to"`
		Amount    Amount    `json:"amount"`
		Key       string    `json:"key,omitempty"`
		Operation string    `json:"operation,omitempty"`
		Price     string    `json:"price,omitempty"`
		Hash      Hash      `json:"hash"`
	}
)

// MarshalJSON returns the form that [ParseStatement] reads.
func (s *Statement) MarshalJSON() ([]byte, error) {
	entries := make([]entryJSON, len(s.Entries))
	for i := range s.Entries {
		e := &s.Entries[i]
		entries[i] = entryJSON{
			e.Seq, e.At, e.Kind.String(), e.Op, e.Lot, e.From.String(), e.To.String(), e.Amount, e.Key, e.Operation, e.Price, e.Hash,
		}
	}
	return json.Marshal(statementJSON{
		statementFormat, s.Account, s.From, s.To, totalsJSON(s.Opening), totalsJSON(s.Closing), s.Base, entries, s.First, s.Last,
		headJSON{s.Head.Account, s.Head.Seq, s.Head.Hash, totalsJSON(s.Head.Totals)}, s.Index, append([]Hash{}, s.Proof...),
		sealJSON(s.Seal), s.Key, s.Algorithm, s.Signature,
	})
}

// ParseStatement reads the JSON form of a statement. Text that [Statement] could
// not have written, byte by byte but for spaces between its parts, is an error of
// code Invalid: so nothing can hide in it that [VerifyStatement] does not see.
func ParseStatement(text []byte) (*Statement, error) {
	s, err := readStatement(text)
	if err == nil {
		var given bytes.Buffer
		var again []byte
		if again, err = s.MarshalJSON(); err == nil {
			if err = json.Compact(&given, text); err == nil && !bytes.Equal(given.Bytes(), again) {
				err = errors.New("it is not in the form in which statements are written")
			}
		}
	}
	if err != nil {
		return nil, &errors.Error{Code: errors.Invalid, Op: "credits.ParseStatement", Msg: "the text is not that of a statement", Err: err}
	}
	return s, nil
}

func readStatement(text []byte) (*Statement, error) {
	var j statementJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, err
	}
	if j.Format != statementFormat {
		return nil, fmt.Errorf("its format is %s", quote(j.Format))
	}
	s := &Statement{
		Account: j.Account, From: j.From, To: j.To, Opening: Totals(j.Opening), Closing: Totals(j.Closing), Base: j.Base,
		First: j.First, Last: j.Last,
		Head:  Head{j.Head.Account, j.Head.Seq, j.Head.Hash, Totals(j.Head.Totals)},
		Index: j.Index, Proof: j.Proof, Seal: Seal(j.Seal), Key: j.Key, Algorithm: j.Algorithm, Signature: j.Signature,
	}
	for _, e := range j.Entries {
		kind, from, to := slices.Index(kinds[:], e.Kind), slices.Index(buckets[:], e.From), slices.Index(buckets[:], e.To)
		if kind < 0 || from < 0 || to < 0 {
			return nil, fmt.Errorf("entry %d is of no kind that is known", e.Seq)
		}
		s.Entries = append(s.Entries, Entry{
			Account: j.Account, Seq: e.Seq, At: e.At, Kind: Kind(kind), From: Bucket(from), To: Bucket(to), Op: e.Op, Lot: e.Lot,
			Amount: e.Amount, Key: e.Key, Operation: e.Operation, Price: e.Price, Hash: e.Hash,
		})
	}
	return s, nil
}

// String returns s for people: the balances, a line for each entry of the period,
// and the seal that proves it.
func (s *Statement) String() string {
	var b strings.Builder
	instant := func(t time.Time, none string) string {
		if t.IsZero() {
			return none
		}
		return t.UTC().Format(time.RFC3339)
	}
	fmt.Fprintf(&b, "Statement of account %s\nfrom %s to %s\n\n", s.Account, instant(s.From, "the first entry"), instant(s.To, instant(s.Seal.Begun, "the last")))
	fmt.Fprintf(&b, "Opening balance: %v available%s\n\n", s.Opening.Available, others(s.Opening))
	for _, e := range s.Period() {
		fmt.Fprintf(&b, "%6d  %s  %-8s %16v  %s -> %s, lot %d, %s\n", e.Seq, instant(e.At, ""), e.Kind, e.Amount, e.From, e.To, e.Lot, e.Op)
	}
	fmt.Fprintf(&b, "\nClosing balance: %v available%s\n\n", s.Closing.Available, others(s.Closing))
	fmt.Fprintf(&b, "Sealed at %s with the heads of %d accounts under the root\n%v,\nsigned with the %s key %s.\n",
		instant(s.Seal.At, ""), s.Seal.Accounts, s.Seal.Root, s.Seal.Algorithm, quote(s.Seal.Key))
	return b.String()
}

// others names what else than available credits there is.
func others(t Totals) string {
	var b strings.Builder
	for _, x := range [...]struct {
		amount Amount
		what   string
	}{{t.Held, "held"}, {t.Leased, "leased"}, {t.Suspense, "in suspense"}, {t.Pending, "not effective yet"}, {t.Debt, "owed"}} {
		if x.amount != 0 {
			fmt.Fprintf(&b, ", %v %s", x.amount, x.what)
		}
	}
	return b.String()
}
