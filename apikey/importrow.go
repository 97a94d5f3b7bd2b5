package apikey

import (
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// draftImport makes the record of a row.
func (s *Service) draftImport(row *ImportRow, d *importDraft, now time.Time) error {
	const op = "apikey.Import"
	faults := errors.Faults{Op: op}
	spec := row.Spec
	created, used, state := toMicros(row.CreatedAt), toMicros(row.LastUsedAt), row.State
	if created.IsZero() {
		created = now
	}
	if state == StateUnknown {
		state = StateActive
	}
	format := s.proveImport(&faults, row, &spec, &d.Record)
	checkImport(&faults, row, &spec, created, now)
	faults.Join(s.checkSpec(op, format, &spec, created))
	if err := faults.Err(); err != nil {
		return err
	}
	d.Key = Key{
		Owner: spec.Owner, Name: spec.Name, Environment: spec.Environment,
		Scopes: spec.Scopes, Metadata: spec.Metadata, Settings: spec.Settings, Networks: spec.Networks,
		CreatedAt: created, SecretAt: created, ExpiresAt: spec.ExpiresAt, LastUsedAt: used,
		State: state, RevokedReason: row.RevokedReason, Start: d.Key.Start, Last4: d.Key.Last4, Version: 1,
	}
	if spec.RequestID != "" {
		d.Key.ID, d.Intent = spec.KeyID(), row.intent(d.Handle)
	} else {
		id, err := randomText(s.rand, base62, idLength)
		if err != nil {
			return errors.Wrap(op, err)
		}
		d.Key.ID = "key_" + id
	}
	d.Key.Meter = d.Key.ID
	return nil
}

// checkImport checks what a row says beside its spec, and takes from spec an end
// that it finds wrong itself.
func checkImport(faults *errors.Faults, row *ImportRow, spec *Spec, created, now time.Time) {
	used := toMicros(row.LastUsedAt)
	if created.After(now) {
		faults.Add("CreatedAt %s is after now, %s; give an earlier time, or the zero time for now", stamp(created), stamp(now))
	}
	if created.Year() < 1 || !used.IsZero() && used.Year() < 1 {
		faults.Add("CreatedAt or LastUsedAt is before the year 1; give a later time, or the zero time")
	}
	if row.LastUsedAt.After(now) {
		faults.Add("LastUsedAt %s is after now, %s; give an earlier time, or the zero time for never", stamp(row.LastUsedAt), stamp(now))
	}
	if end := toMicros(spec.ExpiresAt); !end.IsZero() && !end.After(created) {
		faults.Add("expiry %s is not after CreatedAt, %s; give a later time, or the zero time for never", stamp(end), stamp(created))
		spec.ExpiresAt = time.Time{}
	}
	if len(spec.Secrets) > 0 {
		faults.Add("secrets are asked for, which no import makes; leave them out, and give them to the key with AddSecret")
	}
	switch row.State {
	case StateUnknown, StateActive, StateDisabled:
		if row.RevokedReason != "" {
			faults.Add("RevokedReason is given for a key that is not revoked; leave it empty")
		}
	case StateRevoked:
		if !plain(row.RevokedReason, MaxReason) {
			faults.Add("RevokedReason %q: give at most %d bytes of UTF-8 without control characters", clip(row.RevokedReason), MaxReason)
		}
	default:
		faults.Add("state is %v; give active, disabled or revoked", row.State)
	}
	if len(row.Start) > 64 || row.Start != "" && !only(row.Start, isGraphic) || len(row.Last4) > 4 || row.Last4 != "" && !only(row.Last4, isGraphic) {
		faults.Add("Start and Last4 have %d and %d bytes; give at most 64 and 4 characters of printable ASCII", len(row.Start), len(row.Last4))
	}
}

// proveImport gives rec its handle, what proves it, and what may be shown of it,
// and returns the format among whose environments that of the key is.
func (s *Service) proveImport(faults *errors.Faults, row *ImportRow, spec *Spec, rec *Record) *Format {
	format := s.format
	text, digest := row.Text.Reveal(), row.Scheme != "" || row.Encoded != "" || row.Handle != ""
	switch {
	case text != "" && digest:
		faults.Add("both the text and a digest are given; give Text, or Scheme and Encoded")
	case text != "":
		format = s.importText(faults, text, spec, rec)
	case row.Scheme == "" || row.Encoded == "":
		faults.Add("neither the key's text nor its digest is given; give Text, or Scheme and Encoded")
	default:
		s.importDigest(faults, row, rec)
	}
	if row.Start != "" {
		rec.Key.Start = row.Start
	}
	if row.Last4 != "" {
		rec.Key.Last4 = row.Last4
	}
	return format
}

// importText reads a text as Verify will.
func (s *Service) importText(faults *errors.Faults, text string, spec *Spec, rec *Record) *Format {
	c, ok := s.read(text)
	if !ok {
		faults.Add("the text, of %d bytes, is neither a key of the format nor of any Legacy", len(text))
		return s.format
	}
	rec.Handle, rec.Digest = strings.Clone(c.handle), s.ring.digest(text)
	if c.legacy != nil {
		rec.Key.Start, rec.Key.Last4 = c.legacy.Shape.Prefix, strings.Clone(text[len(text)-4:])
		return s.format
	}
	rec.Key.Start, rec.Key.Last4 = c.format.display(text)
	switch spec.Environment {
	case c.environment:
	case "":
		spec.Environment = c.environment
	default:
		faults.Add("the text is a key of environment %s and the spec says %s; give one of them", quote(c.environment), quote(clip(spec.Environment)))
	}
	return c.format
}

func (s *Service) importDigest(faults *errors.Faults, row *ImportRow, rec *Record) {
	var r *reader
	names := make([]string, 0, len(s.legacy))
	for _, l := range s.legacy {
		if l.Scheme == nil {
			continue
		}
		names = append(names, l.Name)
		if l.Name == row.Scheme {
			r = l
		}
	}
	if r == nil {
		faults.Add("scheme %q is not that of any Legacy with a Scheme; give one of: %s", clip(row.Scheme), strings.Join(names, ", "))
		return
	}
	if len(row.Encoded) > maxEncoded || !plain(row.Encoded, maxEncoded) {
		faults.Add("the digest has %d bytes; give at most %d of UTF-8 without control characters", len(row.Encoded), maxEncoded)
		return
	}
	if err := r.Scheme.Check(row.Encoded); err != nil {
		faults.Add("scheme %q: %s", r.Name, errors.MessageOf(err))
		return
	}
	rec.Key.Start, rec.Imported = r.Shape.Prefix, Imported{Scheme: r.Name, Encoded: row.Encoded}
	switch sums, _ := r.Scheme.(LegacySum); {
	case r.Handle != nil && (row.Handle == "" || len(row.Handle) > MaxTokenLength):
		faults.Add("the handle has %d bytes; give the 1 to %d that the old system looks the key up by", len(row.Handle), MaxTokenLength)
	case r.Handle != nil:
		rec.Handle = r.handleOf(row.Handle)
	case row.Handle != "":
		faults.Add("a handle is given for scheme %q, whose digests tell which key they are of; leave it empty", r.Name)
	default:
		sum, err := sums.Sum(row.Encoded)
		if err != nil {
			faults.Add("scheme %q: %s", r.Name, errors.MessageOf(err))
		}
		rec.Handle = r.handleOf(string(sum[:]))
	}
}

// intent returns a hash of what the row asks for. The key is in it by its handle
// alone, which the store holds anyway.
func (row *ImportRow) intent(handle string) [32]byte {
	spec := row.Spec.intent()
	created := ""
	if !row.CreatedAt.IsZero() {
		created = strconv.FormatInt(row.CreatedAt.UnixMicro(), 10)
	}
	return hashOf(importLabel, string(spec[:]), handle, row.Scheme, created, row.State.String(), row.RevokedReason)
}
