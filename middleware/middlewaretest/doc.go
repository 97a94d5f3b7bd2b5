// Package middlewaretest helps to test what package middleware guards: in one
// line a gate on memory stores, keys in every state, a clock that the test moves,
// and a record of what was decided and charged.
//
//	func TestImages(t *testing.T) {
//		f := middlewaretest.New(t, nil)
//		api := NewAPI(f.Gate) // the handler under test
//
//		w := f.Do(api, middlewaretest.Active, "POST", "/v1/images")
//		if w.Code != http.StatusOK {
//			t.Errorf("status %d", w.Code)
//		}
//		f.WantVerdicts(middleware.VerdictAllowed)
//		f.WantCharged(5 * credits.Credit)
//	}
//
// # Faults
//
// Whatever cannot be done ends the test with a sentence that says what would be
// right. What a Want method finds wrong is a failure that shows all that was
// decided and settled, and the test goes on.
//
// # Time
//
// Everything in a [Fixture] runs on one [Clock], which stands still until the test
// moves it: keys, limits, credits, the gate. A test of a limit of a day takes no
// longer than one of a second.
//
// # Concurrency
//
// A [Fixture], a [Recorder] and a [Clock] may be used by any number of
// goroutines; methods that can end the test are for the test's own, as
// [testing.T.FailNow] is.
package middlewaretest
