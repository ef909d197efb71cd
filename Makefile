# `make demo` and `make test` are the two commands of the README. Every target sets up what it needs.
.PHONY: help setup python demo lab-demo test fuzz truth unit check bench comparisons comparisons-quick lock clean
.DEFAULT_GOAL := help

PYTEST = .venv/bin/python -m pytest
# Tests that measure times need a quiet machine. Those with processes and sockets run two at once, because their bounds
# are wide. The rest is pure, or mostly waits for containers, Ray and SSH: three at once keep two cores busy.
QUIET = truth and not (process or counted)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-17s %s\n", $$1, $$2}'

setup: ## install what is missing: .venv, h2load, a Docker engine, the base image
	@deploy/setup.sh

python: ## install .venv only
	@deploy/setup.sh python

demo: setup ## run the main comparison, Flask against FastAPI, on this machine (about 3 minutes)
	@deploy/demo.sh

lab-demo: setup ## run it on four hosts, simulated on this machine (root)
	@deploy/bootstrap-host.sh lab
	@deploy/lab/demo.sh

check: python ## run ruff, mypy and import-linter (needs .venv only)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

unit: python ## run the unit tests on two cores, in under a minute (needs .venv only)
	$(PYTEST) -q -n 2 --dist loadfile -m unit

test: setup ## run all tests (ARGS='-m unit' for some of them)
	@deploy/bootstrap-host.sh lab
ifeq ($(ARGS),)
	@found=$$(mktemp); trap 'rm -f "$$found"' EXIT; set -x; \
	.ci/timed "tests with processes" $(PYTEST) -q -n 2 --dist worksteal --durations=10 -m process --findings-to="$$found" && \
	.ci/timed "tests beside each other" $(PYTEST) -n 3 --dist loadgroup --durations=25 -m 'not (process or ($(QUIET)))' --findings-to="$$found" && \
	.ci/timed "tests on a quiet machine" $(PYTEST) --durations=15 -m '$(QUIET)' --findings-from="$$found"
else
	$(PYTEST) $(ARGS)
endif

fuzz: python ## read 20,000 made-up inputs of every kind (needs .venv only, 15 minutes; ARGS='--inputs 1000 campaign')
	.venv/bin/python -m tests.fuzz $(ARGS)

truth: python ## compare Volley with servers of known behaviour (needs .venv and gcc, 8 minutes; ARGS=--help)
	@command -v gcc >/dev/null || { echo "gcc is missing: run deploy/bootstrap-host.sh lab" >&2; exit 1; }
	@.venv/bin/python -m tests.truth.table $(ARGS)

bench: setup ## measure Volley itself, beside other load generators (ARGS=generators for one part)
	@deploy/bootstrap-host.sh lab bench
	@command -v wrk >/dev/null || $$([ "$$(id -u)" = 0 ] || echo sudo) apt-get install -qq --no-install-recommends wrk
	.venv/bin/python -m benchmarks $(ARGS)

comparisons: setup ## run the published comparisons as their campaigns are written (about 3 hours)
	.venv/bin/python -m benchmarks.comparisons run $(ARGS)

comparisons-quick: setup ## the same with short windows, in under 20 minutes: too few trials for claims
	.venv/bin/python -m benchmarks.comparisons run --quick $(ARGS)

lock: ## resolve deploy/requirements.lock again (needs uv)
	uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --all-extras --group dev pyproject.toml -o deploy/requirements.lock

clean: ## remove .venv, runs and caches from this folder
	rm -rf .venv runs .mypy_cache .ruff_cache .hypothesis .import_linter_cache
