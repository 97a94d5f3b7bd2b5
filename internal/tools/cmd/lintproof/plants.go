package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// arrows says which of the module's packages a package may import. What it does
// not name is forbidden, and planted.
var arrows = map[string][]string{
	"errors":                                 {},
	"scopes":                                 {"errors", "internal/part"},
	"apikey":                                 {"errors", "scopes", "apikey/legacy", "internal/part"},
	"apikey/apikeytest":                      {"errors", "scopes", "apikey", "apikey/legacy", "internal/part"},
	"apikey/legacy":                          {"errors", "scopes", "apikey", "internal/part"},
	"ratelimit":                              {"errors", "internal/part"},
	"ratelimit/ratelimittest":                {"errors", "ratelimit", "internal/part"},
	"credits":                                {"errors", "internal/part"},
	"credits/creditstest":                    {"errors", "credits", "internal/part"},
	"webhook":                                {"errors", "internal/part"},
	"webhook/webhooktest":                    {"errors", "webhook", "internal/part"},
	"middleware":                             {"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "webhook", "middleware/clientip", "middleware/idempotency", "middleware/management", "middleware/rpcgate", "middleware/secretscan", "middleware/selfservice", "internal/part"},
	"middleware/clientip":                    {"errors", "internal/part"},
	"middleware/idempotency":                 {"errors", "internal/part"},
	"middleware/idempotency/idempotencytest": {"errors", "middleware/idempotency", "internal/part"},
	"middleware/middlewaretest": {
		"errors", "scopes", "apikey", "apikey/legacy", "apikey/apikeytest", "ratelimit", "ratelimit/ratelimittest", "credits", "credits/creditstest", "webhook", "webhook/webhooktest",
		"middleware", "middleware/clientip", "middleware/idempotency", "middleware/idempotency/idempotencytest", "middleware/management", "middleware/rpcgate", "middleware/secretscan", "middleware/selfservice", "internal/part",
	},
	"middleware/connectgate": {"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "middleware", "middleware/clientip", "middleware/idempotency", "middleware/management", "middleware/rpcgate", "middleware/secretscan", "middleware/selfservice"},
	"middleware/grpcgate":    {"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "middleware", "middleware/clientip", "middleware/idempotency", "middleware/management", "middleware/rpcgate", "middleware/secretscan", "middleware/selfservice"},
	"middleware/otelgate":    {"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "middleware", "middleware/clientip", "middleware/idempotency", "middleware/management", "middleware/rpcgate", "middleware/secretscan", "middleware/selfservice"},
	"middleware/rpcgate": {
		"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "webhook",
		"middleware", "middleware/clientip", "middleware/idempotency", "middleware/management", "middleware/secretscan", "middleware/selfservice", "internal/part",
	},
	"middleware/management": {
		"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits",
		"middleware", "middleware/clientip", "middleware/idempotency", "middleware/rpcgate", "middleware/secretscan", "middleware/selfservice",
	},
	"middleware/selfservice": {
		"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits",
		"middleware", "middleware/clientip", "middleware/idempotency", "middleware/management", "middleware/rpcgate", "middleware/secretscan",
	},
	"middleware/secretscan":           {"errors", "scopes", "apikey", "apikey/legacy", "internal/part"},
	"internal/part":                   {"errors"},
	"stores/sqlitestore":              {"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "webhook", "middleware/idempotency"},
	"stores/pgstore":                  {"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "webhook", "middleware/idempotency"},
	"stores/redisstore":               {"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "webhook", "middleware/idempotency"},
	"stores/redisstore/rueidisclient": {"errors", "ratelimit", "webhook", "middleware/idempotency", "stores/redisstore"},
	"examples/program": {
		"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "webhook", "middleware", "middleware/clientip", "middleware/idempotency", "middleware/management", "middleware/rpcgate", "middleware/secretscan", "middleware/selfservice",
		"middleware/connectgate", "middleware/grpcgate", "middleware/otelgate",
		"stores/sqlitestore", "stores/pgstore", "stores/redisstore", "stores/redisstore/rueidisclient", "newcomer",
	},
	"internal/proof": {
		"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "middleware", "middleware/idempotency",
		"middleware/management", "middleware/selfservice",
		"stores/sqlitestore", "stores/pgstore", "stores/redisstore", "stores/redisstore/rueidisclient",
	},
	"internal/tools": {},
	"newcomer":       {},
}

// drivers says which modules from outside a package may import.
var drivers = map[string][]string{
	"stores/sqlitestore":              {"modernc.org/sqlite"},
	"stores/pgstore":                  {"github.com/jackc/pgx/v5"},
	"stores/redisstore":               {"github.com/redis/go-redis/v9"},
	"stores/redisstore/rueidisclient": {"github.com/redis/rueidis"},
	"middleware/connectgate":          {"connectrpc.com/connect", "google.golang.org/protobuf"},
	"middleware/grpcgate":             {"google.golang.org/grpc", "google.golang.org/protobuf"},
	"middleware/otelgate":             {"go.opentelemetry.io/otel"},
	"apikey/legacy":                   {"golang.org/x/crypto"},
	"internal/proof":                  {"github.com/jackc/pgx/v5", "github.com/redis/go-redis/v9", "github.com/anishathalye/porcupine", "github.com/pb33f/libopenapi"},
}

// What library code may not take from the standard library, and the packages
// that stay clear of HTTP.
var (
	bannedInLibraries = []string{"testing", "testing/iotest", "math/rand", "math/rand/v2", "log", "unsafe"}
	transportFree     = []string{"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "stores/sqlitestore", "stores/pgstore", "stores/redisstore", "stores/redisstore/rueidisclient"}
)

// statements that library code may not hold, with the import that each needs.
var statements = []struct{ imports, code, linter, says string }{
	{"time", "_ = time.Now()", "forbidigo", "time.Now"},
	{"time", "_ = time.Since(time.Time{})", "forbidigo", "time.Since"},
	{"time", "_ = time.Until(time.Time{})", "forbidigo", "time.Until"},
	{"clock time", "_ = clock.Now()", "forbidigo", "clock.Now"}, // time under another name
	{"time", "now := time.Now\n\t_ = now", "forbidigo", "time.Now"},
	{"time", "time.Sleep(1)", "forbidigo", "time.Sleep"},
	{"time", "_ = time.NewTicker(1)", "forbidigo", "time.NewTicker"},
	{"", `panic("no")`, "forbidigo", "panic"},
	{"", `println("no")`, "forbidigo", "println"},
	{"", `print("no")`, "forbidigo", "print"},
	{"fmt", `fmt.Println("no")`, "forbidigo", "fmt.Println"},
	{"fmt", `fmt.Printf("no")`, "forbidigo", "fmt.Printf"},
	{"log", `log.Print("no")`, "forbidigo", "log.Print"},
	{"log/slog", `slog.Info("no")`, "forbidigo", "slog.Info"},
	{"os", `_ = os.Getenv("NO")`, "forbidigo", "os.Getenv"},
	{"os", `os.Exit(1)`, "forbidigo", "os.Exit"},
	{"context", `_ = context.Background()`, "forbidigo", "context.Background"},
	{"other errors", `_ = other.ErrUnsupported`, "importas", `must be "stderrors"`},
}

func plants() []plant {
	var all []plant
	for dir, may := range arrows {
		all = append(all, arrowPlants(dir, may)...)
	}
	for dir := range arrows {
		if !library(dir) {
			continue
		}
		for _, banned := range bannedInLibraries {
			all = append(all, imports(dir, banned, suite(dir), "x"))
		}
	}
	for _, dir := range transportFree {
		all = append(all, imports(dir, "net/http", false, "x"))
	}
	all = append(all,
		imports("webhook", "net/http", true, "x"),
		imports("middleware", "net/http", true, "x"),
		imports("errors", "testing", true, "x_test"))
	for _, dir := range []string{
		"errors", "scopes", "apikey", "apikey/legacy", "ratelimit", "credits", "webhook", "middleware", "middleware/clientip", "middleware/idempotency", "middleware/management", "middleware/rpcgate", "middleware/secretscan", "middleware/selfservice",
		"middleware/connectgate", "middleware/grpcgate", "middleware/otelgate",
		"stores/sqlitestore", "stores/pgstore", "stores/redisstore", "stores/redisstore/rueidisclient",
	} {
		for i, s := range statements {
			all = append(all, statement(dir, fmt.Sprintf("statement%d.go", i), s.imports, s.code, s.linter, s.says))
		}
		all = append(all,
			source(dir, "init.go", "func init() {}", "gochecknoinits", "init"),
			source(dir, "state.go", "var calls int\n\n// Calls counts.\nfunc Calls() int { calls++; return calls }", "gochecknoglobals", "calls"),
			source(dir, "table.go", "var names = [...]string{\"a\"}\n\n// Names counts.\nfunc Names() int { return len(names) }", "", ""),
			source(dir, "bare.go", "func init() {} //nolint:gochecknoinits", "nolintlint", "explanation"),
			source(dir, "all.go", "func init() {} //nolint // for no linter in particular", "nolintlint", "specific linter"),
			source(dir, "silent.go", "// Quiet is excused.\nfunc Quiet() {} //nolint:errcheck // there is nothing to excuse", "nolintlint", "unused"),
			source(dir, "undocumented.go", "func Bare() {}", "revive", "comment"))
	}
	// A program may do all of that.
	for i, s := range statements {
		if s.linter == "forbidigo" && s.imports != "log" {
			all = append(all, statement("examples/program", fmt.Sprintf("statement%d.go", i), s.imports, s.code, "", ""))
		}
	}
	return all
}

// library reports whether programs import the package.
func library(dir string) bool {
	return !strings.HasPrefix(dir, "examples/") && !strings.HasPrefix(dir, "internal/tools")
}

// suite reports whether the package is for tests.
func suite(dir string) bool { return strings.HasSuffix(dir, "test") }

// arrowPlants plants an import of every other package of the skeleton: by the
// package itself, and by its tests where that is forbidden.
func arrowPlants(dir string, may []string) []plant {
	var all []plant
	for _, path := range foreign {
		allowed := slices.Contains(drivers[dir], path) || strings.HasPrefix(dir, "examples/")
		// The tests of keys show that a host can check other systems' by itself.
		tests := allowed || strings.HasPrefix(dir, "apikey") && path == "golang.org/x/crypto"
		all = append(all, imports(dir, path, allowed, "x"), imports(dir, path, tests, "x_test"))
	}
	for _, target := range slices.Concat(packages, modules) {
		if target == dir || suite(target) && !library(dir) {
			continue
		}
		allowed := slices.Contains(may, target)
		path := module + "/" + target
		all = append(all, imports(dir, path, allowed, "x"))
		if !allowed && !suite(target) {
			all = append(all, imports(dir, path, false, "x_test"))
		}
	}
	return all
}

func imports(dir, path string, allowed bool, suffix string) plant {
	name := filepath.Base(dir)
	file := "imports_" + strings.NewReplacer("/", "_", ".", "_", module, "own").Replace(path)
	pkg := name
	if suffix == "x_test" {
		file, pkg = file+"_test", name+"_test"
	} else {
		file += "_part" // a name that ends in _test would make it a test
	}
	p := plant{dir: dir, name: file + ".go", source: fmt.Sprintf("package %s\n\nimport _ %q\n", pkg, path)}
	if !allowed {
		p.want, p.says = "depguard", path
	}
	return p
}

func statement(dir, file, imports, code, linter, says string) plant {
	var text strings.Builder
	if name, path, renamed := strings.Cut(imports, " "); renamed {
		fmt.Fprintf(&text, "import %s %q\n\n", name, path)
	} else if imports != "" {
		fmt.Fprintf(&text, "import %q\n\n", imports)
	}
	fmt.Fprintf(&text, "func _() {\n\t%s\n}\n", code)
	return source(dir, file, text.String(), linter, says)
}

func source(dir, file, code, linter, says string) plant {
	return plant{dir, file, "package " + filepath.Base(dir) + "\n\n" + code + "\n", linter, says}
}
