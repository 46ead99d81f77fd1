# The commands people type. Needs only make and Python 3.11 or newer; everything else goes into $(VENV).

PYTHON ?= python3
PORT   ?= 8000
VENV   ?= .venv
CONSTRAINTS ?= constraints.txt
SECONDS ?= 900

BIN  := $(VENV)/bin
BOOK := $(VENV)/.installed-book
ALL  := $(VENV)/.installed-all
HTML := book/_build/html
BUILT := book/_build/built
OF_HTML := $(addprefix tests/book/test_,html.py built_reading.py learner_notebooks.py publish.py editions.py)
NBVAL := $(BIN)/python -m pytest --nbval -n 2 --dist loadfile -p no:cacheprovider \
  --nbval-sanitize-with tests/book/nbval.cfg --nbval-cell-timeout=120 --timeout=600 -W default
STAGES := lint types unit html html-test browser-test notebook-test learner-test

# A virtual environment must not see the packages or the settings of its surroundings.
export PYTHONNOUSERSITE := 1
export JUPYTER_PREFER_ENV_PATH := 1
unexport PYTHONPATH PYTHONHOME PIP_USER PIP_CONSTRAINT

.DEFAULT_GOAL := help
.PHONY: help book serve pdf epub notebooks-zip publish lab notebooks bench soak api arrows snapshots test \
  $(STAGES) clean clean-all

help:  ## print this list
	@echo "make TARGET    (PYTHON=$(PYTHON), VENV=$(VENV), PORT=$(PORT))"
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

book: html  ## build the book and print the path of its first page

serve: $(BOOK) html  ## serve the built book on 127.0.0.1 (PORT=8000)
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory $(HTML) $(PORT)

pdf: $(ALL) html  ## print the book as one PDF; needs Chromium
	$(BIN)/python -m tools.editions.pdf

epub: $(ALL) html  ## write the book as an EPUB, for e-book readers; needs Chromium
	$(BIN)/python -m tools.editions.epub

notebooks-zip: $(BOOK) html  ## pack the learner's notebooks, the package and what they read
	$(BIN)/python -m tools.editions.notebooks_zip

publish: $(BOOK)  ## say where the course is published, once, and lay out what to push
	$(BIN)/python -m tools.publish.address $(ADDRESS) $(if $(SITE),--site $(SITE))
	@$(MAKE) --no-print-directory html
	$(BIN)/python -m tools.publish.branches

lab: $(ALL) html  ## open your own notebooks in JupyterLab, and the book with them (PORT=8888)
	$(BIN)/python -m tools.lab $(if $(filter file,$(origin PORT)),,--port $(PORT)) $(LAB)

# One BLAS thread, as in the comparison: two sum in another order, which shows in the last digits.
notebooks: export OMP_NUM_THREADS := 1
notebooks: $(ALL)  ## run every notebook, or NOTEBOOKS=..., and write the outputs
	$(BIN)/python -m tools.notebooks.run $(NOTEBOOKS)

api: $(ALL)  ## write the API pages again, after a module was added or renamed
	$(BIN)/python -m tools.pages.api

arrows: $(ALL)  ## draw again which part of the package uses which
	$(BIN)/python -m tools.pictures.arrows

snapshots: $(ALL) html  ## take the pictures of the interactive figures again; needs Chromium
	$(BIN)/python -m tools.pictures.snapshots

test: $(ALL)  ## everything that CI does, in its order; stops at the first failure
	@set -e; for stage in $(STAGES); do \
	  echo; echo "==> $$stage"; $(MAKE) --no-print-directory $$stage; \
	done; echo; echo "==> all stages passed: $(STAGES)"

lint: $(ALL)  ## check the style of code and notebooks, the arrows between the parts, and for unsafe calls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/bandit -q -c pyproject.toml -r course_lib tools

types: $(ALL)  ## check the types of course_lib
	$(BIN)/mypy

# One BLAS thread per process: two test processes on two cores would otherwise run four.
unit: export OMP_NUM_THREADS := 1
unit: $(ALL)  ## run the tests of the package and its docstrings
	$(BIN)/python -m pytest -n 2 --ignore=tests/browser $(addprefix --ignore=,$(OF_HTML))

# From nothing if anything that it is made of was changed: a page that is not read again gives no
# warning again, and a page that is gone would stay.
html: $(BOOK)
	@if ! test -f $(HTML)/index.html || ! test -f $(BUILT) || test -n "$$(find book course_lib tools pyproject.toml $(CONSTRAINTS) \
	  -newer $(BUILT) -type f -not -path '*/_build/*' -not -path '*/.*' -not -name '*.pyc')"; then \
	  rm -rf $(HTML) $(BUILT) && mkdir -p book/_build && touch $(BUILT).begun && \
	  $(BIN)/jupyter-book build book --all -q -n -W --keep-going && mv $(BUILT).begun $(BUILT); \
	fi
	@echo "The book: $(abspath $(HTML))/index.html"

html-test: $(ALL)  ## look for faults in the built book
	BOOK_HTML=$(HTML) $(BIN)/python -m pytest -n 2 $(OF_HTML)

browser-test: $(ALL)  ## visit every page of the built book with Chromium
	BOOK_HTML=$(HTML) $(BIN)/python -m pytest -n 2 tests/browser

notebook-test: export OMP_NUM_THREADS := 1
notebook-test: $(ALL)  ## run every notebook and compare with its committed outputs
	$(NBVAL) book/

learner-test: export OMP_NUM_THREADS := 1
learner-test: export COURSE_LIB_PROGRESS := off
learner-test: $(ALL) html  ## run the learner's notebooks, made of the built book, and compare as well
	@rm -rf notebooks
	$(BIN)/python -m tools.notebooks.learner
	$(NBVAL) notebooks/

bench: $(ALL)  ## measure beside PyTorch and scikit-learn, and write the results; needs a quiet machine
	$(BIN)/python benchmarks/step.py --out benchmarks/results/step.json
	$(BIN)/python benchmarks/estimators.py --out benchmarks/results/estimators.json
	$(BIN)/python benchmarks/all_reduce.py --out benchmarks/results/all_reduce.json
	$(BIN)/python benchmarks/weak_scaling.py --out benchmarks/results/weak_scaling.json

soak: $(ALL)  ## train with a hundred faults for 15 minutes (SECONDS=900), and write the result
	$(BIN)/python -m tools.soak --seconds $(SECONDS) --out book/reference/soak.json

clean:  ## remove what was built; keep the virtual environment
	rm -rf book/_build notebooks build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

clean-all: clean  ## remove the virtual environment too
	rm -rf $(VENV)

$(VENV)/.created:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "make: no program named '$(PYTHON)'. Install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: '$(PYTHON)' is $$($(PYTHON) --version 2>&1), but Python 3.11 or newer is needed. Name a newer one: make PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: '$(PYTHON)' has no venv module. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(BOOK): $(VENV)/.created pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install -c $(CONSTRAINTS) -e ".[book]"
	@touch $@

$(ALL): $(VENV)/.created pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install -c $(CONSTRAINTS) -e ".[all]"
	@touch $(BOOK) $@
