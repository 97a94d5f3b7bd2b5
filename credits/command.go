package credits

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Grant adds a lot of credits to an account.
type Grant struct {
	Account     AccountID
	ID          OpID
	Amount      Amount     // more than 0
	Priority    int        // -MaxPriority to MaxPriority; lower burns first
	Category    Category   // zero: Paid
	Only        Operations // what it can be spent on, see Only; zero: everything
	EffectiveAt time.Time  // zero: now. Later than now: pending until then
	ExpiresAt   time.Time  // zero: never. The lot cannot be spent from this instant on
	Note        string     // up to MaxNoteBytes
}

// A Hold sets credits aside before the work is done. It pins the lots it takes
// from: what it holds can neither be spent by others nor expire. It ends by
// exactly one of capture, release and time-out.
type Hold struct {
	Account   AccountID
	ID        OpID          // names the hold from now on
	Amount    Amount        // 0 or more; 0 holds nothing and can be captured at 0
	TTL       time.Duration // zero: Options.HoldTTL; NoTimeout: none; at most Options.MaxHoldTTL
	Key       string        // the API key or the like that asked, for usage reports; may be empty
	Operation string        // what for, for usage reports, budgets and restricted lots; may be empty
	Price     string        // version of the price table that Amount was worked out by; may be empty
	Note      string        // up to MaxNoteBytes
	Overrun   Overrun       // what a capture of more than is held does; zero: it is refused
	DebtLimit Amount        // with OverrunDebt: the most that the account may owe after such a capture; 0 to MaxAmount
	Late      Late          // what a capture after the time-out does; zero: it is refused
}

// NoTimeout as the TTL of a hold means that it stays open until it is captured
// or released, for ever if need be.
const NoTimeout time.Duration = -1

// A Capture spends what a hold set aside, in the order in which the hold took
// it. Without Keep it is final: the rest goes back to the lots it came from in
// the same step, and the capture is the hold's one terminal record, needing no
// id of its own. Amount 0 spends nothing; All spends whatever is still held.
//
// What is asked for beyond the hold, and after its time-out, is spent as the
// hold's Overrun and Late say; the receipt tells what was charged. No budget
// refuses a capture, because its work is done.
type Capture struct {
	Account AccountID
	Hold    OpID
	Amount  Amount // 0 or more; 0 with All
	All     bool   // the whole of what is held, or was when it timed out
	Keep    bool   // leave the rest held, for more captures; needs an ID, and not All
	ID      OpID   // with Keep only
	Note    string // with Keep only; up to MaxNoteBytes
}

// A Release ends a hold and gives what it still sets aside back to the very lots
// it came from. What came from a lot that has expired meanwhile expires with it.
type Release struct {
	Account AccountID
	Hold    OpID
}

// An Extend lets an open hold last until TTL from now, or longer if it does
// already. A hold lasts no longer than Options.MaxHoldLife from when it was made,
// unless it was made to: the receipt, which is the hold's, tells by its Deadline. It writes no entry and
// has no id: to repeat it is harmless. One that changes nothing is Replayed.
type Extend struct {
	Account AccountID
	Hold    OpID
	TTL     time.Duration // zero: Options.HoldTTL; at most Options.MaxHoldTTL; not NoTimeout, which a hold asks for when it is made
}

// A Debit spends available credits at once: a hold and its capture in one step.
// A debit that was refused stays refused: its id is used up, and a retry gets the
// same [*DeniedError]. So nobody who was told "no" is charged by a stray retry.
type Debit struct {
	Account   AccountID
	ID        OpID
	Amount    Amount // 0 or more
	Key       string // as in Hold
	Operation string // as in Hold
	Price     string // as in Hold
	Note      string // up to MaxNoteBytes
}

// A Refund gives back what a debit or a hold's captures spent, to the very lots,
// the last one taken first. A lot that has expired meanwhile is not revived: its
// share becomes a new lot of the same priority and category, which lives as long
// from now as the old one had left when it was spent from.
type Refund struct {
	Account AccountID
	ID      OpID
	Of      OpID   // a debit, or a hold that was captured
	Amount  Amount // more than 0, up to what was spent and not refunded; 0 with All
	All     bool   // all that was spent and not refunded
	Note    string // up to MaxNoteBytes
}

// A Receipt is the result of an accepted command, and of every retry of it.
type Receipt struct {
	Account  AccountID
	Op       OpID // the command's id; of final captures and of releases the hold's
	Kind     Kind
	At       time.Time  // when it was accepted
	Amount   Amount     // granted, held, captured, given back, spent or refunded by it; less than a capture asked for when OverrunCapped has capped it
	Parts    Parts      // the lots, as right after it; of captures and releases all the hold took; Refunded is 0
	Lot      LotID      // of a grant, the lot it made; else 0
	Hold     HoldStatus // of a hold: how far it has come, on a replay too
	Deadline time.Time  // of a hold, as it stands now; zero: none
	Totals   Totals     // of the account, right after it was accepted
	Alerts   []Alert    // thresholds of budgets that it was the first to reach, by budget and percent; usually none
	Replayed bool       // it had been accepted before; nothing was done now
}

