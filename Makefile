# Everything that a change has to pass is "make check". "make" lists the targets.

GO       ?= go
TOOLS    := $(CURDIR)/.tmp/bin
LINT     := golangci-lint
LINT_VERSION := 2.15.0
FUZZTIME ?= 30s
SEED     ?= $(shell date +%s)
DURATION ?= 10m

.DEFAULT_GOAL := help
.PHONY: help build test race lint fmt vet generate check demo chaos interop bench fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the three programs into bin/
	$(GO) build -o bin/ ./cmd/...

test: ## run all tests
	$(GO) test ./...

race: ## run the shorter tests with the race detector
	$(GO) test -race -short -timeout 15m ./...

lint: ## run the linters of .golangci.yml; installs the pinned version into .tmp/bin if need be
	@PATH="$(TOOLS):$$PATH"; \
	if ! $(LINT) version 2>/dev/null | grep -q "version $(LINT_VERSION) "; then \
		echo "installing golangci-lint $(LINT_VERSION), which takes some minutes"; \
		GOBIN="$(TOOLS)" $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(LINT_VERSION); \
	fi; \
	$(LINT) run ./...

fmt: ## format all Go files
	gofmt -w .

vet: ## run go vet
	$(GO) vet ./...

generate: ## write the generated documents anew
	$(GO) generate ./...

check: ## what has to pass before a change is proposed; the same as the CI
	bash .ci/run

demo: ## kill an edge in the middle of a job, and lose nothing
	$(GO) run ./cmd/arcp demo

chaos: ## break a cluster of processes for DURATION, by a schedule that SEED decides
	$(GO) test ./integration/chaos -run 'TestChaos$$' -count 1 -v -timeout 3h -args -seed=$(SEED) -duration=$(DURATION) \
		-edges=3 -workers=3 -nats=3 -clients=12 -min-gap=1s -max-gap=3s

bench: ## run every benchmark once, briefly
	$(GO) test -run '^$$' -bench . -benchtime 100x ./...

interop: ## run the protocol's own libraries, as far as registries offer them, against this runtime
	interop/run

fuzz: ## run every fuzz target for FUZZTIME
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

clean: ## remove what builds left behind; the data of --dev, arcp-data, stays
	rm -rf bin .tmp
