# Two commands for newcomers: `make demo` and `make test`. Both set up .venv first and need only Python 3.11 or 3.12.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

OTHER := .venv312

FUZZED := framing tcp tls http2

.PHONY: demo test test-live-312 check fix fuzz sample clean help

demo: $(VENV)/.base  ## judge the bundled sample
	@$(BIN)/mutewatch demo

test: $(VENV)/.dev  ## set up everything and run the tests
	$(BIN)/python -m pytest -q

test-live-312: $(OTHER)/.test  ## the live tests under Python 3.12, which has another mitmproxy than 3.11
	$(OTHER)/bin/python -m pytest -q -m live

check: $(VENV)/.dev  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fuzz: $(VENV)/.fuzz  ## look for inputs that break the capture engine: a minute for each target, two at a time
	printf '%s\n' $(FUZZED) | xargs -P 2 -I '{}' sh -c \
		'$(BIN)/python -m bench.fuzz "{}" --seconds 60 || exit 255'

fix: $(VENV)/.dev  ## format, and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

sample: $(VENV)/.dev  ## play the sample meeting again and write the bundled files
	$(BIN)/python -m tests.meeting mutewatch/sample

clean:  ## remove the environment, and what the demo wrote
	rm -rf $(VENV) $(OTHER) mutewatch-demo

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.fuzz: pyproject.toml | $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]' || \
		echo "atheris is not to be had here: fuzzing goes by chance, not by coverage"
	@touch $@

$(OTHER)/.test: pyproject.toml
	python3.12 -m venv $(OTHER)
	$(OTHER)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@