// A command is one of the structs above: the core's only input.
type command interface {
	check(f *errors.Faults, opt *settings)
	need(n *Need)
	apply(st *State, now time.Time, opt *settings, scratch []byte) (Receipt, error)
}

var (
	_ command = (*Grant)(nil)
	_ command = (*Hold)(nil)
	_ command = (*capturing)(nil)
	_ command = (*Release)(nil)
	_ command = (*Extend)(nil)
	_ command = (*Debit)(nil)
	_ command = (*Refund)(nil)
)

func (c *Grant) check(f *errors.Faults, _ *settings) {
	checkID(f, "Account", string(c.Account))
	checkNewID(f, c.ID)
	checkAmount(f, c.Amount, Micro)
	checkText(f, "Note", c.Note, MaxNoteBytes)
	if c.Priority < -MaxPriority || c.Priority > MaxPriority {
		f.Add("Priority is %d; give %d to %d", c.Priority, -MaxPriority, MaxPriority)
	}
	if int(c.Category) >= len(categories) {
		f.Add("Category is %d; give Paid, Plan or Promo", c.Category)
	}
	c.Only.check(f, "Only")
	checkInstant(f, "EffectiveAt", c.EffectiveAt)
	checkInstant(f, "ExpiresAt", c.ExpiresAt)
	if !c.EffectiveAt.IsZero() && !c.ExpiresAt.IsZero() && !micros(c.ExpiresAt).After(micros(c.EffectiveAt)) {
		f.Add("ExpiresAt is not after EffectiveAt; give a later instant")
	}
}

func (c *Hold) check(f *errors.Faults, opt *settings) {
	checkID(f, "Account", string(c.Account))
	checkNewID(f, c.ID)
	checkAmount(f, c.Amount, 0)
	checkText(f, "Key", c.Key, MaxIDBytes)
	checkText(f, "Operation", c.Operation, MaxIDBytes)
	checkText(f, "Price", c.Price, MaxIDBytes)
	checkText(f, "Note", c.Note, MaxNoteBytes)
	if c.TTL != 0 && c.TTL != NoTimeout && (c.TTL < time.Microsecond || c.TTL > opt.maxHoldTTL) {
		f.Add("TTL is %v; give 1µs to %v, or NoTimeout", c.TTL, opt.maxHoldTTL)
	}
	if c.Overrun > OverrunDebt {
		f.Add("Overrun is %d; give OverrunRefused, OverrunCapped or OverrunDebt", c.Overrun)
	}
	if why := c.DebtLimit.check(0); why != "" {
		f.Add("DebtLimit %s", why)
	}
	if c.DebtLimit != 0 && c.Overrun != OverrunDebt {
		f.Add("DebtLimit is %v without OverrunDebt; give both or none", c.DebtLimit)
	}
	if c.Late > LateCharged {
		f.Add("Late is %d; give LateRefused or LateCharged", c.Late)
	}
}

func (c *Extend) check(f *errors.Faults, opt *settings) {
	checkID(f, "Account", string(c.Account))
	checkID(f, "Hold", string(c.Hold))
	if c.TTL != 0 && (c.TTL < time.Microsecond || c.TTL > opt.maxHoldTTL) {
		f.Add("TTL is %v; give 1µs to %v", c.TTL, opt.maxHoldTTL)
	}
}

func (c *Capture) check(f *errors.Faults, _ *settings) {
	checkID(f, "Account", string(c.Account))
	checkID(f, "Hold", string(c.Hold))
	checkAmount(f, c.Amount, 0)
	checkText(f, "Note", c.Note, MaxNoteBytes)
	switch {
	case c.All && c.Amount != 0:
		f.Add("Amount is %v and All is set; give one of them", c.Amount)
	case c.All && c.Keep:
		f.Add("All and Keep are both set; capturing all keeps nothing, so leave Keep out")
	}
	switch {
	case c.Keep:
		checkNewID(f, c.ID)
	case c.ID != "" || c.Note != "":
		f.Add("ID or Note without Keep; a final capture is known by its hold, so leave them out")
	}
}

func (c *Release) check(f *errors.Faults, _ *settings) {
	checkID(f, "Account", string(c.Account))
	checkID(f, "Hold", string(c.Hold))
}

func (c *Debit) check(f *errors.Faults, _ *settings) {
	checkID(f, "Account", string(c.Account))
	checkNewID(f, c.ID)
	checkAmount(f, c.Amount, 0)
	checkText(f, "Key", c.Key, MaxIDBytes)
	checkText(f, "Operation", c.Operation, MaxIDBytes)
	checkText(f, "Price", c.Price, MaxIDBytes)
	checkText(f, "Note", c.Note, MaxNoteBytes)
}

