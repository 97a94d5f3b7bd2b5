package middleware

import (
	"net/http"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// A Price is what one call of an operation costs at most. The zero value states
// nothing and is refused at start-up, so that no route is free by accident:
// say [Free], [Fixed], [PerUnit] or [Quoted].
type Price struct {
	kind   priceKind
	amount credits.Amount
	quote  func(*http.Request) (credits.Amount, error)
}

type priceKind uint8

const (
	unpriced priceKind = iota
	free
	fixed
	perUnit
	quotedPrice
)

// Free costs nothing; the ledger is not asked.
func Free() Price { return Price{kind: free} }

// Fixed costs amount, which must be more than 0.
func Fixed(amount credits.Amount) Price { return Price{kind: fixed, amount: amount} }

// PerUnit costs amount, which must be more than 0, for each of the call's
// Operation.Units. None cost nothing.
func PerUnit(amount credits.Amount) Price { return Price{kind: perUnit, amount: amount} }

// Quoted costs what quote says of the request, 0 or more. It is asked once,
// after every other check has passed, with the request that the handler will
// get: without the credential, with the body capped. A quote that reads the
// body must put a reader of the same bytes back into r.Body. An error of code
// [errors.Invalid] is answered 400 with its message, any other 500.
//
// The amount is held before the handler runs; [Pass.Charge] may lower it
// afterwards, so quote the most that the call can cost.
func Quoted(quote func(r *http.Request) (credits.Amount, error)) Price {
	return Price{kind: quotedPrice, quote: quote}
}

func (p Price) check(f *errors.Faults) {
	switch {
	case p.kind == unpriced:
		f.Add("the price is not stated; give Free(), Fixed(amount), PerUnit(amount) or Quoted(func)")
	case (p.kind == fixed || p.kind == perUnit) && (p.amount <= 0 || p.amount > credits.MaxAmount):
		f.Add("the price is %v; give more than 0 and at most %s, or Free()", p, credits.MaxAmount)
	case p.kind == quotedPrice && p.quote == nil:
		f.Add("the price is Quoted(nil); give a function")
	}
}

// String returns the price for people.
func (p Price) String() string {
	switch p.kind {
	case free:
		return "free"
	case fixed:
		return p.amount.String()
	case perUnit:
		return p.amount.String() + " a unit"
	case quotedPrice:
		return "quoted"
	}
	return "not stated"
}
