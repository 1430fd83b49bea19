.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# What each installation has added to .venv.
SMALL := .venv/.small_installed
INSTALLED := .venv/.installed
BENCH := .venv/.bench_installed
DOCS := .venv/.docs_installed

.PHONY: help demo crawl-demo update-demo review-demo test test-fast test-processor attack coverage lint docs bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(SMALL)  ## from nothing to a reading: render, train, read unseen words
	rm -rf demo_output
	@echo "after its first steps the training says how long it will take on this machine"
	$(BIN)/hanline train experiment=headline_quick hydra.run.dir=demo_output/run
	$(BIN)/hanline synthesize output=demo_output/words part=validation samples=200 corpus.unseen_only=true synthesis.fonts=bundled
	$(BIN)/hanline predict input=demo_output/words checkpoint=demo_output/run/best_accuracy.ckpt output=demo_output
	@echo "the same words, read by the reader that comes with Hanline:"
	$(BIN)/hanline predict input=demo_output/words output=demo_output/shipped
	@echo "made: the datasets in data/rendered, the run in demo_output/run, the words in demo_output/words"

crawl-demo: $(INSTALLED)  ## two days of crawling a news site on this machine; about 10 seconds
	$(BIN)/python examples/crawl_demo.py

update-demo: $(INSTALLED)  ## three days of hanline update on that site; its time has not been measured
	$(BIN)/python examples/update_demo.py

review-demo: $(SMALL)  ## a page on which you correct readings of a drawn folder; Ctrl-C ends it
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[review]'
	[ -d demo_output/lines ] || $(BIN)/hanline synthesize output=demo_output/lines part=validation samples=60 renderer=varied synthesis.fonts=bundled
	$(BIN)/hanline review input=demo_output/lines output=demo_output/review

# One thread each: more of them than there are cores wait for one another, ten times as long.
test: lint  ## everything that must hold: style, types, tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not attack"

test-fast: $(INSTALLED)  ## the tests that take no other process and no training
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not attack"

# These two make any x86 processor one without AVX-512, as most are.
test-processor: export ONEDNN_MAX_CPU_ISA := AVX2
test-processor: export ATEN_CPU_CAPABILITY := avx2
test-processor: $(INSTALLED)  ## the tests that depend on the processor, on one with AVX2 alone; about 2 minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m processor

attack: $(INSTALLED)  ## hostile files, kills, full disks in bulk, and the table of what held; HANLINE_ATTACK_SEED=N tries others
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m attack

coverage: $(INSTALLED)  ## the share of lines and branches that make test-fast runs; fails below the floor
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not attack" --cov --cov-report=term --cov-report=html:build/coverage

docs: $(DOCS)  ## the site of documentation, in build/site
	$(BIN)/mkdocs build --strict

bench: $(BENCH)  ## every benchmark, and the machine that it measured; DTRB=path of a checkout to compare with
	$(BIN)/python benchmarks/all.py $(if $(DTRB),--dtrb $(DTRB))

lint: $(INSTALLED)  ## style and types alone
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python tools/check_vocabulary.py
	$(BIN)/mypy

.venv: $(INSTALLED)  ## the environment for development

# What the demo needs. For Linux on x86_64, the package index has torch with NVIDIA's libraries only.
$(SMALL): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@[ "$$(uname -sm)" != "Linux x86_64" ] || echo "installing: about 3 GB to download, 5.7 GB on disk; most is torch's support of NVIDIA cards"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $(SMALL)

# trdg pins a version of arabic-reshaper that pip refuses since 24.1; its requirements are in [dev].
$(INSTALLED): $(SMALL) crawler/pyproject.toml
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]' -e crawler
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps trdg
	touch $(INSTALLED)

# What the benchmarks compare with and draw their plot with.
$(BENCH): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,bench]'
	touch $(BENCH)

$(DOCS): $(SMALL)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $(DOCS)

clean:  ## remove what can be made again: rendered datasets, the demo, builds, caches
	rm -rf data/rendered demo_output multirun outputs build dist .mypy_cache .pytest_cache .ruff_cache
