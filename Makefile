.PHONY: style quality test test-slow bench docs

PYTHON ?= python

# Put the code into the project's form.
style:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

# Check form and types; changes nothing.
quality:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	lint-imports

# The quick tests.
test:
	$(PYTHON) -m pytest tests

# What the quick tests leave out: several processes, training runs, the README's code blocks.
test-slow:
	$(PYTHON) -m pytest tests -m slow

# Speed and memory of inference on this machine.
bench:
	$(PYTHON) benchmarks/inference.py

# The documentation as a site in site/, with pages from docstrings; needs the extra `docs`.
docs:
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict
