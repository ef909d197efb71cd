# `make demo` and `make test` are the two commands of the README. Every target sets up what it needs.
.PHONY: test-full help setup python development demo lab-demo test fuzz chaos truth unit check docs bench comparisons comparisons-quick lock clean
.DEFAULT_GOAL := help

RESOLVE = .venv/bin/uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url
PYTEST = .venv/bin/python -m pytest
# Tests that measure times need a quiet machine. Those with processes and sockets are apart from those with containers, Ray
# and SSH, which keep the machine busy. Most of them wait most of the time: three at once keep two cores busy.
QUIET = truth and not (process or counted or full)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-17s %s\n", $$1, $$2}'

setup: ## install what is missing: .venv, h2load, a Docker engine, the base image
	@deploy/setup.sh

python: ## install .venv only
	@deploy/setup.sh python

development: ## install .venv with the tools of tests and checks
	@deploy/setup.sh development

demo: setup ## run the main comparison, Flask against FastAPI, on this machine (about 3 minutes)
	@deploy/demo.sh

lab-demo: setup ## run it on four hosts, simulated on this machine (root)
	@deploy/bootstrap-host.sh lab
	@deploy/lab/demo.sh

check: development ## run ruff, mypy and import-linter (needs .venv only)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

docs: development ## check the documentation and build it into build/docs (downloads mkdocs once)
	@deploy/docs/build.sh

unit: development ## run the unit tests in random order on two cores, in about a minute (needs .venv only)
	$(PYTEST) -q -n 2 --dist loadfile -m unit

test: development setup ## run the tests (ARGS='-m unit' for some of them)
	@deploy/bootstrap-host.sh lab tests
ifeq ($(ARGS),)
	@found=$$(mktemp); trap 'rm -f "$$found"' EXIT; set -x; \
	.ci/part "tests with processes" -q -n 3 --dist worksteal --durations=10 -m 'process and not full' --findings-to="$$found" && \
	.ci/part "tests beside each other" -n 3 --dist loadgroup --durations=25 -m 'not (process or full or ($(QUIET)))' --findings-to="$$found" && \
	.ci/part "tests on a quiet machine" --durations=15 -m '$(QUIET)' --findings-from="$$found"
else
	$(PYTEST) $(ARGS)
endif

test-full: development setup ## run the long tests that 'make test' leaves out, beside a shorter one of each (10 minutes)
	@deploy/bootstrap-host.sh lab tests
	$(PYTEST) -n 2 --dist loadgroup -m full

fuzz: development ## read 20,000 made-up inputs of every kind (needs .venv only, 15 minutes; ARGS='--inputs 1000 campaign')
	.venv/bin/python -m tests.fuzz $(ARGS)

chaos: development setup ## make every part of a run fail, and print a table (root, an hour; ARGS='--world local --fault "guard*"')
	@deploy/bootstrap-host.sh lab tests
	.venv/bin/python -m tests.chaos $(ARGS)

truth: development ## compare Volley with servers of known behaviour (needs .venv and gcc, 8 minutes; ARGS=--help)
	@command -v gcc >/dev/null || { echo "gcc is missing: run deploy/bootstrap-host.sh lab" >&2; exit 1; }
	@.venv/bin/python -m tests.truth.table $(ARGS)

bench: development setup ## measure Volley itself, beside other load generators (ARGS=generators for one part)
	@deploy/bootstrap-host.sh lab tests bench
	@command -v wrk >/dev/null || $$([ "$$(id -u)" = 0 ] || echo sudo) apt-get install -qq --no-install-recommends wrk
	.venv/bin/python -m benchmarks $(ARGS)

comparisons: setup ## run the published comparisons as their campaigns are written (about 3 hours)
	.venv/bin/python -m benchmarks.comparisons run $(ARGS)

comparisons-quick: setup ## the same with short windows, in under 20 minutes: too few trials for claims
	.venv/bin/python -m benchmarks.comparisons run --quick $(ARGS)

lock: ## resolve the lock files again (needs .venv with uv)
	$(RESOLVE) --extra hosts pyproject.toml -o deploy/requirements.lock
	$(RESOLVE) --all-extras --group dev -c deploy/requirements.lock pyproject.toml -o deploy/development.lock
	$(RESOLVE) --group build -c deploy/development.lock -o deploy/build.lock
	$(RESOLVE) --group docs -o deploy/docs/requirements.lock

clean: ## remove .venv, runs and caches from this folder
	rm -rf .venv .venv-docs build runs .mypy_cache .ruff_cache .hypothesis .import_linter_cache
