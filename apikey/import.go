package apikey

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// importSize is the number of keys imported in one change.
const importSize = 1000

const importLabel = "keytoll/import/v1\x00"

// An ImportRow is a key that exists elsewhere, or did.
type ImportRow struct {
	// Spec says whose key it is and what it may do, as for Create. ExpiresAt may be
	// over, but comes after CreatedAt, from which TTL counts.
	Spec Spec

	// Text is the key's own text, of the service's format, of one of
	// [Options.Former] or of the shape of one of [Options.Legacy]; zero where nobody kept it. The service keeps its digest only.
	Text Secret
	// Scheme and Encoded prove the text where it is not given: the [Legacy.Name]
	// and the digest that the old system kept, up to 1024 bytes.
	Scheme, Encoded string
	// Handle is what [Legacy.Handle] returns for the text, up to 255 bytes: required
	// with Encoded where the Legacy has such a function, and empty otherwise.
	Handle string
	// Start and Last4 are what may be shown of the key, up to 64 and 4 printable
	// ASCII characters. Empty ones are taken from Text, or of the prefix.
	Start, Last4 string

	// CreatedAt and LastUsedAt are from the year 1 on and not after now. Zero is now,
	// and never.
	CreatedAt, LastUsedAt time.Time
	// State is active (or zero), disabled or revoked. RevokedReason says why.
	State         State
	RevokedReason string
}

// An ImportOutcome says what became of a row.
type ImportOutcome string

const (
	ImportDone     ImportOutcome = "imported"
	ImportReplayed ImportOutcome = "replayed" // an earlier import with this Spec.RequestID brought it in
	ImportRefused  ImportOutcome = "refused"  // it is not in, and Err says what is wrong with it
	ImportUntried  ImportOutcome = "untried"  // it is not in, because the store failed at an earlier one
	ImportUnknown  ImportOutcome = "unknown"  // the store failed at it; it may be in
)

// An ImportResult is what became of one row.
type ImportResult struct {
	Outcome ImportOutcome
	Key     Key   // of a row that is in
	Err     error // of one that is not, or may be; it holds neither text nor digest
}

// Import brings in keys that exist elsewhere, so that nobody needs a new one. It
// returns a result for each row, in their order; a row that is refused does not
// keep others out. Refused are rows with faults ([errors.Invalid], all at once),
// those of a key that is in the store or in an earlier row ([ErrExists]), and
// those whose request ID asked for something else ([ErrIntent]).
//
// The error is that of the store or of ctx, and means that some rows are untried
// or unknown. Rows with a Spec.RequestID can then be given again as they are;
// of others, those that are in are refused with ErrExists.
//
// Keys are written a thousand at a time, each with its event. They keep their
// text, environment and end; scopes and settings come as they are, and names
// need not differ: an owner's [Policy] and the registry are not asked, nor are
// keys counted. What they bound at each Verify they bound here too.
//
// A key that came as a digest is proven by that until its first use, and by the
// service's own afterwards. A slow hash guards texts that can be guessed and a
// fast one does not: have a pepper where texts may hold less than [MinEntropy]
// random bits.
func (s *Service) Import(ctx context.Context, rows []ImportRow) ([]ImportResult, error) {
	now := s.clock()
	results := make([]ImportResult, len(rows))
	drafts := make([]importDraft, 0, len(rows))
	handles, ids := make(map[string]int, len(rows)), make(map[string]int, len(rows))
	for i := range rows {
		d := importDraft{row: i, scheme: rows[i].Scheme}
		err := s.draftImport(&rows[i], &d, now)
		if err == nil {
			err = earlier(&d, handles, ids)
		}
		if err != nil {
			results[i] = ImportResult{Outcome: ImportRefused, Err: err}
			continue
		}
		drafts = append(drafts, d)
	}
	for chunk := range slices.Chunk(drafts, importSize) {
		if err := s.importChunk(ctx, chunk, results, now); err != nil {
			for i := range results {
				if results[i].Outcome == "" {
					results[i] = ImportResult{Outcome: ImportUntried, Err: err}
				}
			}
			return results, err
		}
	}
	return results, nil
}

