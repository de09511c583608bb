# Thin on purpose: each target is one or two commands. What they do is in `localcluster`, `jobctl` and the scripts.
# `make` alone lists the targets. Variables may follow the target: `make up KAFKA=apache KAFKA_PORT=9093`.

.DEFAULT_GOAL := help
SHELL := /bin/sh

BIN := target/release
LOCALCLUSTER := $(BIN)/localcluster
JOBCTL := $(BIN)/jobctl

EVENTS ?= demo/events.jsonl
RATE ?= 1000
NAME ?=
GEO_DB ?=
MINUTES ?= 3
SECONDS ?= 75
FUZZ_SECONDS ?= 60
SEED ?=
# Crates without I/O are tested in the dev profile too, with overflow checks.
PURE := -p stream-core -p web-event -p web-intake -p nexmark -p job-aggregate -p job-nexmark -p job-process-events -p job-sessionize -p jobs

# Tests run in their crate's folder: a relative one would be looked for there.
ifdef CONFORMANCE_DIR
export CONFORMANCE_DIR := $(abspath $(CONFORMANCE_DIR))
endif

# librdkafka asks for a C++ compiler that it does not need for us.
ifeq ($(origin CXX),default)
ifeq ($(shell command -v c++ || command -v g++ || command -v clang++),)
export CXX := $(CURDIR)/scripts/cxx-absent
endif
endif

# Computed when used, so that only a build says what this machine cannot build.
CARGO_FEATURES ?= $(shell scripts/kafka-tls.sh)

##@ For users
.PHONY: up
up: ## start a local cluster: Kafka, Postgres, a jobmanager, two taskmanagers (TELEMETRY=1, DOCKER=1)
.PHONY: job
job: ## submit process_events: each event with the location of its ip (GEO_DB=FILE.mmdb, or IP_CODING_KEY)
.PHONY: homework_job
homework_job: ## submit sessionize with a gap of 5 minutes
.PHONY: aggregation_job
aggregation_job: ## submit aggregate: hits per host and referrer in windows of 5 minutes
.PHONY: analysis
analysis: ## answer the two SQL questions from the sessions
.PHONY: demo
demo: ## all of it from nothing: cluster, events of demo/, job, answers
.PHONY: load
load: ## produce a file of JSON lines into the topic (EVENTS=file)
.PHONY: traffic
traffic: ## produce live synthetic traffic until Ctrl-C (RATE=1000)
.PHONY: status
status: ## what runs where, since when, and its memory
.PHONY: logs
logs: ## the ends of the logs (NAME=taskmanager-1 for one, FOLLOW=1 to go on)
.PHONY: down
down: ## stop what `up` started; data and logs stay
.PHONY: clean
clean: ## stop it and remove its data and logs

ifndef DOCKER

up demo: build
	@$(LOCALCLUSTER) $@

job: $(JOBCTL)
	@$(LOCALCLUSTER) exec -- $(JOBCTL) submit process_events $(if $(GEO_DB),--geo-db $(GEO_DB)) $(ARGS)

homework_job: $(JOBCTL)
	@$(LOCALCLUSTER) exec -- $(JOBCTL) submit sessionize --gap 5m --close-when-idle $(ARGS)

aggregation_job: $(JOBCTL)
	@$(LOCALCLUSTER) exec -- $(JOBCTL) submit aggregate --window 5m --close-when-idle $(ARGS)

analysis status down clean: $(LOCALCLUSTER)
	@$(LOCALCLUSTER) $@

load: $(LOCALCLUSTER)
	@$(LOCALCLUSTER) load $(EVENTS)

traffic: $(LOCALCLUSTER)
	@$(LOCALCLUSTER) traffic --rate $(RATE) $(ARGS)

logs: $(LOCALCLUSTER)
	@$(LOCALCLUSTER) logs $(NAME) $(if $(FOLLOW),--follow)

else

# The same cluster in containers, and Grafana beside it. Nothing of this machine but Docker is used.
COMPOSE := $(if $(GEO_DB),GEO_DB=$(abspath $(GEO_DB)) )docker compose
SUBMIT := $(COMPOSE) exec jobmanager jobctl submit
LOCALCLUSTER_THERE := tools localcluster

up:
	@$(COMPOSE) up --build --detach --wait

# A database of locations is mounted: containers that do not have it yet are replaced, with a last checkpoint.
job:
	@$(if $(GEO_DB),$(COMPOSE) up --detach --wait)
	@$(SUBMIT) process_events $(if $(GEO_DB),--geo-db /geo/locations.mmdb) $(ARGS)

homework_job:
	@$(SUBMIT) sessionize --gap 5m --close-when-idle $(ARGS)

aggregation_job:
	@$(SUBMIT) aggregate --window 5m --close-when-idle $(ARGS)

analysis:
	@$(COMPOSE) run --rm --no-deps $(LOCALCLUSTER_THERE) analysis

load:
	@$(COMPOSE) run --rm --no-deps --volume $(abspath $(EVENTS)):$(abspath $(EVENTS)):ro $(LOCALCLUSTER_THERE) load $(abspath $(EVENTS))

traffic:
	@$(COMPOSE) run --rm --no-deps $(LOCALCLUSTER_THERE) traffic --rate $(RATE) $(ARGS)

demo: up load
	@$(SUBMIT) sessionize --gap 5m --until latest --wait
	@$(MAKE) --no-print-directory analysis DOCKER=1

status:
	@$(COMPOSE) ps

