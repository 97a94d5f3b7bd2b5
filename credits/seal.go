package credits

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// ErrUnproven is what a seal, a statement or a tree of heads is refused with that
// is not what was signed, or not signed by any of the given keys. The message says
// what does not fit.
var ErrUnproven error = &errors.Error{Code: errors.Invalid, Msg: "this does not prove what it says"}

// A Head is where one account's journal ended when it was sealed, and what its
// buckets held then.
type Head struct {
	Account AccountID
	Seq     int64 // of the last entry
	Hash    Hash  // of the last entry
	Totals  Totals
}

// leaf returns the hash that stands for h in a tree.
func (h *Head) leaf() Hash {
	var scratch [512]byte
	b := sealed(scratch[:0], "keytoll credits head 1").text(string(h.Account)).int(h.Seq)
	b = append(b, h.Hash[:]...)
	for _, a := range h.Totals.amounts() {
		b = b.int(int64(*a))
	}
	return leafHash(b)
}

// A Seal is the signed root of a tree whose leaves are the [Head] of every
// account, in order of ID. Publish it where its reader trusts that it cannot be
// replaced: in a mail, a public log, the books of a partner. Whoever has it can be
// shown that a statement is part of what was sealed.
type Seal struct {
	Begun     time.Time // by the store's clock: all that took effect before is sealed
	At        time.Time // when the last head was read
	Accounts  int64
	Root      Hash
	Key       string // the name of the key that signed it
	Algorithm SealAlgorithm
	Signature []byte
}

// message returns what is signed.
func (s *Seal) message() []byte {
	b := sealed(nil, "keytoll credits seal 1").text(s.Key).text(string(s.Algorithm)).
		int(s.Begun.UnixMicro()).int(s.At.UnixMicro()).int(s.Accounts)
	return append(b, s.Root[:]...)
}

// Verify reports whether one of keys has signed s: nil, or [ErrUnproven].
func (s *Seal) Verify(keys ...*SealKey) error {
	return errors.Wrap("credits.Seal.Verify", checkSignature(signature{s.Key, s.Algorithm, s.Signature}, s.message(), keys))
}

// A SealTree is a seal with the heads that it was made of: from it, statements
// are given to the accounts' holders for as long as it is kept. It is immutable
// and safe for concurrent use. To keep it, store its Seal and its Heads, which
// take some 200 bytes an account, and make it again with [NewSealTree].
type SealTree struct {
	seal  Seal
	heads []Head
	tree  merkleTree
}

// NewSealTree makes the tree of a seal again. The heads are in order of Account,
// each once, and give the seal's root, or it returns [ErrUnproven]. The signature
// is not looked at; see [Seal.Verify].
func NewSealTree(seal Seal, heads []Head) (*SealTree, error) {
	const op = "credits.NewSealTree"
	seal.Signature = slices.Clone(seal.Signature)
	t := &SealTree{seal: seal, heads: slices.Clone(heads)}
	leaves := make([]Hash, len(heads))
	for i := range heads {
		if i > 0 && heads[i].Account <= heads[i-1].Account {
			return nil, errors.Wrap(op, refuse(ErrUnproven, "the heads are not in the order of their accounts, each once"))
		}
		leaves[i] = heads[i].leaf()
	}
	t.tree = newMerkleTree(leaves)
	if int64(len(heads)) != seal.Accounts || t.tree.root() != seal.Root {
		return nil, errors.Wrap(op, refuse(ErrUnproven, "the heads are not those that were sealed"))
	}
	return t, nil
}

// Seal returns the seal.
func (t *SealTree) Seal() Seal {
	s := t.seal
	s.Signature = slices.Clone(s.Signature)
	return s
}

// Heads returns the heads, in order of Account.
func (t *SealTree) Heads() []Head { return slices.Clone(t.heads) }

// find returns where the head of an account is, and false when it is not there.
func (t *SealTree) find(account AccountID) (int, bool) {
	return slices.BinarySearchFunc(t.heads, account, func(h Head, id AccountID) int { return cmp.Compare(h.Account, id) })
}

