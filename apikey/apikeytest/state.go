package apikeytest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/keytoll/keytoll/apikey"
)

// everythingIn returns all that s holds, as text: records, these owners,
// events, and the census. It is for stores of at most a thousand of each.
func everythingIn(ctx context.Context, s apikey.Store, owners ...string) (string, error) {
	var b strings.Builder
	for _, order := range []apikey.Order{apikey.NewestFirst, apikey.SoonestFirst} {
		q := everything(1000)
		q.Order = order
		list, err := s.List(ctx, q)
		if err != nil {
			return "", fmt.Errorf("List: %w", err)
		}
		for _, rec := range list {
			fmt.Fprintf(&b, "%+v\n", rec)
			found, err := s.ByHandle(ctx, rec.Handle)
			if err != nil {
				return "", fmt.Errorf("ByHandle(%q): %w", rec.Handle, err)
			}
			fmt.Fprintf(&b, "%+v\n", found)
		}
	}
	for _, id := range owners {
		o, err := s.Owner(ctx, id)
		if err != nil {
			return "", fmt.Errorf("Owner(%q): %w", id, err)
		}
		fmt.Fprintf(&b, "%+v\n", o)
	}
	events, err := s.Events(ctx, apikey.EventQuery{AnyOwner: true, Limit: 1000})
	if err != nil {
		return "", fmt.Errorf("Events: %w", err)
	}
	for _, e := range events {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	counts, err := s.Census(ctx)
	if err != nil {
		return "", fmt.Errorf("Census: %w", err)
	}
	slices.SortFunc(counts, compareCounts)
	fmt.Fprintf(&b, "%+v\n", counts)
	return b.String(), nil
}

func compareCounts(a, b apikey.Count) int {
	return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.Scheme, b.Scheme), cmp.Compare(a.Keys, b.Keys))
}

// unchanged returns nil if do does, and leaves all that s holds as it was.
func unchanged(ctx context.Context, s apikey.Store, owners []string, do func() error) error {
	before, err := everythingIn(ctx, s, owners...)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	after, err := everythingIn(ctx, s, owners...)
	if err == nil && after != before {
		was, is := firstDifference(before, after)
		err = fmt.Errorf("what the store holds was changed: it had\n\t%s\nand now has\n\t%s", was, is)
	}
	return err
}

func firstDifference(a, b string) (string, string) {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i], y[i]
		}
	}
	return fmt.Sprintf("%d lines", len(x)), fmt.Sprintf("%d lines", len(y))
}

// refused returns nil if s refuses c with this error and stays as it was.
func refused(ctx context.Context, s apikey.Store, c apikey.Change, is error, owners ...string) error {
	return unchanged(ctx, s, owners, func() error { return want("Apply", s.Apply(ctx, c), is) })
}

// apply returns nil if s takes c.
func apply(ctx context.Context, s apikey.Store, c apikey.Change) error {
	return want("Apply", s.Apply(ctx, c), nil)
}
