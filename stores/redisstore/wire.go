package redisstore

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/ratelimit"
)

// The parts of the script.
var (
	//go:embed script/numbers.lua
	numbers string
	//go:embed script/request.lua
	request string
	//go:embed script/cells.lua
	cells string
	//go:embed script/values.lua
	values string
	//go:embed script/logs.lua
	logs string
	//go:embed script/decide.lua
	decide string
	//go:embed script/change.lua
	change string
)

// source returns the script.
func source() program {
	return newProgram(numbers, request, cells, values, logs, decide, change)
}

// modeHolds asks the script whether ModeRenew would pass.
const modeHolds = ratelimit.ModeReset + 1

// slack is how much longer than needed a key lives, in milliseconds, where the
// callers' clocks decide: they may disagree by that much.
const slack = 3600e3

// epoch is what the script's times are counted from, in microseconds since the
// Unix epoch.
const epoch = 1 << 53

// What a reply begins with.
const (
	refused = iota
	spent
	free
	windows
	corrupt
	far
)

// A draft is a call of the script in the making. Numbers are written as doubles,
// which hold all of them exactly.
type draft struct {
	buf  []byte
	ends []int // of the keys in buf
	of   []int // for each op, which key it is about, from 1
	keys []string
	arg  string
	at   []int64 // for calendars, the time at which each op is thought to be decided
}

// forget drops what belongs to the request.
func (d *draft) forget() {
	clear(d.keys)
	d.keys, d.arg, d.at = d.keys[:0], "", d.at[:0]
}

func (d *draft) number(n int64) {
	d.buf = binary.LittleEndian.AppendUint64(d.buf, math.Float64bits(float64(n)))
}

// instant is number for a time.
func (d *draft) instant(us int64) { d.number(min(us, 3*epoch/2) - epoch) }

// lay writes the keys and the argument of req.
func (d *draft) lay(s *LimitStore, req *ratelimit.Request, c *call) {
	d.buf, d.ends, d.of = d.buf[:0], d.ends[:0], d.of[:0]
	width, logged, calendar := int64(8*8+nameWidth), int64(0), false
	for i := range req.Ops {
		op := &req.Ops[i]
		if op.Rule.Logged() {
			logged = 1
		}
		if same := shares(req.Ops, i); same >= 0 {
			d.of = append(d.of, d.of[same])
		} else {
			d.buf = s.key(d.buf, op)
			d.ends = append(d.ends, len(d.buf))
			d.of = append(d.of, len(d.ends))
		}
		calendar = calendar || op.Rule.Limit().Algorithm == ratelimit.Calendar
	}
	if c.mode == ratelimit.ModeSettle {
		d.buf = append(s.slot(d.buf, req.Ops[0].Key), "%#"...)
		d.buf = append(d.buf, c.id[:]...)
		d.ends = append(d.ends, len(d.buf))
		width += 4 * 8
	}
	if calendar {
		width += 2 * 8
		for len(d.at) < len(req.Ops) {
			d.at = append(d.at, c.guess)
		}
	}
	d.number(int64(c.mode))
	d.instant(max(c.clock, 0))
	d.number(c.slack())
	d.number(width)
	d.number(logged)
	d.number(c.hold)
	d.instant(c.till)
	d.buf = append(d.buf, c.id[:]...)
	for i := range req.Ops {
		d.op(&req.Ops[i], d.of[i], c.mode)
		if calendar {
			from, to := int64(0), int64(0)
			if r := req.Ops[i].Rule; r.Limit().Algorithm == ratelimit.Calendar {
				from, to = r.WindowAt(d.at[i])
			}
			d.instant(from)
			d.instant(to)
		}
	}
	text, from := string(d.buf), 0
	d.keys = d.keys[:0]
	for _, end := range d.ends {
		d.keys = append(d.keys, text[from:end])
		from = end
	}
	d.arg = text[from:]
}

// shares returns an op before the i-th that has the same key, or -1.
func shares(ops []ratelimit.Op, i int) int {
	if ops[i].Rule.Logged() {
		return -1
	}
	for j := i - 1; j >= 0; j-- {
		if ops[j].Key == ops[i].Key && !ops[j].Rule.Logged() {
			return j
		}
	}
	return -1
}

func (d *draft) op(op *ratelimit.Op, key int, mode ratelimit.Mode) {
	l := op.Rule.Limit()
	if l.Shadow {
		key = -key
	}
	d.number(int64(l.Algorithm))
	d.number(int64(key))
	d.number(min(op.Cost, 2*ratelimit.MaxCount)) // still above every quota
	d.number(l.Count)
	d.number(l.Period.Microseconds())
	d.number(op.Rule.Quota())
	d.number(op.Rule.Window().Microseconds())
	d.number(most(&l))
	d.buf = entry(d.buf, &l)
	if mode != ratelimit.ModeSettle {
		return
	}
	d.number(min(op.Actual, 2*ratelimit.MaxCount)) // a charge is cut to MaxCount
	d.instant(op.Until)
	d.number(op.Rest)
	since := int64(0)
	switch l.Algorithm {
	case ratelimit.FixedWindow, ratelimit.Calendar:
		since, _ = op.Rule.WindowAt(op.Until - 1)
	case ratelimit.SlidingWindow:
		period := l.Period.Microseconds()
		since = (op.Until/period - 2) * period
	}
	d.instant(since)
}

