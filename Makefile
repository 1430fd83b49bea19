.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
BENCH := .venv/.bench_installed

.PHONY: help demo crawl-demo test test-processor lint bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(INSTALLED)  ## from nothing to a reading: draw, train, read unseen words; about 10 minutes
	rm -rf demo_output
	$(BIN)/hanline train experiment=headline_quick hydra.run.dir=demo_output/run
	$(BIN)/hanline synthesize output=demo_output/words part=validation samples=200 corpus.unseen_only=true synthesis.fonts=bundled
	$(BIN)/hanline predict image_dir=demo_output/words checkpoint=demo_output/run/best_accuracy.ckpt output_dir=demo_output
	@echo "the same words, read by the reader that comes with Hanline:"
	$(BIN)/hanline predict image_dir=demo_output/words output_dir=demo_output/shipped
	@echo "made: the sets below data/, the run in demo_output/run, the words in demo_output/words"

crawl-demo: $(INSTALLED)  ## two days of crawling a news site on this machine; about 10 seconds
	$(BIN)/python examples/crawl_demo.py

# One thread each: more of them than there are cores wait for one another, ten times as long.
test: lint  ## everything that must hold: style, types, tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# These two make any x86 processor one without AVX-512, as most are.
test-processor: export ONEDNN_MAX_CPU_ISA := AVX2
test-processor: export ATEN_CPU_CAPABILITY := avx2
test-processor: $(INSTALLED)  ## the tests that depend on the processor, on one with AVX2 alone; about a minute
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m processor

bench: $(BENCH)  ## every benchmark; DTRB=path of a checkout to compare with
	$(BIN)/python benchmarks/all.py $(if $(DTRB),--dtrb $(DTRB))

lint: $(INSTALLED)  ## style and types alone
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.venv: $(INSTALLED)  ## the environment for development

# trdg pins a version of arabic-reshaper that pip refuses since 24.1; what it needs is in [dev].
$(INSTALLED): pyproject.toml crawler/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]' -e crawler
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps trdg
	touch $(INSTALLED)

# What the benchmarks compare with and draw their plot with.
$(BENCH): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,bench]'
	touch $(BENCH)

# Of data/ only the drawn sets, whose names end in a hash: crawled headlines live there too.
FOUR := [0-9a-f][0-9a-f][0-9a-f][0-9a-f]
HASH := $(FOUR)$(FOUR)$(FOUR)
DRAWN := $(foreach part,train validation,data/$(part)-$(HASH) data/$(part)-$(HASH).partial*)

clean:  ## remove what can be made again: drawn sets, the demo, builds, caches
	rm -rf $(DRAWN) demo_output multirun outputs build dist .mypy_cache .pytest_cache .ruff_cache
