# make demo    create the environment, install, run the whole loop on the built-in data set
# make test    create the environment, install, run every check and test
# make test-browser   drive the pages of the studio in Chromium
# make bench   speed and memory against peers (see bench/README.md)

PYTHON ?= python3
VENV ?= .venv
# The build of torch that plain pip finds. For a certain one, e.g. without CUDA or for a CUDA version:
#   make install TORCH_INDEX=https://download.pytorch.org/whl/cpu      (or …/whl/cu130)
TORCH ?= torch==2.13.0
TORCH_INDEX ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test test-browser check format bench clean

install: $(INSTALLED)

# torch goes first: with it in place, nothing else pulls another build of it.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,bench,qlora,studio]"
	touch $@

demo: install
	$(BIN)/tunesmith demo

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes of one thread each: torch's threads get in each other's way when several processes compute at once.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# The pages of `tunesmith studio` in a real Chromium; what is not there is said.
test-browser: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser -rs tests/studio/browser

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python bench/sft.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