logs:
	@$(COMPOSE) logs --tail 40 $(firstword $(subst -, ,$(NAME))) $(if $(FOLLOW),--follow)

down:
	@$(COMPOSE) down

clean:
	@$(COMPOSE) down --volumes

endif

##@ For contributors
.PHONY: build
build: ## compile everything, optimised
	@cargo build --release --workspace $(if $(wildcard $(JOBCTL)),--quiet) $(CARGO_FEATURES)

# A fresh clone builds first; afterwards only `make build`, `up` and `demo` look for changes.
$(LOCALCLUSTER) $(JOBCTL):
	@$(MAKE) --no-print-directory build

.PHONY: fmt
fmt: ## format the source
	cargo fmt --all

.PHONY: check
check: ## format, lints, docs, purity of stream-core, dependency rules
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets $(CARGO_FEATURES) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --quiet $(CARGO_FEATURES)
	scripts/check-purity
	@$(MAKE) --no-print-directory deny

.PHONY: check-deploy
check-deploy: ## Dockerfile, compose file, manifests, alerts and dashboards, by the programs that read them
	@scripts/check-deploy $(ARGS)

.PHONY: test
# Tests of whole clusters mostly wait, so one more than there are cores still leaves them time. Whoever waited for them is told all that is red.
test: export RUST_TEST_THREADS ?= $(shell expr $$(nproc) + 1)
test: build ## everything, fast suites first; starts and stops its own Kafka and Postgres
	cargo test $(PURE)
	cargo test --release --workspace $(CARGO_FEATURES) --no-fail-fast

.PHONY: test-telemetry
test-telemetry: build ## a cluster against a real OpenTelemetry collector and a real Prometheus (built by Go, once): metrics, every panel and alert
	@tools=$$(scripts/telemetry-tools) && GAPWISE_TELEMETRY_TOOLS=$$tools cargo test --release --workspace $(CARGO_FEATURES) --test clusters -- telemetry:: dashboards:: --nocapture

.PHONY: sim
sim: build ## a whole job under simulated faults, seed after seed (SECONDS=75)
	@$(BIN)/sim --seconds $(SECONDS)

.PHONY: fuzz
fuzz: ## bytes that no producer would send, against the readers of records (FUZZ_SECONDS=60 for each)
	@scripts/fuzz $(FUZZ_SECONDS)

.PHONY: chaos
chaos: build ## kill everything around a job again and again, then check every row (MINUTES=3 SEED=n ARGS='--job process_events')
	@$(BIN)/chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: conformance
conformance: ## Flink's answers (CONFORMANCE_DIR=dir for another folder of the same format)
	@cargo test --quiet -p web-event -p web-intake -p job-sessionize --test conformance -- --nocapture

.PHONY: bench
bench: build ## beside the machine's limits, DuckDB and Flink, every result checked (ARGS='--only web/ --runs 3', ARGS=--help)
	@$(BIN)/bench $(ARGS)

.PHONY: bench-checkpoints
bench-checkpoints: build ## pause, size and duration of checkpoints with 200 k and 2 M open sessions (ARGS='--sessions 10000000 --rate 1000,10000 --rounds 3')
	@cargo bench --quiet --package stream-core --bench stalls
	@$(BIN)/bench-checkpoints $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: bench-recovery
bench-recovery: build ## kill -9 of a taskmanager at full load with 5 M open sessions: until something new is published (ARGS='--sessions 500000 --kills 3')
	@$(BIN)/bench-recovery $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: bench-scaling
bench-scaling: build ## cost of an event by stage, in 1, 2 and 4 taskmanagers, bytes on each wire, and what that says of more machines (ARGS=--docs)
	@$(BIN)/bench-scaling $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: bench-state
bench-state: ## bytes for each open session, and what an incremental snapshot takes of them; SESSIONS=10000000
	@cargo bench --quiet --package stream-core --bench memory -- $(SESSIONS)
	@cargo bench --quiet --package stream-core --bench deltas -- $(SESSIONS)

.PHONY: bench-sink
bench-sink: build ## rows a second into Postgres, by one connection and by several
	@$(BIN)/bench-sink $(ARGS)

.PHONY: bench-lookups
bench-lookups: build ## process_events against a service of locations that takes 0, 50 and 200 ms for an answer
	@$(BIN)/bench-lookups $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: bench-telemetry
bench-telemetry: build ## CPU for each event with telemetry on against off, in pairs; into a real collector, where Go can build one
	@tools=$$(scripts/telemetry-tools || true); GAPWISE_TELEMETRY_TOOLS=$$tools $(BIN)/bench-telemetry $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: bench-nexmark
bench-nexmark: build ## Nexmark query 11, generated bids to CSV: CPU for each bid, result checked
	@$(BIN)/bench-nexmark $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: bench-idle
bench-idle: build ## an idle cluster: memory, CPU, how soon it is ready, and a job on a tiny file
	@$(BIN)/bench-idle $(ARGS)

.PHONY: bench-latency
bench-latency: build ## from the end of a session to its row in Postgres, at half load, by checkpoint interval
	@$(BIN)/bench-latency $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: doc
doc: ## the documentation of every crate
	cargo doc --release --workspace --no-deps $(CARGO_FEATURES)

.PHONY: deny
deny: ## licences, sources and banned crates (cargo-deny)
	@command -v cargo-deny >/dev/null \
		|| { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	cargo deny --log-level warn check bans licenses sources

.PHONY: help
help:
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "%s%s\n", (NR > 40 ? "\n" : ""), substr($$0, 5) } \
		/^[a-z_-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
