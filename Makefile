# `make app` serves the dashboard; `make test` runs the tests, `make test-all` the slow ones too.
# Each installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DOCS := .venv-docs
# A process a core, one thread each; more than four would fill the memory of many machines.
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist worksteal

.PHONY: app test test-all lint docs bench reproduce clean

app: $(VENV)/app.stamp
	$(BIN)/streamlit run app.py

test: $(VENV)/dev.stamp
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not slow"

test-all: $(VENV)/dev.stamp
	$(BIN)/pytest $(SIDE_BY_SIDE)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in build/docs/index.html; a warning is an error.
docs: $(DOCS)/docs.stamp
	$(DOCS)/bin/python -m sphinx -W --keep-going --quiet --fresh-env docs build/docs

bench: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.main_job
	$(BIN)/python -m benchmarks.models
	$(BIN)/python -m benchmarks.first_page
	$(BIN)/python -m benchmarks.opening

# About two hours, two demos at a time; stopped anywhere, it goes on from there.
reproduce: $(VENV)/app.stamp
	$(BIN)/ffmerge reproduce

clean:
	rm -rf $(VENV) $(DOCS)

$(VENV)/bin/python $(DOCS)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 app")'
	$(PYTHON) -m venv $(@:/bin/python=)

$(VENV)/app.stamp: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/app.stamp
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

$(DOCS)/docs.stamp: requirements-docs.txt | $(DOCS)/bin/python
	$(DOCS)/bin/python -m pip install --quiet -r requirements-docs.txt
	touch $@
