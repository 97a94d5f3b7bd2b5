package middleware_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
)

func prices(t *testing.T, version string, rates credits.Rates) *credits.PriceTable {
	t.Helper()
	table, err := credits.NewPriceTable(version, map[string]credits.Rates{"image": rates})
	must(t, err)
	return table
}

func images(body string) func(*http.Request) {
	return func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(body)) }
}

func TestListedPricesChangeWhileTheGateRuns(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(1000)
	var table atomic.Pointer[credits.PriceTable]
	table.Store(prices(t, "2026-01", credits.Rates{"request": {Amount: credits.Credit, Per: 1}, "images": {Amount: 5 * credits.Credit, Per: 1}}))
	op := priced()
	op.Price, op.Unit, op.Units = middleware.Listed(table.Load), "images", middleware.JSONUnits("num_images", 1)
	if op.Price.Table().Version() != "2026-01" || middleware.Free().Table() != nil {
		t.Error("the present table is another")
	}
	handler, key := h.gate.Handler(op)(says(200)), bearer(h.key("image:generate"))
	if w := h.call(handler, key, images(`{"num_images":3}`)); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	h.spent(16, 0)
	table.Store(prices(t, "2026-02", credits.Rates{"images": {Amount: credits.Credit, Per: 1}}))
	if w := h.call(handler, key, images(`{"num_images":3}`)); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	h.spent(19, 0)
	page, err := h.ledger.Entries(t.Context(), credits.Query{Account: account})
	must(t, err)
	versions := map[string]bool{}
	for _, e := range page.Entries {
		versions[e.Price] = true
	}
	if !versions["2026-01"] || !versions["2026-02"] {
		t.Errorf("the journal has the versions %v", versions)
	}
	refused(t, h.call(handler, key, images(`{"num_images":9223372036854775807}`)), 400, "price_refused")
	for _, rates := range []credits.Rates{{"seconds": {Amount: 1, Per: 1}}, nil} {
		table.Store(nil)
		if rates != nil {
			table.Store(prices(t, "2026-03", rates))
		}
		refused(t, h.call(handler, key), 500, "internal")
	}
	other, err := credits.NewPriceTable("2026-04", map[string]credits.Rates{"video": {"request": {Amount: 1, Per: 1}}})
	must(t, err)
	table.Store(other)
	refused(t, h.call(handler, key), 500, "internal")
	h.spent(19, 0)
}

func TestPriceListsAreCheckedAtStartUp(t *testing.T) {
	h := build(t, blueprint{})
	for want, list := range map[string]func() *credits.PriceTable{
		"Listed(nil)":                   nil,
		"no price table yet":            func() *credits.PriceTable { return nil },
		"does not have the operation":   func() *credits.PriceTable { return new(credits.PriceTable) },
		`a rate for "images"; give one`: func() *credits.PriceTable { return prices(t, "v", credits.Rates{"images": {Amount: 1, Per: 1}}) },
	} {
		op := priced()
		op.Price = middleware.Listed(list)
		if err := h.gate.Check(op); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
