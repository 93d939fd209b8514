# One command for each thing. `make setup` leaves .venv/bin/forerun; `make demo` shows it at work.
# Everything installed is pinned by hash in requirements/*.lock.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
PIP := -m pip install --quiet --disable-pip-version-check

.PHONY: setup console clients node npm browser postgresql demo demo-cluster test test-fast lint format bench docs locks clean

setup: .venv/.ready console

.venv/.ready: requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh .ci/install-venv "$(PYTHON)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python $(PIP) --require-hashes -r requirements/dev.lock
	$(BIN)/python $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# The console's pages, out of console/ into the package. Without npm there are none, and the server works all the same.
PAGES := src/forerun/console/assets/index.html

console: $(PAGES)

$(PAGES): $(shell find console -path console/node_modules -prune -o -type f -print) | npm
	@! command -v npm >/dev/null || { cd console && npm ci --silent && npm run --silent build -- --logLevel warn; }

# The AWS tools that conformance tests drive want other versions of botocore than we do. Their lock is complete, and
# --no-deps is needed: pip 23 does not see that a pinned package meets a requirement with extras.
clients: .venv-clients/.ready

.venv-clients/.ready: requirements/clients.lock tests/conformance/nodejs/package-lock.json | setup
	test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python $(PIP) --no-deps --require-hashes -r requirements/clients.lock
	@! command -v npm >/dev/null || { cd tests/conformance/nodejs && npm ci --silent; }
	@touch $@

node:
	@command -v node >/dev/null || sh .ci/install-node

npm: node
	@command -v npm >/dev/null || sh .ci/install-npm

browser:
	@command -v chromium >/dev/null || sh .ci/install-chromium

postgresql:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || sh .ci/install-postgresql

# make demo KEEP=1 leaves the server running; DEMO_DIR=... keeps its data.
demo: setup node
	$(BIN)/python examples/demo.py $(if $(KEEP),--keep)

# Two hosts and two control planes on this machine, with a PostgreSQL of their own; as root.
demo-cluster: setup postgresql
	$(BIN)/python examples/cluster_demo.py

# Many tests wait more than they work, so there are twice as many processes as cores. What fails among all the others is told,
# and has to pass alone: some promises are of time.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) \* 2)

test: setup clients node browser postgresql
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not soak" || { test $$? -eq 1 && $(BIN)/pytest -n 0 --maxfail 1 --last-failed --last-failed-no-failures none; }

# What takes longer than every change can wait for: faults, upgrades, a recording played live. bench/jepsen.py takes as many
# minutes as it is given.
soak: setup postgresql
	$(BIN)/pytest -m soak

# Without real processes and foreign clients: seconds.
test-fast: setup
	$(BIN)/pytest -n auto -m "not soak and not slow and not conformance and not root"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@! test -d console/node_modules || { cd console && npm run --silent check; }

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Every promise of docs/specification.md, then the named peers in turns; make bench QUICK=1 takes minutes less.
bench: setup
	$(BIN)/python bench/main_job.py $(if $(QUICK),--quick)
	$(BIN)/python bench/peers.py $(if $(QUICK),--quick)

# The tables of README.md and docs/operations.md that the code knows better.
docs: setup
	$(BIN)/python docs/tables.py

# The lock files name no registry: what is installed is told apart by its hashes alone.
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --no-header \
	--python-version 3.11 pyproject.toml

locks: setup
	$(LOCK) --extra sam --extra cluster --group dev --group demo -o requirements/dev.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --group conformance -o requirements/clients.lock

clean:
	rm -rf console/node_modules src/forerun/console/assets
	rm -rf .venv .venv-clients .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
