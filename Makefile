# The same commands for people and for continuous integration. PYTHON chooses the interpreter that .venv is made with.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test bench lint format clean

demo: .venv/plots.installed  ## hash, search and evaluate handwritten digits; pictures in out/demo
	$(BIN)/fasthash demo

test: .venv/test.installed  ## the whole test suite
	$(BIN)/python -m pytest

bench: .venv/test.installed  ## every benchmark, on one quiet machine
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-columns=min,median,rounds --benchmark-sort=min

lint: .venv/test.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/test.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist out

# An editable install that rebuilds the compiled core on import, so it builds with what is in .venv.
.venv/%.installed: .venv/built-with.installed pyproject.toml CMakeLists.txt constraints.txt
	$(INSTALL) --no-build-isolation --config-settings=editable.rebuild=true \
		--config-settings=build-dir=build/editable --editable '.[$*]'
	touch $@

.venv/built-with.installed: constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) pip scikit-build-core pybind11 cmake ninja torch
	touch $@
