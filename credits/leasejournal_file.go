package credits

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/keytoll/keytoll/errors"
)

// LeaseJournalOptions of a journal in a file. The zero value, and nil, are the
// defaults.
type LeaseJournalOptions struct {
	// Relaxed answers spends before they are durable, and syncs with each flush. It
	// spares the wait for the disk; after a crash what was spent since the last
	// flush is unknown, and the rest of each lease goes to suspense. Default: every
	// spend is durable before it is answered; those that wait at once share a sync.
	Relaxed bool
	// CompactBytes is the size at which the file is first rewritten with what is
	// still needed alone. Default 1 MiB.
	CompactBytes int64
}

// A FileLeaseJournal is a [LeaseJournal] in one file of this machine. While it is
// open a lock file beside it keeps others out. It starts no goroutine and is safe
// for concurrent use.
type FileLeaseJournal struct {
	path    string
	opt     LeaseJournalOptions
	lock    *os.File
	earlier []JournaledLease

	mu      sync.Mutex
	pending []byte        // records that were not written yet
	spare   []byte        // the memory of those that were
	added   int64         // marks
	durable int64         // the mark up to which all is
	writing chan struct{} // closed when the write that is under way is over; nil: there is none
	err     error         // of the first failure, or of Close; the journal takes nothing more

	// Of the one that writes.
	file  *os.File
	frame []byte
	seq   uint64
	size  int64
	limit int64 // the size at which to compact
}

var _ LeaseJournal = (*FileLeaseJournal)(nil)

// The file begins with journalMagic. Then come frames, each written at once and
// synced before the next one: magic, length of the body, number of the frame, a
// CRC-32C of these and of the body, and the body, which is records. The first one
// is there when the file gets its name. So a torn write is one bad frame at the
// end, and a bad frame with a good one after it is a file that somebody has
// damaged, and so is one whose first frame is bad.
const (
	journalMagic = "keytoll-lease-1\n"
	frameMagic   = "\xa7KTL"
	frameHeader  = 4 + 4 + 8 + 4
)

// OpenLeaseJournal opens or makes the journal at path, whose folder must exist. It
// returns an error of code Conflict when another process has it open, and of code
// Corrupt when the file is damaged: then no spend in it is settled, and a person
// must look. A write that a crash has cut off at the end was never answered, and
// is dropped.
func OpenLeaseJournal(path string, o *LeaseJournalOptions) (*FileLeaseJournal, error) {
	const op = "credits.OpenLeaseJournal"
	j := &FileLeaseJournal{path: path}
	if o != nil {
		j.opt = *o
	}
	if j.opt.CompactBytes == 0 {
		j.opt.CompactBytes = 1 << 20
	}
	f := errors.Faults{Op: op}
	if path == "" {
		f.Add("path is empty; give the name of a file")
	}
	if j.opt.CompactBytes < 0 {
		f.Add("CompactBytes is %d; give 1 or more, or 0 for 1 MiB", j.opt.CompactBytes)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	var err error
	if j.lock, err = lockFile(path + ".lock"); err != nil {
		return nil, errors.Wrap(op, err)
	}
	if err = j.open(); err != nil {
		_ = unlockFile(j.lock)
		return nil, errors.Wrap(op, err)
	}
	return j, nil
}

// open reads what there is and begins a new file with what is still needed.
func (j *FileLeaseJournal) open() error {
	text, err := os.ReadFile(j.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return ioFault("read", err)
	default:
		if j.earlier, err = readJournal(text); err != nil {
			return err
		}
	}
	return j.rewrite(j.earlier)
}

// ioFault is the error of a file.
func ioFault(what string, err error) error {
	return &errors.Error{Code: errors.Unavailable, Msg: "the journal of leases cannot be " + what, Err: err}
}

// readJournal returns the leases of a journal that were not closed.
func readJournal(text []byte) ([]JournaledLease, error) {
	if !strings.HasPrefix(string(text[:min(len(journalMagic), len(text))]), journalMagic) {
		return nil, journalCorrupt("it is no journal of leases")
	}
	var state journalState
	seq := uint64(0)
	for at := len(journalMagic); at < len(text) || seq == 0; {
		body, ok := readFrame(text[at:], seq)
		if !ok && seq == 0 { // it came with the name of the file
			return nil, journalCorrupt("its first frame is damaged")
		}
		if !ok {
			if next, found := laterFrame(text[at+1:]); found {
				return nil, journalCorrupt(fmt.Sprintf("the frame at byte %d is damaged, and one at byte %d is not", at, at+1+next))
			}
			break
		}
		if err := state.replay(body); err != nil {
			return nil, err
		}
		at += frameHeader + len(body)
		seq++
	}
	return state.leases(), nil
}

func journalCorrupt(what string) error {
	return &errors.Error{Code: errors.Corrupt, Msg: "the journal of leases is damaged: " + what + "; keep the file, and resolve its leases by hand"}
}

// readFrame returns the body of the frame at the beginning of text.
func readFrame(text []byte, seq uint64) ([]byte, bool) {
	if len(text) < frameHeader || string(text[:4]) != frameMagic || binary.LittleEndian.Uint64(text[8:]) != seq {
		return nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(text[4:]))
	if n > uint64(len(text)-frameHeader) {
		return nil, false
	}
	body := text[frameHeader : frameHeader+n]
	return body, frameSum(text[:16], body) == binary.LittleEndian.Uint32(text[16:])
}

func frameSum(header, body []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(header, table), table, body)
}

