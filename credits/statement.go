package credits

import (
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A StatementQuery asks for the statement of one account.
type StatementQuery struct {
	Account AccountID
	From    time.Time // entries from this instant on; zero: from the first
	To      time.Time // and before this one, which is not after the seal's Begun; zero: all that was sealed
}

// A Statement says where an account's credits were at From and at To and each
// entry between, and proves that with a seal. It can be checked without the
// ledger, by [VerifyStatement].
//
// It proves, to whoever has the seal from a source that cannot be changed: that
// the journal that the seal was made of had these entries, in this order, with
// none changed, added or left out between the first and the last, and gave these
// balances. It does not prove that the entries are true, nor that nobody was given
// another seal: compare seals, and look with [Statement.Extends] whether each goes on
// from the one before. Who runs the ledger can still rewrite all that has not
// been sealed, or whose seals nobody has kept.
type Statement struct {
	Account  AccountID
	From, To time.Time
	Opening  Totals // at From
	Closing  Totals // at To
	Base     Hash   // of the entry before Entries; zero: there is none

	// Entries are those of the period; before them, if there is one, the last
	// entry before From, and after them all up to the head that was sealed. They
	// show that nothing is missing at either end.
	Entries []Entry
	First   int // in Entries, where the period begins
	Last    int // in Entries, where the period ends, exclusive

	Head  Head   // of the account when it was sealed
	Index int64  // of the head among the seal's Accounts
	Proof []Hash // from the head to the seal's root, see RFC 9162, section 2.1.3
	Seal  Seal

	Key       string // the name of the key that signed the statement
	Algorithm SealAlgorithm
	Signature []byte
}

// Statement makes and signs the statement of an account from a seal. It returns
// [ErrNotFound] when the account was not there when it was sealed, and
// [ErrUnproven] when the journal does not go through the sealed head any more.
func (l *Ledger) Statement(ctx context.Context, by *Sealer, tree *SealTree, q StatementQuery) (*Statement, error) {
	const op = "credits.Statement"
	f := errors.Faults{Op: op}
	checkID(&f, "Account", string(q.Account))
	q.From, q.To = microsUp(q.From), microsUp(q.To)
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From) {
		f.Add("To is before From; give a later instant, or leave one out")
	}
	switch {
	case by == nil || by.sign == nil:
		f.Add("the sealer is nil or zero; give one that NewSealer made")
	case tree == nil:
		f.Add("the tree is nil; give one that Seal or NewSealTree made")
	case q.To.After(tree.seal.Begun):
		f.Add("To is after the seal's Begun, %v; make another seal, or leave To out", tree.seal.Begun.Format(time.RFC3339))
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	at, ok := tree.find(q.Account)
	if !ok {
		return nil, errors.Wrap(op, refuse(ErrNotFound, "no account "+quote(string(q.Account))+" in the seal"))
	}
	s := &Statement{
		Account: q.Account, From: q.From, To: q.To, Head: tree.heads[at], Index: int64(at), Proof: tree.tree.proof(at), Seal: tree.Seal(),
		Key: by.check.name, Algorithm: by.check.algorithm,
	}
	if err := l.statementEntries(ctx, s); err != nil {
		return nil, atBoundary(op, err)
	}
	s.First, s.Last = s.period()
	s.Opening, s.Closing = s.balances()
	if err := s.checkEntries(); err != nil {
		return nil, errors.Wrap(op, err)
	}
	s.Signature = by.sign(s.message())
	return s, nil
}

// statementEntries reads the entries from the last before From to the head.
func (l *Ledger) statementEntries(ctx context.Context, s *Statement) error {
	after := int64(0)
	if !s.From.IsZero() {
		n, err := l.entriesBefore(ctx, s.Account, s.From)
		if err != nil {
			return err
		}
		after = max(0, min(n, s.Head.Seq)-1)
	}
	if after > 0 {
		list, err := l.store.Entries(ctx, EntryQuery{Account: s.Account, After: after - 1, Limit: 1})
		if err != nil {
			return err
		}
		for _, e := range list {
			s.Base = e.Hash
		}
	}
	for after < s.Head.Seq {
		list, err := l.store.Entries(ctx, EntryQuery{Account: s.Account, After: after, Limit: int(min(maxLimit, s.Head.Seq-after))})
		if err != nil || len(list) == 0 {
			return err
		}
		s.Entries = append(s.Entries, list...)
		after += int64(len(list))
	}
	return nil
}

// period returns where the period begins and ends among the entries.
func (s *Statement) period() (first, last int) {
	first = len(s.Entries)
	if i := slices.IndexFunc(s.Entries, func(e Entry) bool { return !e.At.Before(s.From) }); i >= 0 {
		first = i
	}
	last = len(s.Entries)
	if !s.To.IsZero() {
		if i := slices.IndexFunc(s.Entries, func(e Entry) bool { return !e.At.Before(s.To) }); i >= 0 {
			last = max(i, first)
		}
	}
	return first, last
}

// balances goes back from the sealed totals.
func (s *Statement) balances() (opening, closing Totals) {
	t := s.Head.Totals
	back := func(entries []Entry) Totals {
		for _, e := range slices.Backward(entries) {
			t.move(e.To, e.From, e.Amount)
		}
		return t
	}
	closing = back(s.Entries[s.Last:])
	return back(s.Entries[s.First:s.Last]), closing
}

// Period returns the entries of the period, none when First and Last are not
// those of a statement.
func (s *Statement) Period() []Entry {
	if s.First < 0 || s.Last < s.First || s.Last > len(s.Entries) {
		return nil
	}
	return s.Entries[s.First:s.Last]
}

// message returns what is signed: what is not in it is proven by the entries'
// hashes.
func (s *Statement) message() []byte {
	b := sealed(nil, "keytoll credits statement 1").text(s.Key).text(string(s.Algorithm)).text(string(s.Account)).
		int(unixMicro(s.From)).int(unixMicro(s.To)).int(int64(s.First)).int(int64(s.Last)).int(int64(len(s.Entries))).int(s.Index)
	for _, t := range [...]Totals{s.Opening, s.Closing} {
		for _, a := range t.amounts() {
			b = b.int(int64(*a))
		}
	}
	leaf := s.Head.leaf()
	b = append(append(b, s.Base[:]...), leaf[:]...)
	for i := range s.Proof {
		b = append(b, s.Proof[i][:]...)
	}
	return b.text(string(s.Seal.message())).text(string(s.Seal.Signature))
}

// unixMicro tells the zero time from the year 1970.
func unixMicro(t time.Time) int64 {
	if t.IsZero() {
		return -1 << 63
	}
	return t.UnixMicro()
}

// VerifyStatement reports whether s proves what it says, with keys that its
// reader trusts, and without the ledger: the signatures of the statement and of
// its seal, the way from the account's head to the seal's root, each entry's hash,
// and the balances. The error says what does not fit; it matches [ErrUnproven].
// That the seal is the one that was published is for the caller to look at:
// compare s.Seal.Root.
func VerifyStatement(s *Statement, keys ...*SealKey) error {
	const op = "credits.VerifyStatement"
	if s == nil {
		return errors.Wrap(op, refuse(ErrUnproven, "there is no statement"))
	}
	if err := s.Seal.Verify(keys...); err != nil {
		return errors.Wrap(op, err)
	}
	if err := checkSignature(signature{s.Key, s.Algorithm, s.Signature}, s.message(), keys); err != nil {
		return errors.Wrap(op, err)
	}
	root, ok := merkleRoot(s.Head.leaf(), s.Index, s.Seal.Accounts, s.Proof)
	switch {
	case !ok || root != s.Seal.Root:
		return errors.Wrap(op, refuse(ErrUnproven, "its head is not one that was sealed"))
	case s.Account != s.Head.Account:
		return errors.Wrap(op, refuse(ErrUnproven, "its head is another account's"))
	case s.To.After(s.Seal.Begun):
		return errors.Wrap(op, refuse(ErrUnproven, "it was sealed before its end"))
	}
	return errors.Wrap(op, s.checkEntries())
}

// checkEntries reports what is wrong with the entries and the balances, given the
// head.
func (s *Statement) checkEntries() error {
	bad := func(why string) error { return refuse(ErrUnproven, why) }
	seq, hash := s.Head.Seq-int64(len(s.Entries)), s.Base
	if seq < 0 || (seq == 0) != (hash == Hash{}) {
		return bad("its entries do not lead from the first one, or from another one, to the sealed head")
	}
	var last time.Time
	for i := range s.Entries {
		e := &s.Entries[i]
		if seq++; e.Account != s.Account || e.Seq != seq || e.Amount <= 0 || !e.moves() || e.At.Before(last) || e.Chain(hash) != e.Hash {
			return bad("an entry was changed, added or left out")
		}
		hash, last = e.Hash, e.At
	}
	if hash != s.Head.Hash {
		return bad("its last entry is not the one that was sealed")
	}
	first, end := s.period()
	switch {
	case first != s.First || end != s.Last || first > 1:
		return bad("its entries are not those of the period")
	case first == 0 && s.Head.Seq > int64(len(s.Entries)):
		return bad("the entry before the period is missing")
	}
	opening, closing := s.balances()
	switch {
	case opening != s.Opening || closing != s.Closing || !opening.Balanced() || !closing.Balanced():
		return bad("its balances are not what the entries give")
	case s.Head.Seq == int64(len(s.Entries)) && first == 0 && opening != Totals{}:
		return bad("it opens with credits that nobody granted")
	}
	return nil
}

// Extends reports whether the journal that s is of went through h, the account's
// head in an earlier seal, so that nothing up to there was changed since. Both are
// to be checked by themselves before. The statement must begin before h, or the
// error says so; it matches [ErrUnproven].
func (s *Statement) Extends(h Head) error {
	hash, why := s.Base, ""
	switch i := h.Seq - (s.Head.Seq - int64(len(s.Entries))); { // in Entries, after h
	case h.Account != s.Account:
		why = "the head is another account's"
	case i < 0:
		why = "the statement begins after the head; ask for one that begins before"
	case i > int64(len(s.Entries)):
		why = "the head is later than the one of the statement"
	case i > 0:
		hash = s.Entries[i-1].Hash
	}
	if why == "" && hash != h.Hash {
		why = "the journal was changed since the head was sealed"
	}
	if why == "" {
		return nil
	}
	return errors.Wrap("credits.Statement.Extends", refuse(ErrUnproven, why))
}
