package credits

import (
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// zones are the time zones that a ledger has met, by their IANA names. A zone is
// read from files, so it is loaded before a command or between two rounds of it,
// and never while a store waits.
type zones struct{ known sync.Map } // of string, to *time.Location

// of returns the zone of that name; empty is UTC. When it was not loaded yet, the
// error is a [*zoneError], for which zones.again does that.
func (z *zones) of(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	if z != nil {
		if known, ok := z.known.Load(name); ok {
			return known.(*time.Location), nil //nolint:forcetypeassert // nothing else is put in
		}
	}
	return nil, &zoneError{name}
}

// load makes the zone of that name known.
func (z *zones) load(name string) error {
	if _, err := z.of(name); err == nil {
		return nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return err
	}
	z.known.Store(name, zone)
	return nil
}

// check reports a name that is no zone, and otherwise loads it.
func (z *zones) check(f *errors.Faults, field, name string) {
	if why := badText(name, MaxIDBytes); why != "" {
		f.Add("%s %s", field, why)
		return
	}
	if name == "Local" {
		f.Add(`%s is "Local", which is another one on another machine; give an IANA name such as Europe/Berlin, or none for UTC`, field)
		return
	}
	if z.load(name) != nil {
		f.Add("%s %s is not known here; give an IANA name such as Europe/Berlin, or import time/tzdata where a machine has no zones", field, quote(name))
	}
}

// A zoneError stops a command that needs a zone which is not loaded yet. It has
// changed nothing.
type zoneError struct{ name string }

// Error says which zone and what to do where it cannot be had.
func (e *zoneError) Error() string {
	return "the time zone " + quote(e.name) + " of a stored budget or schedule is not known on this machine; import time/tzdata"
}

// again reports whether a round that ended with err is worth another one: when it
// stopped at a zone that could be loaded meanwhile.
func (z *zones) again(err error) bool {
	wanted, ok := errors.AsType[*zoneError](err)
	return ok && z.load(wanted.name) == nil
}
