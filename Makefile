# make test is the one that counts: it is what CI runs.

TOOLS := ./internal/tools/cmd

.PHONY: test lint fmt bench limits credits webhooks gate ledgers leases fuzz cover lint-proof mutants servers

# Everything: format, vet, lint, tests with the race detector, each module alone, tidiness, dependencies, documentation.
test: servers
	@go build -o bin/checkrepo $(TOOLS)/checkrepo
	@bin/checkrepo

# Only what the linter says, for every module.
lint:
	@go build -o bin/checkrepo $(TOOLS)/checkrepo
	@bin/checkrepo -only lint

fmt:
	gofmt -s -w .

# Every benchmark once. Compare two runs with benchstat; see CONTRIBUTING.md.
bench:
	go test -run='^$$' -bench=. -benchmem work

# The simulation of fleets that lease credits, for many seeds: a minute or two. docs/leases.md says what it tries.
LEASESEEDS ?= 100000
leases:
	KEYTOLL_LEASE_SEEDS=$(LEASESEEDS) go test -count=1 -timeout=1h -run='^TestNoRunOfAFleetOverspends$$' -v ./credits

# Measures limiters beside others, which takes about LIMITSCOUNT times 10 minutes, 8 GiB and a quiet machine, and writes
# the figures into docs/limits.md and docs/limits-cost.svg. LIMITS='Limit|State' measures a part and leaves the rest.
LIMITS ?= Limit|LimitRefused|Redis|State
LIMITSCOUNT ?= 5
limits:
	@mkdir -p bin
	go test -run='^$$' -bench='^Benchmark($(LIMITS))$$' -benchtime=500ms -count=$(LIMITSCOUNT) -timeout=4h ./internal/benchcmp -large > bin/limits.txt
	go run ./internal/benchcmp/benchreport -page docs/limits.md -plot docs/limits-cost.svg bin/limits.txt

# Measures ledgers beside others, which takes about CREDITSCOUNT times 6 minutes and a quiet machine, and writes the figures
# into docs/credits.md and docs/credits-cost.svg. CREDITS=Hold measures a part and leaves the rest.
CREDITS ?= Ledger|Lease|Hold
CREDITSCOUNT ?= 3
credits:
	@mkdir -p bin
	go test -run='^$$' -bench='^Benchmark($(CREDITS))$$' -benchtime=500ms -count=$(CREDITSCOUNT) -timeout=4h ./internal/benchcmp > bin/ledgers.txt
	go run ./internal/benchcmp/benchreport -page docs/credits.md -plot docs/credits-cost.svg bin/ledgers.txt

# Measures signing and verifying beside others, and delivering, which takes about WEBHOOKSCOUNT times 6 minutes and a quiet
# machine, and writes the figures into docs/webhooks.md and docs/webhooks-cost.svg. WEBHOOKS=Hostile measures a part and
# leaves the rest.
WEBHOOKS ?= Sign|Verify|Hostile|Delivery|Claim
WEBHOOKSCOUNT ?= 3
webhooks:
	@mkdir -p bin
	go test -run='^$$' -bench='^Benchmark($(WEBHOOKS))$$' -benchtime=500ms -count=$(WEBHOOKSCOUNT) -timeout=4h ./internal/benchcmp -large > bin/webhooks.txt
	go run ./internal/benchcmp/benchreport -page docs/webhooks.md -plot docs/webhooks-cost.svg bin/webhooks.txt

# Measures the gate beside a bare handler and what is written by hand, in process, over loopback and on a fleet's servers,
# which takes about GATECOUNT times 3 minutes and a quiet machine, and writes the figures into docs/gate.md. GATE=GateWire
# measures a part and leaves the rest.
GATE ?= Gate|GateWire|GateFleet
GATECOUNT ?= 3
gate:
	@mkdir -p bin
	go test -run='^$$' -bench='^Benchmark($(GATE))$$' -benchtime=2s -count=$(GATECOUNT) -timeout=2h ./internal/benchcmp > bin/gate.txt
	go run ./internal/benchcmp/benchreport -page docs/gate.md bin/gate.txt

# Long random runs over memory, SQLite and PostgreSQL: the stores agree, batches equal one by one, and histories of
# callers at once are linearizable. It takes about a quarter of an hour. LEDGERSEED=7 makes other runs.
LEDGERSTEPS ?= 100000
LEDGERHISTORIES ?= 1000
LEDGERSEED ?= 20261121
ledgers: servers
	KEYTOLL_LEDGER_STEPS=$(LEDGERSTEPS) KEYTOLL_LEDGER_HISTORIES=$(LEDGERHISTORIES) KEYTOLL_LEDGER_SEED=$(LEDGERSEED) \
		go test -count=1 -v -timeout=2h ./internal/proof

# Every fuzz target for a short while; FUZZTIME=10m for a long one.
FUZZTIME ?= 10s
fuzz:
	@go run $(TOOLS)/fuzzall -time=$(FUZZTIME)

# Statements covered by the tests of all modules, by function and in total.
cover:
	@mkdir -p bin
	go test -count=1 -coverprofile=bin/cover.out work
	@go tool cover -func=bin/cover.out | tail -n 1

# Plants a violation of every rule of .golangci.yml that matters and expects the linter to find it.
lint-proof:
	@go run $(TOOLS)/lintproof

# Installs the servers that tests ask for, where it can; says what to install where it cannot.
servers:
	@bash .ci/servers

# Breaks the core of the ledger in every way that the pinned tool knows, one at a time, and expects a test to fail. It
# takes an hour or two; MUTANTS='settle.go' breaks less. What has lived is argued in docs/credits-mutants.md.
MUTANTS ?= admit.go advance.go budget_window.go burn.go core.go debt.go lease_apply.go replay.go schedule_due.go settle.go state.go timeline.go
mutants:
	@mkdir -p bin
	go run $(TOOLS)/mutants -json bin/mutants.json credits $(MUTANTS)