// Seal reads the head of every account and signs the root of their tree. What is
// due is posted to the journals before, so that the seal covers all that took
// effect before it began. Accounts are read a few hundred at a time, each as of
// one moment between the seal's Begun and its At; commands go on meanwhile.
func (l *Ledger) Seal(ctx context.Context, by *Sealer) (*SealTree, error) {
	const op = "credits.Seal"
	if by == nil || by.sign == nil {
		return nil, &errors.Error{Code: errors.Invalid, Op: op, Msg: "the sealer is nil or zero; give one that NewSealer made"}
	}
	t := &SealTree{seal: Seal{Key: by.check.name, Algorithm: by.check.algorithm}}
	const page = 250
	for ids := []AccountID{""}; len(ids) > 0; {
		after := ids[len(ids)-1]
		var err error
		if ids, err = l.store.Accounts(ctx, after, page); err == nil {
			err = l.sealHeads(ctx, t, ids)
		}
		if err != nil {
			return nil, atBoundary(op, err)
		}
	}
	if t.seal.Begun.IsZero() { // there is no account
		now, err := l.readHeads(ctx, []AccountID{"-"}, make(map[AccountID]Head), new([]AccountID))
		if err != nil {
			return nil, atBoundary(op, err)
		}
		t.seal.Begun, t.seal.At = now, now
	}
	leaves := make([]Hash, len(t.heads))
	for i := range t.heads {
		leaves[i] = t.heads[i].leaf()
	}
	t.tree = newMerkleTree(leaves)
	t.seal.Accounts, t.seal.Root = int64(len(leaves)), t.tree.root()
	t.seal.Signature = by.sign(t.seal.message())
	return t, nil
}

// sealHeads adds the heads of some accounts, in their order.
func (l *Ledger) sealHeads(ctx context.Context, t *SealTree, ids []AccountID) error {
	if len(ids) == 0 {
		return nil
	}
	heads, due := make(map[AccountID]Head, len(ids)), []AccountID(nil)
	now, err := l.readHeads(ctx, ids, heads, &due)
	if err != nil {
		return err
	}
	if t.seal.Begun.IsZero() {
		t.seal.Begun = now
	}
	for _, id := range due {
		if err := l.update(ctx, Need{Account: id}, func(st *State, now time.Time) error {
			_, err := st.advance(now)
			return err
		}); err != nil {
			return err
		}
	}
	if len(due) > 0 {
		if now, err = l.readHeads(ctx, due, heads, new([]AccountID)); err != nil {
			return err
		}
	}
	if now.After(t.seal.At) {
		t.seal.At = now
	}
	for _, id := range ids {
		t.heads = append(t.heads, heads[id])
	}
	return nil
}

// readHeads puts the heads of the accounts into a map, and those that have
// something due into a list, and returns the store's clock.
func (l *Ledger) readHeads(ctx context.Context, ids []AccountID, heads map[AccountID]Head, due *[]AccountID) (time.Time, error) {
	needs := make([]Need, len(ids))
	for i, id := range ids {
		needs[i] = Need{Account: id, Limit: 1} // one row of each kind tells
	}
	var at time.Time
	err := l.store.View(ctx, needs, func(now time.Time, states []*State) error {
		at, *due = micros(now), (*due)[:0]
		for _, st := range states {
			a := &st.Account
			heads[a.ID] = Head{a.ID, a.Seq, a.Head, a.Totals}
			if st.anyDue(now) {
				*due = append(*due, a.ID)
			}
		}
		return nil
	})
	return at, err
}

// anyDue reports whether a loaded row is due.
func (s *State) anyDue(now time.Time) bool {
	return slices.ContainsFunc(s.Lots, func(r LotRow) bool { return isDue(r.Lot.Due(), now) }) ||
		slices.ContainsFunc(s.Ops, func(r OpRow) bool { return isDue(r.Op.Due(), now) }) ||
		slices.ContainsFunc(s.Schedules, func(r ScheduleRow) bool { return isDue(r.Schedule.Due(), now) })
}

// sealed begins the encoding of something that is hashed or signed, with what it
// is, so that it can be taken for nothing else.
func sealed(b []byte, what string) intent { return intent(b).text(what) }
