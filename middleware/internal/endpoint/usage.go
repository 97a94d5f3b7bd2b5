package endpoint

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// Query returns the parameters of the URL, each of which may be there once, and
// refuses others than those named, and a query of which a part cannot be read: to
// leave out what narrows a listing would tell more than was asked for.
func Query(r *http.Request, names ...string) (map[string]string, error) {
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, Invalid("the query cannot be read; percent-encode what stands in parameters")
	}
	values := make(map[string]string)
	for name, all := range given {
		switch {
		case len(names) == 0:
			return nil, Invalid("the parameter " + quote(name) + " is not one that this takes; it takes none")
		case !slices.Contains(names, name):
			return nil, Invalid("the parameter " + quote(name) + " is not one that this takes; give " + strings.Join(names, ", "))
		case len(all) > 1:
			return nil, Invalid("parameter " + name + " is there twice; give it once")
		}
		values[name] = all[0]
	}
	return values, nil
}

// Limit reads how many a page may hold: 0 where the request does not say.
func Limit(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1000 {
		return 0, Invalid("limit: give 1 to 1000, or leave it out for 100")
	}
	return n, nil
}

// A Usage is what was spent, period by period.
type Usage struct {
	From time.Time  `json:"from"`
	To   time.Time  `json:"to"`
	By   string     `json:"by" enum:"hour day week month"`
	Zone string     `json:"zone" doc:"The time zone whose calendar the periods are of."`
	Rows []UsageRow `json:"rows" doc:"In order of time; periods without any use are left out."`
}

// A UsageRow is what was spent in one period.
type UsageRow struct {
	Start     time.Time      `json:"start"`
	End       time.Time      `json:"end"`
	Key       string         `json:"key,omitempty" doc:"The meter of the key that spent it."`
	Operation string         `json:"operation,omitempty" doc:"What it was spent on."`
	Spent     credits.Amount `json:"spent"`
	Refunded  credits.Amount `json:"refunded"`
	Calls     int64          `json:"calls" doc:"How many calls were charged."`
}

// A series is how long a range of usage may be, and is unless the request says.
type series struct {
	name           string
	unit           credits.Unit
	usual, longest time.Duration
}

const day = 24 * time.Hour

var allSeries = [...]series{
	{"hour", credits.Hours, day, 31 * day},
	{"day", credits.Days, 30 * day, 366 * day},
	{"week", credits.Weeks, 12 * 7 * day, 2 * 366 * day},
	{"month", credits.Months, 365 * day, 5 * 366 * day},
}

// UsageParams are the parameters that [ReadUsage] reads.
var UsageParams = [...]Param{
	{Name: "by", Enum: []string{"hour", "day", "week", "month"}, Doc: "How long a period is; a day unless said."},
	{Name: "from", Type: time.Time{}, Doc: "The beginning of the range. By hour it may be 31 days long, by day 366, by week two years and by month five."},
	{Name: "to", Type: time.Time{}, Doc: "The end of the range, exclusive; now unless said."},
	{Name: "zone", Doc: "The IANA name of the time zone whose calendar counts; UTC unless said."},
	{Name: "group", Enum: []string{"operation"}, Doc: "Tells operations apart."},
}

// UsageNames returns the names of UsageParams.
func UsageNames() (names []string) {
	for _, p := range UsageParams {
		names = append(names, p.Name)
	}
	return names
}

// ReadUsage returns the query that parameters ask for, of no account yet, and the
// name of its periods.
func ReadUsage(values map[string]string, now time.Time) (credits.UsageQuery, string, error) {
	q := credits.UsageQuery{To: now, Zone: values["zone"], MaxRows: 10_000}
	by := values["by"]
	if by == "" {
		by = "day"
	}
	i := slices.IndexFunc(allSeries[:], func(s series) bool { return s.name == by })
	if i < 0 {
		return q, "", Invalid("by: give hour, day, week or month, or leave it out for day")
	}
	s := &allSeries[i]
	q.By = s.unit
	if err := instant(values, "to", &q.To); err != nil {
		return q, "", err
	}
	q.From = q.To.Add(-s.usual)
	if err := instant(values, "from", &q.From); err != nil {
		return q, "", err
	}
	if long := q.To.Sub(q.From); long < 0 || long > s.longest {
		return q, "", Invalid("from: give an instant before to, and at most " + strconv.Itoa(int(s.longest/day)) + " days before it")
	}
	if _, err := time.LoadLocation(q.Zone); err != nil || q.Zone == "Local" {
		return q, "", Invalid("zone: give an IANA name such as Europe/Berlin, or leave it out for UTC")
	}
	switch values["group"] {
	case "":
	case "operation":
		q.ByOperation = true
	default:
		return q, "", Invalid("group: give operation, or leave it out")
	}
	return q, by, nil
}

// instant reads a parameter that is an instant into at, if it is there.
func instant(values map[string]string, name string, at *time.Time) error {
	if values[name] == "" {
		return nil
	}
	read, err := time.Parse(time.RFC3339, values[name])
	if err != nil || read.Year() < 1970 || read.Year() > 9000 {
		return Invalid(name + ": give an instant such as 2026-12-31T00:00:00Z")
	}
	*at = read.UTC()
	return nil
}

// ViewUsage returns rows for who asked for them.
func ViewUsage(q *credits.UsageQuery, by string, rows []credits.UsageRow) Usage {
	out := Usage{From: q.From, To: q.To, By: by, Zone: q.Zone, Rows: make([]UsageRow, len(rows))}
	if out.Zone == "" {
		out.Zone = "UTC"
	}
	for i, row := range rows {
		out.Rows[i] = UsageRow{row.Start, row.End, row.Key, row.Operation, row.Spent, row.Refunded, row.Spends}
	}
	return out
}
