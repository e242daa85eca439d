# make        builds bin/airdeck
# make demo   runs the main job on registries in one process
# make test   runs the tests; needs nothing but Go
# make crash  kills the program again and again, and fills its disks
# make faults has every request of a run fail in every way, which takes some minutes
# make interop  runs against real registries and clients, which it installs
# make limits writes the table of limits in SECURITY.md
# make bench  measures all of it, which takes an hour, and writes BENCHMARKS.md

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
GOLANGCI_LINT_VERSION = v2.15.0
TOOLS   ?= $(or $(AIRDECK_TOOLS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/airdeck-interop)

export CGO_ENABLED = 0

.PHONY: build demo test race fuzz vectors crash faults lint limits interop bench bench-small dist clean

build:
	go build -trimpath -ldflags "$(LDFLAGS)" -o bin/airdeck ./cmd/airdeck

demo:
	go run ./cmd/airdeck demo

test:
	go test ./...

# Short: what is large in one goroutine says nothing of races, and takes minutes here. Of
# what make test tries at every operation or request, this tries a part.
race:
	CGO_ENABLED=1 go test -race -short -timeout 20m ./...

# Each fuzz target for FUZZTIME, FUZZJOBS of them at once.
FUZZTIME ?= 10s
FUZZJOBS ?= 1
fuzz:
	go vet ./...
	FUZZTIME=$(FUZZTIME) FUZZJOBS=$(FUZZJOBS) sh internal/fuzz.sh

# The corpus of testdata/vectors, as its generator has it.
vectors:
	go run ./internal/vectors/gen testdata/vectors

# So many kills hit a running process. CRASH takes more flags, such as -seed 1, or
# -test.short for fewer of the ways in which a disk is full.
KILLS ?= 240
CRASH ?=
crash:
	go test -tags crash -count=1 -v -timeout 30m ./internal/crash -kills $(KILLS) $(CRASH)

# Every command against every way in which registries misbehave, and pack and mirror
# with every request of theirs failing. It prints how many were tried.
faults:
	AIRDECK_FAULTS=1 go test -count=1 -timeout 60m -v -run '^(TestRegistriesThatMisbehave|TestEveryRequest|TestCanaries)$$' ./cmd/airdeck

lint:
	@test -x $(TOOLS)/bin/golangci-lint-$(GOLANGCI_LINT_VERSION) || { \
	  GOBIN=$(TOOLS)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION) && \
	  mv $(TOOLS)/bin/golangci-lint $(TOOLS)/bin/golangci-lint-$(GOLANGCI_LINT_VERSION); }
	$(TOOLS)/bin/golangci-lint-$(GOLANGCI_LINT_VERSION) run --allow-parallel-runners ./...
	go mod verify
	go mod tidy -diff

limits:
	go run ./internal/limits

interop:
	sh internal/interop/install.sh
	PATH="$$(sh internal/interop/install.sh --bindir):$$PATH" go test -tags interop -count=1 -parallel 4 -timeout 20m ./internal/interop
	AIRDECK_NAMESPACES=must go test -count=1 -run '^TestWithoutRoutes$$' ./internal/vectors

# BENCH takes flags, such as -workload decks. See go doc ./internal/bench.
BENCH ?= -o BENCHMARKS.md
bench:
	sh internal/interop/install.sh
	PATH="$$PATH:$$(sh internal/interop/install.sh --bindir)" go run ./internal/bench $(BENCH)

# That the bench works, and what it knows exactly: bytes, requests, memory.
bench-small:
	$(MAKE) bench BENCH='-small -runs 1'

PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
dist:
	rm -rf dist && mkdir dist
	@set -e; for p in $(PLATFORMS); do \
	  os=$${p%/*}; arch=$${p#*/}; ext=; [ $$os = windows ] && ext=.exe; \
	  echo $$p; GOOS=$$os GOARCH=$$arch go build -trimpath -ldflags "$(LDFLAGS)" -o dist/airdeck-$$os-$$arch$$ext ./cmd/airdeck; \
	done
	cd dist && sha256sum airdeck-* > SHA256SUMS

clean:
	rm -rf bin dist
