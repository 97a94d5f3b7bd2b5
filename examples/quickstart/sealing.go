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

// sealingPath returns the path of the file with the key that secrets of webhooks
// are sealed under: the one that c names or that goes with where c keeps things.
// What is kept in memory needs no file, and has none.
func sealingPath(c config) (string, error) {
	switch {
	case c.sealing != "":
		return c.sealing, nil
	case c.db != "":
		return c.db + ".sealing", nil
	case c.postgres != "":
		folder, err := os.UserConfigDir()
		if err != nil {
			return "", fmt.Errorf("%w; -sealing FILE says where the key is that secrets of webhooks are sealed under", err)
		}
		return filepath.Join(folder, "keytoll", "quickstart.sealing"), nil
	}
	return "", nil
}

// sealingKey returns the key in the file at path, or a new one, which is left there
// unless there is no path.
func sealingKey(path string) (webhook.SealingKey, error) {
	if path == "" {
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
