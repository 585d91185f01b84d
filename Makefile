# make demo         the product, step by step, on this machine: no Docker, no root
# make demo-swarm   the same on a real Swarm in an engine of its own (root on Debian)
# make test         everything: formatting, lints, unit, wasm, simulated and real Swarm tests
# make bench        what Waggle costs and what clients lose in updates, in figures (more than an hour)
# make bench-change of these, how long a change takes from the Swarm to Envoy (root; ten minutes)
# make bench-scale  of these, how the controller's work grows with the Swarm (minutes)
# make bench-versus of these, Waggle beside Traefik on the same real Swarm (root; 25 minutes)
# make fuzz         the filter's parsers under cargo-fuzz, a minute each (needs a nightly Rust)
# make images       the controller's, Envoy's and the demo application's images (needs Docker)
#
# Tools that are missing are put into target/tools, pinned; nothing else of the machine is changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

TOOLS := tests/tools.sh
MUSL := x86_64-unknown-linux-musl
COMMIT := $(shell git rev-parse --short=8 HEAD 2>/dev/null || echo unknown)

# How long `make fuzz` searches, for each target.
SECONDS := 60
FUZZ_TARGETS := cookie set_cookie token pairs cache_control

.PHONY: bench bench-change bench-filter bench-scale bench-updates bench-versus built demo demo-swarm fast fuzz \
	images lint programs simulated-test static static-quick swarm-test test toolchain wasm-test

demo: programs
	target/debug/walk $(if $(ONCE),--once)

demo-swarm: programs static-quick
	$(TOOLS) docker >/dev/null
	target/debug/walk --swarm $(if $(ONCE),--once)

# The targets that rust-toolchain.toml names, also where rustup installs nothing by itself.
toolchain:
	@! command -v rustup >/dev/null || rustup --quiet target add wasm32-wasip1 wasm32-unknown-unknown $(MUSL)

# The programs that the demo runs: controller, filter, demo application, walk-through.
programs: toolchain
	$(TOOLS) envoy >/dev/null
	cargo build --package waggle-controller --package waggle-demo --package waggle-tests \
		--bin waggle --bin waggle-demo --bin walk
	cargo wasm

# What goes into images must not need a C library.
STATIC := CC_x86_64_unknown_linux_musl=gcc cargo build --target $(MUSL) --package waggle-controller --package waggle-demo

static: toolchain
	$(STATIC) --release

# The same for tests and demo, where speed is no matter.
static-quick: toolchain
	$(STATIC) --profile quick

test: lint built fast wasm-test simulated-test swarm-test

lint: toolchain
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	cargo clippy --package waggle-filter --target wasm32-wasip1 -- --deny warnings

# All tests, and the programs that they run. Chosen package by package, or test by test, their libraries
# would have other features each time, and would be built again.
built: toolchain
	$(TOOLS) envoy >/dev/null
	$(TOOLS) nextest >/dev/null
	cargo build --workspace --bins --tests
	cargo wasm

NEXTEST = PATH="$$($(TOOLS) nextest):$$PATH" cargo nextest run --workspace -E

# Unit, property and module tests: under a minute once built.
fast: built
	$(NEXTEST) 'not package(waggle-tests)'

# The filter's decisions on the architecture that they run on.
wasm-test: toolchain
	PATH="$$($(TOOLS) wasm-bindgen):$$($(TOOLS) node):$$PATH" \
	cargo test --package waggle-filter --target wasm32-unknown-unknown --test decide

# The product on loopback, with the real Envoy.
simulated-test: built
	$(NEXTEST) 'package(waggle-tests) - binary(swarm)'

ifeq ($(shell id -u),0)
swarm-test: built static-quick
	$(TOOLS) docker >/dev/null
	$(NEXTEST) 'package(waggle-tests) & binary(swarm)'
else
swarm-test:
	@printf '\n*** LEFT OUT: the tests on a real Swarm need root: sudo make test ***\n\n'
	@test "$${CI:-}" != true
endif

BENCH := cargo run --quiet --release --package waggle-tests --bin bench --

bench: bench-filter bench-updates bench-change bench-scale bench-versus

# CPU time and memory of Envoy, with and without the filter.
bench-filter:
	$(TOOLS) envoy >/dev/null
	cargo wasm
	cargo build --package waggle-filter --target wasm32-wasip1 --release --examples
	$(BENCH) filter
	$(BENCH) filter --calls
	$(BENCH) memory

# What clients lose in updates and outages: the tests' scenarios, a minute each.
bench-updates: programs
	cargo build --release --package waggle-controller --package waggle-demo
	$(BENCH) updates

# How long a change takes from a real Swarm's store to Envoy.
ifeq ($(shell id -u),0)
bench-change: static
	$(TOOLS) envoy >/dev/null
	$(TOOLS) docker >/dev/null
	cargo wasm
	cargo build --release --package waggle-controller --package waggle-tests --bin waggle --bin bench
	target/release/bench change
else
bench-change:
	@printf '\n*** LEFT OUT: a real Swarm needs root: sudo make bench-change ***\n\n'
endif

# How the controller's work grows with the Swarm.
bench-scale:
	$(TOOLS) envoy >/dev/null
	cargo wasm
	cargo build --release --package waggle-controller --package waggle-tests --bin waggle --bin bench
	target/release/bench scale

# Updates, new services and the engine's CPU time, of Waggle and of Traefik.
ifeq ($(shell id -u),0)
bench-versus: static
	$(TOOLS) envoy >/dev/null
	$(TOOLS) docker >/dev/null
	$(TOOLS) traefik >/dev/null
	cargo wasm
	$(BENCH) versus
else
bench-versus:
	@printf '\n*** LEFT OUT: the comparison on a real Swarm needs root: sudo make bench-versus ***\n\n'
endif

# What it finds goes into target/fuzz; bytes that break an invariant are named at the end. Put those
# into filter/fuzz/corpus, where the normal tests replay them.
fuzz:
	@cargo +nightly --version >/dev/null 2>&1 || { printf '\n*** NOT DONE: fuzzing needs a nightly Rust: rustup toolchain install nightly ***\n\n'; exit 1; }
	for target in $(FUZZ_TARGETS); do \
		mkdir -p target/fuzz/corpus/$$target; \
		PATH="$$($(TOOLS) cargo-fuzz):$$PATH" cargo +nightly fuzz run --fuzz-dir filter/fuzz --target-dir target/fuzz \
			$$target target/fuzz/corpus/$$target filter/fuzz/corpus/$$target -- -max_total_time=$(SECONDS); \
	done

images:
	docker build --build-arg WAGGLE_COMMIT=$(COMMIT) --tag waggle/controller --file controller/Dockerfile .
	docker build --tag waggle/envoy envoy
	docker build --tag waggle/demo --file examples/demo/Dockerfile .
