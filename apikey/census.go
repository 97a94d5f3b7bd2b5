package apikey

import (
	"cmp"
	"context"
	"slices"
)

// Census counts the keys that are not deleted by how their text is proven: by
// version of the pepper, 0 being none, and by scheme for those imported and not
// used since; in the order of scheme and version, without a Count of 0. Keys move
// to the current pepper when they are used, and when that is flushed. So once no
// key is counted under a version, its pepper can go from [Options.Peppers], and
// once none is under a scheme, [Legacy.Scheme] can. Expired and revoked keys, which
// are not used any more, are counted too: without what proves them their holders
// are told no more than that they are not valid.
func (s *Service) Census(ctx context.Context) ([]Count, error) {
	counts, err := s.store.Census(ctx)
	if err != nil {
		return nil, s.fault(ctx, "apikey.Census", err)
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Scheme, b.Scheme), cmp.Compare(a.Version, b.Version))
	})
	return counts, nil
}
