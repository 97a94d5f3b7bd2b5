// Package scopes holds what a key may do and what an operation asks for, as
// pure values.
//
//	granted, err := scopes.Parse("image:* usage:read")
//	...
//	needed := scopes.All("image:generate")
//	if !needed.Met(granted) {
//		return fmt.Errorf("missing: %v", needed.Missing(granted))
//	}
//
// A [Set] is granted, a [Requirement] is asked for, and a [Registry] lists the
// scopes that exist and the plans that include them.
//
// # Grammar
//
// A scope is one or more segments joined by ":". A segment is made of ASCII
// letters, digits, ".", "_" and "-", or it is "*". Upper and lower case differ.
// Bounds: [MaxBytes] and [MaxSegments] for a scope, [MaxScopes] for a set.
//
// A "*" in a set stands for exactly one segment; at the end it stands for one
// segment or more. It is never part of a segment, and never matches nothing:
//
//	image:*       grants image:generate and image:edit:mask, not image
//	*:read        grants usage:read, not usage:day:read
//	files:*:read  grants files:a:read
//	*             grants every scope
//
// A scope without "*" grants itself alone: "image" does not grant "image:edit".
// A requirement never holds a "*": an operation knows what it does.
//
// # Security
//
// What is empty, malformed or forgotten refuses: the zero [Set] grants
// nothing, the zero [Requirement] refuses every set, and so does a group
// without members or a name that is not a concrete scope. [None] is the one way
// to ask for nothing. What one key may hand out to another is bounded by
// [Set.Covers].
//
// Set.Has, Set.Covers, Requirement.Met and, where nothing must be left out,
// Registry.Allowed do not allocate, and their work is bounded by the bounds
// above.
//
// # Errors
//
// All errors are of code Invalid, except that a plan which does not include a
// scope is Forbidden ([ErrPlan]). Every fault is reported at once, with what
// would be right.
//
// # Concurrency
//
// All types are immutable and safe for concurrent use, [Set.UnmarshalText]
// excepted, which sets its receiver.
//
// # What it does not do
//
// It does not store sets, know who asks, or map scopes to routes: that is for
// the packages above it. There are no negative scopes and no hierarchy beside ":".
package scopes
