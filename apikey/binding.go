package apikey

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"
)

const boundSize = 32 // bytes of a bound secret

// A bound is one secret of a binding.
type bound struct {
	name    string
	secret  [boundSize]byte
	created time.Time
	expires time.Time // zero for the current one of the name
}

func (o *bound) open() BoundSecret {
	return BoundSecret{
		Name: o.name, Secret: newSecret(base64.StdEncoding.EncodeToString(o.secret[:])),
		CreatedAt: o.created, ExpiresAt: o.expires,
	}
}

// counts reports whether the secret has not ended at now.
func (o *bound) counts(now time.Time) bool { return o.expires.IsZero() || now.Before(o.expires) }

// A binding is all secrets of a key: the current ones in the order in which
// they were asked for, each with those before it, newest first, behind it.
type binding []bound

// names returns the names, in their order.
func (b binding) names() []string {
	var names []string
	for i := range b {
		if b[i].expires.IsZero() {
			names = append(names, b[i].name)
		}
	}
	return names
}

// named returns the secrets under name that count at now.
func (b binding) named(name string, now time.Time) []BoundSecret {
	var open []BoundSecret
	for i := range b {
		if b[i].name == name && b[i].counts(now) {
			open = append(open, b[i].open())
		}
	}
	return open
}

// rotate puts fresh in front of the secrets under its name, or behind all others
// where there are none; those before it end at end or earlier.
func (b *binding) rotate(fresh bound, end time.Time) error {
	at, former := len(*b), 0
	kept := make(binding, 0, len(*b)+1)
	for _, o := range *b {
		same := o.name == fresh.name
		if same {
			at = min(at, len(kept))
			if o.expires.IsZero() || end.Before(o.expires) {
				o.expires = end
			}
		}
		if !o.counts(fresh.created) {
			continue
		}
		if same {
			former++
		}
		kept = append(kept, o)
	}
	if former > MaxOverlap {
		return ErrSecretLimit
	}
	*b = slices.Insert(kept, min(at, len(kept)), fresh)
	return nil
}

// text writes the binding: for each secret the length of its name in one byte,
// the name, the 32 bytes, and when it was made and ends, in microseconds since
// 1970, eight bytes each, most significant first; an end of the least number is
// none.
func (b binding) text() []byte {
	var text []byte
	for i := range b {
		text = append(append(text, byte(len(b[i].name))), b[i].name...)
		text = append(text, b[i].secret[:]...)
		text = binary.BigEndian.AppendUint64(text, uint64(b[i].created.UnixMicro()))
		ends := int64(never)
		if !b[i].expires.IsZero() {
			ends = b[i].expires.UnixMicro()
		}
		text = binary.BigEndian.AppendUint64(text, uint64(ends))
	}
	return text
}

// readBinding reads what text wrote, and refuses all else.
func readBinding(text []byte) (binding, error) {
	var b binding
	for len(text) > 0 {
		name := int(text[0])
		if text = text[1:]; name == 0 || name > MaxSecretName || len(text) < name+boundSize+16 || len(b) == MaxSecrets*(1+MaxOverlap) {
			return nil, unsealable("what it holds is cut off or too long")
		}
		o := bound{name: string(text[:name]), secret: [boundSize]byte(text[name:])}
		text = text[name+boundSize:]
		o.created = time.UnixMicro(int64(binary.BigEndian.Uint64(text))).UTC()
		ends := int64(binary.BigEndian.Uint64(text[8:]))
		if ends != never {
			o.expires = time.UnixMicro(ends).UTC()
		}
		if text = text[16:]; o.expires.IsZero() != (ends == never) || !o.fits(b) {
			return nil, unsealable("what it holds is not in order")
		}
		b = append(b, o)
	}
	return b, nil
}

// fits reports whether o may stand behind b: a current secret begins a new name,
// and a former one continues the last.
func (o *bound) fits(b binding) bool {
	if !plain(o.name, MaxSecretName) {
		return false
	}
	if o.expires.IsZero() {
		return !slices.Contains(b.names(), o.name)
	}
	return len(b) > 0 && b[len(b)-1].name == o.name
}
