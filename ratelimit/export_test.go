package ratelimit

// WithBurst returns the rule of a token bucket with another Burst, in or out of
// bounds.
func WithBurst(r *Rule, burst int64) *Rule {
	l := r.limit
	l.Burst = burst
	wide := compile(l)
	return &wide
}
