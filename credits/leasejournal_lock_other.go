//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package credits

import (
	"os"

	"github.com/keytoll/keytoll/errors"
)

// lockFile makes a file that must not be there yet. A crash leaves it, and then a
// person removes it.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, os.ErrExist):
		return nil, errJournalTaken
	case err != nil:
		return nil, ioFault("locked; give a path in a folder that exists and can be written to", err)
	}
	return file, nil
}

func unlockFile(file *os.File) error { return errors.Join(file.Close(), os.Remove(file.Name())) }

// syncFolder does nothing: such a system renames durably, or not at all.
func syncFolder(string) error { return nil }