// An importDraft is the record of a row without fault.
type importDraft struct {
	Record
	row    int
	scheme string
}

// earlier refuses what an earlier row brings too.
func earlier(d *importDraft, handles, ids map[string]int) error {
	other, taken := handles[d.Handle]
	what := "the same key"
	if !taken {
		other, taken = ids[d.Key.ID]
		what = "the same request ID of the same owner"
	}
	if taken {
		return &errors.Error{
			Code: errors.Exists, Op: "apikey.Import", Msg: "rows[" + strconv.Itoa(other) + "] has " + what + "; give it once", Err: ErrExists,
		}
	}
	handles[d.Handle], ids[d.Key.ID] = d.row, d.row
	return nil
}

// importChunk brings drafts in, all at once, or, when that is refused, each half
// by itself. The error means that the store could not decide.
func (s *Service) importChunk(ctx context.Context, drafts []importDraft, results []ImportResult, now time.Time) error {
	if err := ctx.Err(); err != nil {
		return s.fault(ctx, "apikey.Import", err)
	}
	var c Change
	for i := range drafts {
		d := &drafts[i]
		c.Insert = append(c.Insert, d.Record)
		c.Events = append(c.Events, keyEvents(ctx, EventImported, d.scheme, new(Key), &d.Key, now)...)
	}
	err := s.apply(ctx, c)
	switch {
	case err == nil:
		for i := range drafts {
			results[drafts[i].row] = ImportResult{Outcome: ImportDone, Key: drafts[i].Key}
		}
		return nil
	case !refused(err):
		return s.importFailed(ctx, drafts, results, s.fault(ctx, "apikey.Import", err))
	case len(drafts) == 1:
		return s.importRefused(ctx, &drafts[0], results, err)
	}
	half := len(drafts) / 2
	if err := s.importChunk(ctx, drafts[:half], results, now); err != nil {
		return err
	}
	return s.importChunk(ctx, drafts[half:], results, now)
}

// importRefused notes why the store refused one draft.
func (s *Service) importRefused(ctx context.Context, d *importDraft, results []ImportResult, err error) error {
	const op = "apikey.Import"
	result := &results[d.row]
	*result = ImportResult{Outcome: ImportRefused, Err: s.fault(ctx, op, err)}
	if !errors.Is(err, ErrExists) {
		return nil
	}
	result.Err = &errors.Error{
		Code: errors.Exists, Op: op, Msg: "a key that is found in the same way is in the store already; it stays as it is", Err: ErrExists,
	}
	if d.Intent == [32]byte{} {
		return nil
	}
	made, err := s.byID(ctx, d.Key.ID)
	switch {
	case errors.Is(err, ErrNotFound): // it is the handle that is taken
	case err != nil:
		err = s.fault(ctx, op, err)
		*result = ImportResult{Outcome: ImportUnknown, Err: err}
		return err
	case made.Intent != d.Intent:
		result.Err = errors.Wrap(op, ErrIntent)
	case made.Key.State == StateDeleted:
		result.Err = errors.Wrap(op, errTombstone)
	default:
		s.uses.overlay(&made.Key)
		*result = ImportResult{Outcome: ImportReplayed, Key: made.Key}
	}
	return nil
}

// importFailed notes what became of drafts at which the store failed, as far as
// it tells: a change comes true as a whole, so the first that is not there ends
// the search. That it is not there proves nothing, for it may be on its way.
func (s *Service) importFailed(ctx context.Context, drafts []importDraft, results []ImportResult, fault error) error {
	for i := range drafts {
		results[drafts[i].row] = ImportResult{Outcome: ImportUnknown, Err: fault}
	}
	for i := range drafts {
		d := &drafts[i]
		made, err := s.byID(ctx, d.Key.ID)
		if err != nil || made.Handle != d.Handle || made.Intent != d.Intent {
			return fault
		}
		results[d.row] = ImportResult{Outcome: ImportDone, Key: made.Key}
	}
	return nil
}
