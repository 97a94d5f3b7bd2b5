package endpoint

import (
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A Budget is what may be spent in a window, and how much of it is left.
type Budget struct {
	Amount    credits.Amount `json:"amount" doc:"The most that may be spent in a window."`
	Every     string         `json:"every" enum:"total day week month year" doc:"How long a window is; total never ends."`
	Zone      string         `json:"zone,omitempty" doc:"The time zone whose calendar counts; UTC when left out."`
	Soft      bool           `json:"soft,omitempty" doc:"It counts, and refuses nothing."`
	Used      credits.Amount `json:"used"`
	Held      credits.Amount `json:"held" doc:"Set aside for calls that are running."`
	Remaining credits.Amount `json:"remaining"`
	ResetsAt  time.Time      `json:"resets_at,omitzero" doc:"When the next window begins."`
}

// ViewBudget returns what may be shown of b.
func ViewBudget(b *credits.Budget) Budget {
	return Budget{
		Amount: b.Amount, Every: b.Every.String(), Zone: b.Zone, Soft: b.Soft, Used: b.Used, Held: b.Held,
		Remaining: max(0, b.Amount-b.Used-b.Held), ResetsAt: b.End,
	}
}
