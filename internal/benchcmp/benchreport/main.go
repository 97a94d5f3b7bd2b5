// Benchreport reads what `go test -bench='Limit|Redis|State'`, -bench='Ledger|Lease|Hold',
// -bench='Sign|Verify|Hostile|Delivery|Claim', or -bench=Gate, of package benchcmp printed,
// and writes the tables of a page and its plot from it:
//
//	go run ./internal/benchcmp/benchreport -page docs/limits.md -plot docs/limits-cost.svg limits.txt
//
// Figures of repeated runs (-count) become their median. In the page the text
// between "<!-- NAME -->" and "<!-- end -->" is replaced by the table of that
// name; a table without figures stays as it is. Without -page all tables are
// printed.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

func main() {
	page := flag.String("page", "", "Markdown `file` whose tables are replaced; none prints them")
	plot := flag.String("plot", "", "SVG `file` to write the plot to")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: benchreport [-page FILE] [-plot FILE] BENCHMARK-OUTPUT")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(*page, *plot, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchreport:", err)
		os.Exit(1)
	}
}

func run(page, plot string, args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("give one file with the output of go test -bench")
	}
	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := parse(file)
	if err != nil {
		return err
	}
	tables := tables(r)
	if len(tables) == 0 {
		return errors.New("no figure of BenchmarkLimit, Redis, State, Ledger, Lease, Hold, Sign, Verify, Hostile, Delivery, Claim or Gate in " + args[0])
	}
	if plot != "" {
		if svg := draw(r); svg != "" {
			if err := os.WriteFile(plot, []byte(svg), 0o644); err != nil {
				return err
			}
		}
	}
	if page == "" {
		for _, t := range tables {
			fmt.Fprintf(out, "%s\n\n%s\n", t.name, t.text)
		}
		return nil
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	next, err := replace(string(text), tables)
	if err != nil {
		return err
	}
	return os.WriteFile(page, []byte(next), 0o644)
}

// replace puts the tables into the page.
func replace(page string, tables []table) (string, error) {
	for _, t := range tables {
		mark := "<!-- " + t.name + " -->\n"
		before, rest, ok := strings.Cut(page, mark)
		if !ok {
			return "", fmt.Errorf("the page has no line %q", strings.TrimSpace(mark))
		}
		_, after, ok := strings.Cut(rest, "<!-- end -->")
		if !ok {
			return "", fmt.Errorf("the page has no %q after %q", "<!-- end -->", strings.TrimSpace(mark))
		}
		page = before + mark + "\n" + t.text + "\n<!-- end -->" + after
	}
	return page, nil
}
