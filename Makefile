# The only interface: people and CI call the same targets. `make grid` and `make test` need nothing else.
# `make tables` takes what data sets it finds, and names those that are missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install grid tables smoke test check docs bench tune clean

install: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[report]' --group dev
	touch $@

grid: install
	$(BIN)/dpbench run grids/default.yaml

# All papers' tables at laptop scale: under three hours on two slow cores.
tables: install
	$(BIN)/dpbench reproduce --out results/paper

smoke: install
	$(BIN)/dpbench run grids/smoke.yaml

test: install
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --group docs
	touch $@

bench: install
	$(BIN)/python -m bench.speed

tune: install
	$(BIN)/python -m bench.tune_epochs
	$(BIN)/python -m bench.tune_dp_sgd
	$(BIN)/python -m bench.tune_dp_sgd_grids

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
