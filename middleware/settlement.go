package middleware

import (
	"strconv"

	"github.com/keytoll/keytoll/errors"
)

// An Ending is the way in which a handler came to its end, as far as charging
// cares. Numbers and names never change meaning.
type Ending uint8

const (
	EndUnknown      Ending = 0  // not told; released
	EndSuccess      Ending = 1  // 2xx other than 202, and an empty answer
	EndAccepted     Ending = 2  // 202: the work goes on elsewhere
	EndRedirect     Ending = 3  // 3xx, 304 among them
	EndClientError  Ending = 4  // 4xx
	EndServerError  Ending = 5  // 5xx
	EndPanic        Ending = 6  // panic or Goexit before anything was answered
	EndPartialPanic Ending = 7  // panic or Goexit after the answer had begun
	EndHijack       Ending = 8  // the connection was taken over
	EndClientGone   Ending = 9  // the client left before the handler was done
	EndTimeout      Ending = 10 // a deadline outside answered instead of the handler
	EndProbe        Ending = 11 // 2xx to HEAD or OPTIONS, which ask about the work and do none
)

var endings = [...]string{
	"unknown", "success", "accepted", "redirect", "client_error", "server_error", "panic", "partial_panic",
	"hijack", "client_gone", "timeout", "probe",
}

// String returns the ending's stable name in snake case.
func (e Ending) String() string {
	if int(e) < len(endings) {
		return endings[e]
	}
	return "ending(" + strconv.Itoa(int(e)) + ")"
}

// An Action is what becomes of a hold.
type Action uint8

const (
	Release Action = 0 // nothing is charged
	Capture Action = 1 // the price is charged
	Keep    Action = 2 // the hold stays for whoever settles it later, until its TTL
)

var actions = [...]string{"release", "capture", "keep"}

// String returns the action's stable name.
func (a Action) String() string {
	if int(a) < len(actions) {
		return actions[a]
	}
	return "action(" + strconv.Itoa(int(a)) + ")"
}

// A Settlement says what becomes of the hold, by ending. Endings that are not
// named keep what [DefaultSettlement] says, so an operation states only its
// exceptions. [Pass.Charge] wins over it.
type Settlement map[Ending]Action

// DefaultSettlement returns a new copy of the gate's table: what the client got
// is charged, what it did not get is not, and 202 stays held for the job.
func DefaultSettlement() Settlement {
	s := make(Settlement, len(endings))
	for e, a := range defaultActions() {
		s[Ending(e)] = a
	}
	return s
}

type actionTable = [len(endings)]Action

func defaultActions() actionTable {
	return actionTable{
		EndUnknown:      Release,
		EndSuccess:      Capture,
		EndAccepted:     Keep,
		EndRedirect:     Release,
		EndClientError:  Release,
		EndServerError:  Release,
		EndPanic:        Release,
		EndPartialPanic: Capture, // the client has the data
		EndHijack:       Capture,
		EndClientGone:   Capture, // else leaving early would make the work free
		EndTimeout:      Release,
		EndProbe:        Release,
	}
}

// table returns the full table that s stands for.
func (s Settlement) table(f *errors.Faults) actionTable {
	t := defaultActions()
	for e, a := range s {
		switch {
		case int(e) >= len(endings) || e == EndUnknown:
			f.Add("settlement: %v is no ending; give one of the End constants", e)
		case int(a) >= len(actions):
			f.Add("settlement of %v: %v is no action; give Capture, Release or Keep", e, a)
		default:
			t[e] = a
		}
	}
	return t
}

// An Outcome tells [Pass.End] how the work ended. Transports other than
// net/http fill it by their own status: 200 for OK, 500 for a fault.
type Outcome struct {
	Status     int  // of the final answer; 0 when nothing was answered
	Completed  bool // the handler returned, neither by panic nor by Goexit
	Wrote      bool // the final answer had begun
	Hijacked   bool // the connection was taken over
	ClientGone bool // the client left before the handler returned
	TimedOut   bool // a deadline outside answered instead
	Probe      bool // it was asked by HEAD or OPTIONS
}

// Ending classifies the outcome. A panic comes before the answer's status, and
// what the status says by itself (an error, a redirect, a 202 whose job runs on)
// before the client's leaving.
func (o Outcome) Ending() Ending {
	switch {
	case o.TimedOut:
		return EndTimeout
	case o.Hijacked:
		return EndHijack
	case !o.Completed && o.Wrote:
		return EndPartialPanic
	case !o.Completed:
		return EndPanic
	case o.Status >= 500:
		return EndServerError
	case o.Status >= 400:
		return EndClientError
	case o.Status >= 300:
		return EndRedirect
	case o.Status == 202:
		return EndAccepted
	case o.Probe && (o.Status >= 200 || o.Status == 0):
		return EndProbe
	case o.ClientGone:
		return EndClientGone
	case o.Status >= 200 || o.Status == 0:
		return EndSuccess
	case o.Status == 101:
		return EndHijack
	}
	return EndUnknown
}