func (c *Refund) check(f *errors.Faults, _ *settings) {
	checkID(f, "Account", string(c.Account))
	checkNewID(f, c.ID)
	checkID(f, "Of", string(c.Of))
	checkText(f, "Note", c.Note, MaxNoteBytes)
	checkAmountOrAll(f, c.Amount, c.All)
}

func checkID(f *errors.Faults, field, id string) {
	if why := badID(id); why != "" {
		f.Add("%s %s", field, why)
	}
}

// checkNewID checks the id that a command gives itself.
func checkNewID(f *errors.Faults, id OpID) {
	checkID(f, "ID", string(id))
	if strings.HasPrefix(string(id), reservedPrefix) {
		f.Add("ID %s begins with %q, as those do that the ledger makes itself; begin it otherwise", quote(string(id)), reservedPrefix)
	}
}

// checkRow checks what names one row of an account.
func checkRow[ID ~string](op string, account AccountID, id ID) error {
	f := errors.Faults{Op: op}
	checkID(&f, "Account", string(account))
	checkID(&f, "ID", string(id))
	return f.Err()
}

func checkText(f *errors.Faults, field, text string, most int) {
	if why := badText(text, most); why != "" {
		f.Add("%s %s", field, why)
	}
}

func checkAmount(f *errors.Faults, a, least Amount) {
	if why := a.check(least); why != "" {
		f.Add("Amount %s", why)
	}
}

// checkAmountOrAll checks the amount of a command that can also ask for all there
// is.
func checkAmountOrAll(f *errors.Faults, a Amount, all bool) {
	switch {
	case all && a != 0:
		f.Add("Amount is %v and All is set; give one of them", a)
	case !all && a == 0:
		f.Add("Amount is 0; give more than 0, or All")
	case !all:
		checkAmount(f, a, Micro)
	}
}

// checkInstant keeps instants where every store can hold them.
func checkInstant(f *errors.Faults, field string, t time.Time) {
	if y := t.UTC().Year(); !t.IsZero() && (y < 1970 || y > 9998) {
		f.Add("%s is in the year %d; give 1970 to 9998", field, y)
	}
}

// micros returns t in UTC at the ledger's precision; the zero time stays zero.
func micros(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}

// An intent is the canonical encoding of what the caller asked for: a kind, then
// each field, texts with their length before them. It holds no clock and nothing
// that was derived, so a retry at any time has the same: also of a command that
// was accepted before there were some of the fields, which come last.
type intent []byte

func newIntent(scratch []byte, k Kind) intent {
	return append(scratch[:0], 1, byte(k)) // 1: the version of this encoding
}

func (b intent) text(s string) intent {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// added is text of a field that is younger than the encoding: its zero value is
// not encoded.
func (b intent) added(s string) intent {
	if s == "" {
		return b
	}
	return b.text(s)
}

func (b intent) int(n int64) intent { return binary.BigEndian.AppendUint64(b, uint64(n)) }

func (b intent) bool(v bool) intent {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func (b intent) sum() [32]byte { return sha256.Sum256(b) }

func (c *Grant) intent(scratch []byte) [32]byte {
	return newIntent(scratch, KindGrant).text(string(c.Account)).text(string(c.ID)).int(int64(c.Amount)).
		int(int64(c.Priority)).int(int64(c.Category)).int(micros(c.EffectiveAt).UnixMicro()).
		int(micros(c.ExpiresAt).UnixMicro()).text(c.Note).added(string(c.Only)).sum()
}

func (c *Hold) intent(scratch []byte) [32]byte {
	b := newIntent(scratch, KindHold).text(string(c.Account)).text(string(c.ID)).int(int64(c.Amount)).
		int(int64(c.TTL)).text(c.Key).text(c.Operation).text(c.Note).added(c.Price)
	if c.Overrun != OverrunRefused || c.Late != LateRefused { // added, too; they begin as no text does that was
		b = b.int(int64(c.Overrun)).int(int64(c.DebtLimit)).int(int64(c.Late))
	}
	return b.sum()
}

func (c *Capture) intent(scratch []byte) [32]byte {
	return newIntent(scratch, KindCapture).text(string(c.Account)).text(string(c.ID)).text(string(c.Hold)).
		int(int64(c.Amount)).text(c.Note).sum()
}

func (c *Debit) intent(scratch []byte) [32]byte {
	return newIntent(scratch, KindDebit).text(string(c.Account)).text(string(c.ID)).int(int64(c.Amount)).
		text(c.Key).text(c.Operation).text(c.Note).added(c.Price).sum()
}

func (c *Refund) intent(scratch []byte) [32]byte {
	return newIntent(scratch, KindRefund).text(string(c.Account)).text(string(c.ID)).text(string(c.Of)).
		int(int64(c.Amount)).bool(c.All).text(c.Note).sum()
}