// laterFrame looks for a good frame of any number.
func laterFrame(text []byte) (int, bool) {
	for at := 0; at+frameHeader <= len(text); at++ {
		if string(text[at:at+4]) == frameMagic {
			if _, ok := readFrame(text[at:], binary.LittleEndian.Uint64(text[at+8:])); ok {
				return at, true
			}
		}
	}
	return 0, false
}

// rewrite replaces the file by one that holds those leases alone.
func (j *FileLeaseJournal) rewrite(leases []JournaledLease) error {
	fresh := j.path + ".new"
	file, err := os.OpenFile(fresh, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // the caller names the file
	if err != nil {
		return ioFault("made", err)
	}
	var records []byte
	for i := range leases {
		l := &leases[i]
		records = appendAcquiring(records, l)
		for k := range l.Spends {
			records = appendSpent(records, l.Lease, &l.Spends[k])
		}
	}
	j.seq = 0
	text := j.appendFrame([]byte(journalMagic), records)
	err = writeSynced(file, text)
	if err == nil {
		err = os.Rename(fresh, j.path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(j.path))
	}
	if err != nil {
		_ = file.Close()
		return ioFault("written", err)
	}
	if j.file != nil {
		_ = j.file.Close() // of the old file, which nobody will read
	}
	j.file, j.size = file, int64(len(text))
	j.limit = max(j.opt.CompactBytes, 4*j.size)
	return nil
}

func (j *FileLeaseJournal) appendFrame(b, records []byte) []byte {
	at := len(b)
	b = append(b, frameMagic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(records)))
	b = binary.LittleEndian.AppendUint64(b, j.seq)
	b = binary.LittleEndian.AppendUint32(b, frameSum(b[at:at+16], records))
	j.seq++
	return append(b, records...)
}

func writeSynced(file *os.File, text []byte) error {
	if _, err := file.Write(text); err != nil {
		return err
	}
	return file.Sync()
}

// write makes records durable, and rewrites the file when it has grown. Only one
// goroutine is here at a time.
func (j *FileLeaseJournal) write(records []byte) error {
	j.frame = j.appendFrame(j.frame[:0], records)
	if err := writeSynced(j.file, j.frame); err != nil {
		return ioFault("written", err)
	}
	if j.size += int64(len(j.frame)); j.size < j.limit {
		return nil
	}
	text := make([]byte, j.size)
	if _, err := j.file.ReadAt(text, 0); err != nil && !errors.Is(err, io.EOF) {
		return ioFault("read", err)
	}
	leases, err := readJournal(text)
	if err != nil {
		return err
	}
	return j.rewrite(leases)
}

// Unfinished implements [LeaseJournal].
func (j *FileLeaseJournal) Unfinished() []JournaledLease {
	j.mu.Lock()
	defer j.mu.Unlock()
	leases := j.earlier
	j.earlier = nil
	return leases
}

// note adds a record.
func (j *FileLeaseJournal) note(record func([]byte) []byte) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return 0, j.err
	}
	j.pending = record(j.pending)
	j.added++
	return j.added, nil
}

// Acquiring implements [LeaseJournal].
func (j *FileLeaseJournal) Acquiring(lease JournaledLease) (int64, error) {
	return j.note(func(b []byte) []byte { return appendAcquiring(b, &lease) })
}

// Spent implements [LeaseJournal].
func (j *FileLeaseJournal) Spent(lease OpID, spend LeaseSpend) (int64, error) {
	return j.note(func(b []byte) []byte { return appendSpent(b, lease, &spend) })
}

// Settled implements [LeaseJournal].
func (j *FileLeaseJournal) Settled(lease OpID, n int) error {
	_, err := j.note(func(b []byte) []byte { return appendSettled(b, lease, n) })
	return err
}

// Closed implements [LeaseJournal].
func (j *FileLeaseJournal) Closed(lease OpID) error {
	_, err := j.note(func(b []byte) []byte { return appendClosed(b, lease) })
	return err
}

// Mark implements [LeaseJournal].
func (j *FileLeaseJournal) Mark() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.added
}

// Relaxed implements [LeaseJournal].
func (j *FileLeaseJournal) Relaxed() bool { return j.opt.Relaxed }

// Sync implements [LeaseJournal]. Of those who wait one writes what all of them
// have added.
func (j *FileLeaseJournal) Sync(ctx context.Context, mark int64) error {
	for {
		j.mu.Lock()
		switch {
		case j.durable >= mark:
			j.mu.Unlock()
			return nil
		case j.err != nil:
			err := j.err
			j.mu.Unlock()
			return err
		case j.writing != nil:
			writing := j.writing
			j.mu.Unlock()
			select {
			case <-writing:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		records, upTo := j.pending, j.added
		writing := make(chan struct{})
		j.pending, j.writing = j.spare[:0], writing
		j.mu.Unlock()
		err := j.write(records)
		j.mu.Lock()
		j.spare, j.writing = records, nil
		if err == nil {
			j.durable = upTo
		} else if j.err == nil {
			j.err = err
		}
		j.mu.Unlock()
		close(writing)
	}
}

// Close writes what was noted, and lets others open the journal. Close the lessee
// first. A second Close does nothing.
func (j *FileLeaseJournal) Close() error {
	const op = "credits.FileLeaseJournal.Close"
	err := j.Sync(context.Background(), j.Mark()) //nolint:forbidigo // it is the file that is waited for
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lock == nil {
		return nil
	}
	j.err = &errors.Error{Code: errors.Unavailable, Msg: "the journal of leases is closed"}
	err = errors.Join(err, j.file.Close(), unlockFile(j.lock))
	j.lock = nil
	return errors.Wrap(op, err)
}
