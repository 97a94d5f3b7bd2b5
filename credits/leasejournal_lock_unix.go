//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package credits

import (
	"os"
	"syscall"

	"github.com/keytoll/keytoll/errors"
)

// lockFile makes and locks a file, until unlockFile or the end of the process. The
// file stays: who removed it would let two in.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the caller names the file
	if err != nil {
		return nil, ioFault("locked; give a path in a folder that exists and can be written to", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errJournalTaken
		}
		return nil, ioFault("locked", err)
	}
	return file, nil
}

func unlockFile(file *os.File) error { return file.Close() }

// syncFolder makes a rename in a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path) //nolint:gosec // the caller names the file in it
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
