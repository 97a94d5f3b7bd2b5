package middleware

import "context"

// contextKey finds the pass in a context.
type contextKey struct{}

// passContext is a context with a pass in it.
type passContext struct {
	context.Context //nolint:containedctx // it is a context itself
	pass            *Pass
}

// Value returns the pass for its key, and the parent's value for others.
func (c *passContext) Value(key any) any {
	if key == (contextKey{}) {
		return c.pass
	}
	return c.Context.Value(key)
}

// PassFrom returns the pass of the request being served; false outside of a
// gate.
func PassFrom(ctx context.Context) (*Pass, bool) {
	p, ok := ctx.Value(contextKey{}).(*Pass)
	return p, ok && p != nil
}

// NewContext returns a context that holds p, for transports other than
// [Gate.Handler].
func NewContext(ctx context.Context, p *Pass) context.Context {
	return &passContext{Context: ctx, pass: p}
}
