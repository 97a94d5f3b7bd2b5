package credits_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// What was written reads back as the journal, texts that look like formulas,
// quotes and separators included.
func TestCSVReadsBackAsTheJournal(t *testing.T) {
	r := newRig(t)
	r.run(credits.Grant{Account: acme, ID: `=HYPERLINK("http://x","y")`, Amount: 1_000_000_000_123})
	for i, key := range []string{
		"", "plain", "-1", "+1", "@sum", "=1+1", "'=1", "''=1", "'", "'plain", "a,b", `say "x"`, " =1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201", "日本",
	} {
		r.run(credits.Debit{Account: acme, ID: credits.OpID("d" + strconv.Itoa(i)), Amount: 7, Key: key, Operation: key, Price: key})
		r.add(1234567 * time.Microsecond)
	}
	var file bytes.Buffer
	n, err := r.WriteCSV(t.Context(), &file, credits.Query{Account: acme, Limit: 4})
	want := r.snapshot(acme).Entries
	if err != nil || n != int64(len(want)) {
		t.Fatalf("%d lines, %v", n, err)
	}
	if lines := strings.Count(file.String(), "\r\n"); lines != len(want)+1 || strings.Count(file.String(), "\n") != lines {
		t.Errorf("%d lines end in CR LF", lines)
	}
	rows, err := csv.NewReader(&file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(rows[0], ","); got != "account,seq,at,kind,op,lot,from,to,amount,key,operation,price,hash" {
		t.Errorf("the header is %s", got)
	}
	for i, row := range rows[1:] {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") || strings.HasPrefix(cell, "\uff1d") {
				t.Errorf("a spreadsheet computes %q", cell)
			}
		}
		e := want[i]
		for column, want := range []string{
			"acme", strconv.FormatInt(e.Seq, 10), e.At.Format(time.RFC3339Nano), e.Kind.String(), string(e.Op), strconv.Itoa(int(e.Lot)),
			e.From.String(), e.To.String(), e.Amount.String(), e.Key, e.Operation, e.Price, e.Hash.String(),
		} {
			got := credits.CSVText(row[column])
			if column == 2 {
				at, err := time.Parse(time.RFC3339Nano, got)
				if err != nil || !at.Equal(e.At) || len(got) != len("2026-01-31T12:00:00.000000Z") {
					t.Errorf("at is %q, want %v", got, e.At)
				}
				continue
			}
			if got != want {
				t.Errorf("line %d column %d is %q, want %q", i, column, got, want)
			}
		}
	}
}

func TestCSVOfARangeAndOfNothing(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.run(grant(credits.OpID(strconv.Itoa(i)), 1))
		r.add(time.Second)
	}
	var file bytes.Buffer
	n, err := r.WriteCSV(t.Context(), &file, credits.Query{Account: acme, From: epoch.Add(time.Second), To: epoch.Add(3 * time.Second), Newest: true, Limit: 1})
	rows, _ := csv.NewReader(&file).ReadAll()
	if err != nil || n != 2 || len(rows) != 3 || rows[1][1] != "3" || rows[2][1] != "2" {
		t.Errorf("%d, %v, %v", n, rows, err)
	}
	file.Reset()
	if n, err := r.WriteCSV(t.Context(), &file, credits.Query{Account: "nobody"}); err != nil || n != 0 || strings.Count(file.String(), "\n") != 1 {
		t.Errorf("of nobody: %d, %q, %v", n, file.String(), err)
	}
}

func TestCSVStopsAtTheFirstError(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.run(grant(credits.OpID(strconv.Itoa(i)), 1))
	}
	full := errors.New("the disk is full")
	if _, err := r.WriteCSV(t.Context(), broken{full}, credits.Query{Account: acme}); !errors.Is(err, full) || kerrors.CodeOf(err) != kerrors.Unavailable {
		t.Errorf("a writer that fails: %v", err)
	}
	var file bytes.Buffer
	if _, err := r.WriteCSV(t.Context(), &file, credits.Query{}); kerrors.CodeOf(err) != kerrors.Invalid || file.Len() != 0 {
		t.Errorf("no account: %v, %q", err, file.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.WriteCSV(ctx, &file, credits.Query{Account: acme}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done: %v", err)
	}
}

type broken struct{ err error }

func (w broken) Write([]byte) (int, error) { return 0, w.err }
