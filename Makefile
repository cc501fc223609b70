# Two commands: `make demo` and `make test`. Both need Python 3.11 to 3.13, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
# What the pinned TensorFlow is built for.
SUITS := import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit("Expected Python 3.11 \
to 3.13. Received %d.%d. Name another: make PYTHON=python3.13" % v[:2])

# Tests start hundreds of processes: what Python has compiled once is not to be compiled again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long bench bench-quick clean

demo: .venv/installed
	$(BIN)/topo-search search examples/iris.csv --target species --trials 30
	@echo
	@echo "Open the report in a browser: file://$(CURDIR)/iris-report.html"

# Four at a time, also on two cores: many tests wait for processes and leases, and each process has
# to load what is tested.
test: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# Beside it, so that four processes need not prepare all tests' assertions at the same time.
	$(BIN)/pytest --collect-only --quiet > /dev/null & $(BIN)/mypy && wait
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder \
		-m "not browser and not benchmark and not fleet and not slow"

# What takes long: pages in a real browser (Chromium, which the variable CHROMIUM may name), fleets of
# real processes to which everything happens, each benchmark at its smallest; a real search under
# kills, a sweep, requests at random. MARKS chooses.
MARKS ?= browser or fleet or benchmark or slow
test-long: .venv/tested
	$(BIN)/pytest -n 4 --dist loadfile -m "$(MARKS)"

# A small version of each, in ten minutes; its figures say that it works, and no more.
bench-quick: .venv/benched
	$(BIN)/python benchmarks/throughput.py --quick
	$(BIN)/python benchmarks/training.py --tables iris --topologies 3 --rounds 1
	$(BIN)/python benchmarks/depth.py --deepest 30
	$(BIN)/python benchmarks/tables.py --tables iris --seeds 1
	$(BIN)/python benchmarks/quality.py --quick
	$(BIN)/python benchmarks/start.py --quick
	$(BIN)/python benchmarks/service.py --quick
	$(BIN)/python benchmarks/growth.py --quick
	$(BIN)/python benchmarks/faults.py --minutes 0.5
	$(BIN)/python benchmarks/web.py --quick

bench: .venv/benched
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/depth.py
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/service.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/faults.py --minutes 10
	$(BIN)/python benchmarks/web.py

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c '$(SUITS)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

.venv/benched: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis
