# kube-vmap. `make` builds, `make test` tests everything, `make help` lists the rest.

GO      ?= go
BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
# The tests of these packages need root and a kernel with nf_tables. Others have
# targets of their own: those of the image build it for each platform, the chaos suite
# wants the machine for itself, and the suites of behaviour take minutes.
BEHAVIOUR = ./proxy/scenario/... ./proxy/oracle/... ./proxy/simulation/...
PACKAGES  = $(shell $(GO) list ./... | grep -v -e /cmd/image -e /proxy/chaos -e /proxy/scenario -e /proxy/oracle -e /proxy/simulation)

.DEFAULT_GOAL := build

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: build
build: ## Build bin/kube-vmap, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/kube-vmap ./cmd/kube-vmap

.PHONY: setup
setup: ## Install what tests and the demo need besides Go (Debian packages; needs root)
	@.ci/setup

.PHONY: test
test: setup lint quick behaviour chaos test-charts test-image e2e ## Linters, then all tests, the slow ones last (needs root); CI also runs test-nft and test-kernels-short

.PHONY: quick
quick: setup build ## Unit tests and kernel tests in throw-away network namespaces (needs root)
	$(GO) test -race -timeout 10m $(PACKAGES)

.PHONY: behaviour
behaviour: setup ## What becomes of packets: scenarios, every kind of flow against an oracle, random histories (needs root)
	$(GO) test -race -timeout 10m $(BEHAVIOUR)

.PHONY: test-charts
test-charts: ## The Helm chart: its linter, what it renders, values it refuses
	cd charts && $(GO) test ./...

.PHONY: chaos
chaos: setup ## Faults under load for CHAOS_SECONDS, 30 by default (needs root)
	$(GO) test -v -count=1 -timeout 60m -run Chaos ./proxy/chaos

.PHONY: generate
generate: ## Write what follows from other files: definitions, their Go code, references, golden renderings
	$(GO) tool -modfile=.ci/generate/go.mod controller-gen object paths=./config/v1alpha1
	$(GO) tool -modfile=.ci/generate/go.mod controller-gen crd paths=./config/v1alpha1 output:crd:dir=charts/kube-vmap/files/crds
	$(GO) test ./config ./proxy/metrics -update
	cd charts && $(GO) test . -update

.PHONY: image
image: ## The OCI image archive in bin/, for amd64 and arm64, without a container engine
	$(GO) run ./cmd/image

.PHONY: test-image
test-image: setup ## Build the image, and run it in containerd (needs root)
	$(GO) test -race -timeout 20m ./cmd/image

.PHONY: binaries
binaries: ## The control plane for e2e tests, built from Go modules into bin/ (minutes, once)
	GOFLAGS=-p=2 e2e/binaries/build.sh

.PHONY: e2e
e2e: setup build binaries ## End-to-end tests on a real control plane, in network namespaces (needs root)
	cd e2e && $(GO) vet ./... && $(GO) test -race -count=1 -timeout 10m ./cluster ./controlplane ./takeover
	cd e2e && $(GO) test -race -count=1 -v -timeout 25m .

.PHONY: e2e-scale
e2e-scale: setup build binaries ## The agent's memory at 10,000 Services in a real API server (needs root)
	cd e2e && E2E_SCALE=1 $(GO) test -count=1 -v -timeout 25m .

.PHONY: bench
bench: setup build binaries ## Measure beside kube-proxy (needs root; writes docs/performance.*)
	cd e2e && $(GO) run ./bench

.PHONY: lint
lint: ## Linters and import rules
	$(GO) vet ./...
	cd .ci/tools && $(GO) build -o ../../$(BIN)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	$(BIN)/golangci-lint run
	cd e2e && ../$(BIN)/golangci-lint run
	cd charts && ../$(BIN)/golangci-lint run

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in what each module calls (needs vuln.go.dev)
	for module in . charts e2e; do \
		(cd $$module && $(GO) run golang.org/x/vuln/cmd/govulncheck@latest ./...) || exit 1; \
	done

.PHONY: benchmark
benchmark: ## Micro-benchmarks (go test -bench), for benchstat
	$(GO) test -run '^$$' -bench . -benchmem ./nft/... ./proxy/...

.PHONY: test-nft
test-nft: setup ## List the tables of all scenarios with each nft that Debian has (needs root)
	e2e/matrix/nft-versions.sh

.PHONY: test-kernels
test-kernels: setup ## Boot stock Debian kernels in emulation and run the kernel tests there (up to an hour)
	e2e/matrix/kernels.sh

.PHONY: test-kernels-short
test-kernels-short: setup ## The same in half of the time: all tests on the oldest kernel, on the others those nearest to it
	e2e/matrix/kernels.sh bookworm
	SUITES="agent nft/kernel conntrack hostaddrs ipvs chaos" e2e/matrix/kernels.sh bullseye-security trixie trixie-backports

.PHONY: demo
demo: setup build ## Show a person what kube-vmap does, in network namespaces (needs root)
	$(GO) run ./cmd/demo

.PHONY: demo-restart
demo-restart: setup build ## Kill the agent and flush the ruleset under load, and count what is lost (needs root)
	$(GO) run ./cmd/demo -restart

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN)
