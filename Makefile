# `make demo` and `make test` do all their own set-up in .venv; nothing else is needed than Python with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

.PHONY: demo test test-slow fuzz chaos check format examples

demo: $(VENV)/.installed
	$(BIN)/counterpoise demo

# On two cores the fast tests take four to six minutes, the slow ones nine; threads of two workers would wait for each other.
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-slow: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2 --dist worksteal

# Mutated inputs, and commands that are killed in the middle; each under 20 minutes.
fuzz: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python tests/helpers/fuzzing.py --cases 3000 --seed 0 --jobs 2

chaos: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python tests/helpers/chaos.py --kills 300 --seed 0 --jobs 2

check: $(VENV)/.installed
	$(BIN)/ruff check src tests benchmarks docs tools
	$(BIN)/ruff format --check src tests benchmarks docs tools
	$(BIN)/mypy
	$(BIN)/python tools/check_language.py

format: $(VENV)/.installed
	$(BIN)/ruff check --fix src tests benchmarks docs tools
	$(BIN)/ruff format src tests benchmarks docs tools

# The pictures of docs/examples/ and their page, docs/examples.md.
examples: $(VENV)/.installed
	$(BIN)/python docs/make_examples.py
