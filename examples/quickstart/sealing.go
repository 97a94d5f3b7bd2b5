package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/keytoll/keytoll/webhook"
)

// sealingKey returns the key that secrets of webhooks are sealed under: the one in
// the file that c names or that goes with where c keeps things, or a new one, which
// is left there. What is kept in memory needs no file.
func sealingKey(c config) (webhook.SealingKey, error) {
	path := c.sealing
	switch {
	case path != "":
	case c.db != "":
		path = c.db + ".sealing"
	case c.postgres != "":
		folder, err := os.UserConfigDir()
		if err != nil {
			return webhook.SealingKey{}, fmt.Errorf("%w; -sealing FILE says where the key is that secrets of webhooks are sealed under", err)
		}
		path = filepath.Join(folder, "keytoll", "quickstart.sealing")
	default:
		return webhook.GenerateSealingKey(1), nil
	}
	for {
		text, err := os.ReadFile(path)
		if err == nil {
			key, err := webhook.SealingKeyFromString(strings.TrimSpace(string(text)))
			if err != nil {
				return webhook.SealingKey{}, fmt.Errorf("%s: %w", path, err)
			}
			return key, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return webhook.SealingKey{}, err
		}
		if err := leaveKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return webhook.SealingKey{}, err
		}
	}
}

// leaveKey writes a new key to path, whole or not at all: two starts at once use
// the same.
func leaveKey(path string) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".sealing-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // nothing more than a name that is left over
	_, err = fmt.Fprintln(f, webhook.GenerateSealingKey(1).Reveal())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