// most returns how many units a token bucket may owe: what refills within
// MaxPeriod.
func most(l *ratelimit.Limit) int64 {
	if l.Algorithm != ratelimit.TokenBucket {
		return 0
	}
	hi, lo := bits.Mul64(uint64(ratelimit.MaxPeriod.Microseconds()), uint64(l.Count))
	if hi >= uint64(l.Period.Microseconds()) {
		return ratelimit.MaxCount
	}
	q, _ := bits.Div64(hi, lo, uint64(l.Period.Microseconds()))
	return int64(min(q, ratelimit.MaxCount))
}

// A reply is what the script returned, as doubles.
type reply string

func (r reply) number(i int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64([]byte(r[8*i : 8*i+8])))
}

func (r reply) at(i int) int64 { return int64(r.number(i)) }

// read fills in req from what the script returned, and reports whether it has to
// be asked again with other windows.
func (d *draft) read(r reply, req *ratelimit.Request, c *call) (again bool, err error) {
	want := 2
	if c.mode <= ratelimit.ModeCharge {
		want = 3 + 4*len(req.Ops)
	}
	if len(r) >= 16 {
		switch status := r.at(0); {
		case status == windows && len(r) == 8*(2+len(req.Ops)) && len(d.at) == len(req.Ops):
			req.Now = r.at(1) + epoch
			for i := range d.at {
				if other := r.number(2 + i); !math.IsInf(other, 1) {
					d.at[i] = int64(other) + epoch
				}
			}
			return true, nil
		case status == corrupt:
			return false, &errors.Error{Code: errors.Corrupt, Op: opApply, Msg: strangeKey}
		case status == far:
			return false, &errors.Error{Code: errors.Invalid, Op: opApply, Msg: "the limit reaches beyond the year 2540; set the clock right, or give a shorter period"}
		case status <= free && len(r) >= 8*want:
			r.fill(req, c)
			return false, nil
		}
	}
	return false, unknownReply(opApply)
}

func (r reply) fill(req *ratelimit.Request, c *call) {
	now := r.at(1)
	req.Now = now + epoch
	if req.Mode <= ratelimit.ModeCharge {
		req.ID = ratelimit.ID{}
		if r.at(0) == spent {
			req.ID = c.id
		}
	}
	if req.Mode != ratelimit.ModeCharge {
		req.Allowed = r.at(0) != refused
	}
	if c.mode > ratelimit.ModeCharge {
		return
	}
	for i := range req.Ops {
		op := &req.Ops[i]
		if req.Mode == ratelimit.ModeTakeUpTo {
			op.Cost = min(op.Cost, r.at(2))
		}
		op.Outcome = ratelimit.Outcome{Remaining: r.at(3 + 4*i), ResetAfter: r.at(5+4*i) - now, Rest: r.at(6 + 4*i)}
		switch until := r.number(4 + 4*i); {
		case until > epoch:
			op.Outcome.RetryAfter = -1
		case until >= -epoch:
			op.Outcome.RetryAfter = int64(until) - now
		}
	}
}

// slot appends the prefix and the tag of a subject, which decides the slot.
func (s *LimitStore) slot(dst []byte, subject string) []byte {
	dst = append(append(dst, s.prefix...), '{')
	return append(plain(dst, s.tagOf(subject)), '}')
}

// tagOf returns the tag of a subject.
func (s *LimitStore) tagOf(subject string) string {
	if s.tag != nil {
		if tag := s.tag(subject); tag != "" {
			return tag
		}
	}
	return subject
}

// key appends the key of an op's state: of a log
//
//	rl:{subject}:name:l
//
// with the algorithm as one letter, and of the cells of all other limits
//
//	rl:{subject}:c
//
// and where the tag is not the subject
//
//	rl:{tag}subject:c
//
// No two states share one: the last letter tells cells from logs, a name has no
// colon, and plain text no brace.
func (s *LimitStore) key(dst []byte, op *ratelimit.Op) []byte {
	dst = s.slot(dst, op.Key)
	if s.tagOf(op.Key) != op.Key {
		dst = plain(dst, op.Key)
	}
	if !op.Rule.Logged() {
		return append(dst, ":c"...)
	}
	l := op.Rule.Limit()
	dst = append(append(dst, ':'), l.Name...)
	return append(dst, ':', "bfslcn"[l.Algorithm])
}

// nameWidth is how many bytes name a cell among those of its subject: so many
// that one cell is a string that a server keeps in one piece, of up to 44 bytes.
const nameWidth = 12

// entry appends the name of a limit's cell: the algorithm as one letter and the
// limit's name, filled up with zeros. Of a name longer than 11 bytes it is the
// letter in upper case and 88 bits of the SHA-256 of the name.
func entry(dst []byte, l *ratelimit.Limit) []byte {
	letter := "bfslcn"[l.Algorithm]
	if len(l.Name) < nameWidth {
		return append(append(append(dst, letter), l.Name...), make([]byte, nameWidth-1-len(l.Name))...)
	}
	sum := sha256.Sum256([]byte(l.Name))
	return append(append(dst, letter-'a'+'A'), sum[:nameWidth-1]...)
}

// plain appends text of any bytes so that it has no closing brace, which would
// end a tag, and no percent sign but in %25 and %7D, which stand for the two. Of
// text longer than 64 bytes that is %h and 192 bits of its SHA-256.
func plain(dst []byte, text string) []byte {
	if len(text) > 64 {
		sum := sha256.Sum256([]byte(text))
		return base64.RawURLEncoding.AppendEncode(append(dst, "%h"...), sum[:24])
	}
	for i := range len(text) {
		switch c := text[i]; c {
		case '}':
			dst = append(dst, "%7D"...)
		case '%':
			dst = append(dst, "%25"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
