# Every target installs what it needs. The first Python of 3.11 or newer that answers is used; PYTHON=… names another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PORT ?= 9200
ML ?= 1
SERVE ?= 8000
DRAWN ?= 5000
# Tests at once: much of the time is waiting for servers. Each worker starts its own, so there is none where
# OPENSEARCH_URL names the only one.
WORKERS ?= $(if $(OPENSEARCH_URL),0,3)

.PHONY: help install quickstart serve opensearch test campaign drawn adapters unit check format constraints docs bench msmarco clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/.installed  ## make .venv with the command hybrid-search in it

# torch for CPUs where its own index is reachable (a tenth of the size), else as the package index has it.
.venv/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend=cpu -c constraints.txt -e '.[dev]' 2>/dev/null \
		|| $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

quickstart: install  ## train, index, evaluate and query on the documentation that ships with Python
	$(BIN)/hybrid-search quickstart

serve: install  ## serve the index of make quickstart over HTTP until Ctrl-C (SERVE=8000)
	@test -d quickstart/index || $(MAKE) --no-print-directory quickstart
	$(BIN)/hybrid-search serve quickstart/index --writable --judgements quickstart/judged --port $(SERVE)

opensearch: install  ## run a local OpenSearch node until Ctrl-C and print its URL (PORT=9200; ML=0 without ml-commons)
	PYTHONPATH=tests PORT=$(PORT) ML=$(ML) $(BIN)/python -m node

test: install  ## all tests: units, conformance, integration, the campaign for a short while (WORKERS=3)
	@! command -v npm >/dev/null || $(MAKE) --no-print-directory panels \
		|| echo "npm can't install Vega, so no panel of Dashboards is drawn" >&2
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

campaign: install  ## attack the product for an hour: kills, power loss, threads, hostile input (a stopped one goes on)
	PYTHONPATH=tests:. $(BIN)/python -m campaign --write $(CAMPAIGN)

drawn: install  ## ask the HTTP service 5,000 requests that schemathesis draws from its description (DRAWN=5000)
	DRAWN=$(DRAWN) $(BIN)/python -m pytest -q -n0 -s tests/unit/service/test_drawn_requests.py

# Of its own: these suites bring plugins of pytest's that the other tests are not written for.
adapters: install  ## the frameworks' own test suites for our adapters (LangChain, Haystack; LlamaIndex), on both engines
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .cache/adapters
	$(BIN)/uv pip install --quiet --python .cache/adapters/bin/python -c constraints.txt -e '.[adapters]' pytest
	PYTHONPATH=tests .cache/adapters/bin/python -m pytest -c tests/adapters/pytest.ini -p node.plugin tests/adapters

unit: install  ## the unit tests alone
	$(BIN)/python -m pytest -q tests/unit

check: install  ## lint, formatting, types, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m docs.generate --check

format: install  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: install  ## pin the newest versions that fit pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate --all-extras --upgrade \
		pyproject.toml -o constraints.txt

docs: install  ## write the generated parts of docs/
	$(BIN)/python -m docs.generate

# The versions are pinned in package.json; a lock file would name the registry that it was made with.
panels: .cache/panels/.installed  ## install what draws the panels of Dashboards (node and npm needed), for its test

.cache/panels/.installed: docs/panels/package.json
	@mkdir -p $(@D) && cp $< $(@D)/
	npm install --prefix $(@D) --loglevel=error --no-audit --no-fund --no-package-lock
	@touch $@

bench: install  ## run the benchmarks; writes benchmarks/results/
	$(BIN)/python -m benchmarks

msmarco: install  ## the whole MS MARCO passage task: make msmarco DATA=folder OUT=folder (docs/msmarco.md)
	$(BIN)/python -m benchmarks.msmarco_full --data $(DATA) --out $(OUT)

clean:  ## remove what the targets above made
	rm -rf .venv .cache quickstart build *.egg-info
