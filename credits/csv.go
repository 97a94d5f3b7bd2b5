package credits

import (
	"context"
	"encoding/csv"
	"io"
	"strconv"

	"github.com/keytoll/keytoll/errors"
)

// csvHeader names the columns of WriteCSV. New ones may be added at the end;
// these stay.
func csvHeader() []string {
	return []string{
		"account", "seq", "at", "kind", "op", "lot", "from", "to", "amount", "key", "operation", "price", "hash",
	}
}

// WriteCSV writes the entries that q asks for to w, as RFC 4180 says: a header,
// then a line for each entry, lines ended by CR LF. It streams, q.Limit entries at
// a time, from q.Cursor to the end of the journal or of q's range; entries that
// are added meanwhile may be among them. It returns how many lines it wrote after
// the header.
//
// The columns are account, seq, at (RFC 3339, UTC, microseconds), kind, op, lot,
// from, to, amount (credits, as decimal text), key, operation, price and hash
// (hexadecimal). They keep their names and places; new ones come after them.
//
// A text that a spreadsheet would take for a formula, because it begins with one
// of = + - @, a tab, a line end or their full-width forms, or with a quote that
// hides one of these, gets a single quote before it. [CSVText] takes that away.
func (l *Ledger) WriteCSV(ctx context.Context, w io.Writer, q Query) (int64, error) {
	const op = "credits.WriteCSV"
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if q.Limit == 0 {
		q.Limit = maxLimit
	}
	n := int64(0)
	for first := true; first || q.Cursor != ""; first = false {
		page, err := l.Entries(ctx, q)
		if err != nil {
			return n, errors.Wrap(op, err)
		}
		if first {
			_ = out.Write(csvHeader()) // Flush and Error tell
		}
		for i := range page.Entries {
			_ = out.Write(page.Entries[i].record())
		}
		out.Flush()
		if err := out.Error(); err != nil {
			return n, &errors.Error{Code: errors.Unavailable, Op: op, Msg: "the lines cannot be written", Err: err}
		}
		n += int64(len(page.Entries))
		q.Cursor = page.Next
	}
	return n, nil
}

// csvTime is RFC 3339 with the microseconds always there, so that texts sort as
// instants do.
const csvTime = "2006-01-02T15:04:05.000000Z07:00"

// record returns e as a line of csvHeader's columns.
func (e *Entry) record() []string {
	return []string{
		csvCell(string(e.Account)), strconv.FormatInt(e.Seq, 10), e.At.UTC().Format(csvTime), e.Kind.String(),
		csvCell(string(e.Op)), strconv.FormatInt(int64(e.Lot), 10), e.From.String(), e.To.String(), e.Amount.String(),
		csvCell(e.Key), csvCell(e.Operation), csvCell(e.Price), e.Hash.String(),
	}
}

// csvCell keeps spreadsheets from computing what somebody else wrote.
func csvCell(s string) string {
	if isFormula(s) {
		return "'" + s
	}
	return s
}

// CSVText returns the text that a cell of [Ledger.WriteCSV] stands for.
func CSVText(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' && isFormula(cell[1:]) {
		return cell[1:]
	}
	return cell
}

// isFormula reports whether s begins as OWASP's page on CSV injection says
// formulas do. Quotes before that count too: so what csvCell has made can be told
// from what was so before.
func isFormula(s string) bool {
	for _, r := range s {
		switch r {
		case '\'':
			continue
		case '=', '+', '-', '@', '\t', '\r', '\n', '\uff1d', '\uff0b', '\uff0d', '\uff20':
			return true
		}
		return false
	}
	return false
}
