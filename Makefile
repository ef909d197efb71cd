# The two commands of the README are `make demo` and `make test`; both set up what they need.
.PHONY: help setup demo lab-demo test check bench lock clean
.DEFAULT_GOAL := help

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

setup: ## .venv, h2load, Docker engine, base image: what is missing and no more
	@deploy/setup.sh

demo: setup ## Flask or FastAPI, which is faster? The main job, on this machine (about 3 minutes)
	@deploy/demo.sh

lab-demo: setup ## the main comparison over four hosts with sshd and engines of their own, on this machine (root)
	@deploy/bootstrap-host.sh lab
	@deploy/lab/demo.sh

test: setup ## every test: what needs no quiet machine on two cores at once, then the rest (ARGS='-m unit' for a part)
	@deploy/bootstrap-host.sh lab
ifeq ($(ARGS),)
	.venv/bin/python -m pytest -q -n 2 --dist loadfile -m 'unit and not table'
	.venv/bin/python -m pytest -m 'table or not unit'
else
	.venv/bin/python -m pytest $(ARGS)
endif

check: setup ## ruff, mypy, import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup ## how fast Volley itself is, side by side with others
	@deploy/bootstrap-host.sh lab bench
	.venv/bin/python -m benchmarks

lock: ## resolve deploy/requirements.lock anew (needs uv)
	uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --all-extras --group dev pyproject.toml -o deploy/requirements.lock

clean: ## what setup made in this folder
	rm -rf .venv runs .mypy_cache .ruff_cache .hypothesis
