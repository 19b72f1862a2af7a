# make demo   installs etcli into .venv and takes a sample tilt series to a volume, with pictures
# make test   runs the tests
# make slow   runs those that take longer and show more of the same
# make gpu    runs the tests and the benchmarks that need an NVIDIA GPU; GPU=gpu13 for drivers of CUDA 13
# make fuzz   reads 100 000 damaged files, which takes up to an hour
# make lint   checks style and types, and that man pages and completions are up to date

PYTHON ?= python3
GPU ?= gpu
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin

.PHONY: demo test slow gpu fuzz lint pages sample benchmarks clean

demo: $(VENV)/installed
	mkdir -p demo
	cp -p sample_data/needle.mrc sample_data/needle.mrc.mdoc demo/
	$(MAKE) -C demo -f ../sample_data/Makefile ETCLI=$(BIN)/etcli needle_slices.png needle_views.png
	@echo
	@echo "The tilt axis was found near 2.8 degrees, as the series was made; layers should be straight lines in X-Z."
	@echo "The volume:   demo/needle_rec.mrc (3dmod demo/needle_rec.mrc)"
	@echo "The pictures: demo/needle_views.png, demo/needle_shifts.png, demo/needle_axis.png, demo/needle_slices.png"

test: $(VENV)/developing
	$(BIN)/python -m pytest -n 2 --dist worksteal

slow: $(VENV)/developing
	$(BIN)/python -m pytest -n 2 -m slow

gpu: $(VENV)/gpu
	ETCLI_TEST_GPU=1 $(BIN)/python -m pytest -m gpu
	$(BIN)/python benchmarks/gpu.py
	$(BIN)/python benchmarks/gpu_multislice.py

fuzz: $(VENV)/developing
	$(BIN)/python -m tests.fuzz

lint: $(VENV)/developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m etcli.cli.pages . --check

pages: $(VENV)/developing
	$(BIN)/python -m etcli.cli.pages .

sample: $(VENV)/installed
	$(MAKE) -C sample_data ETCLI=$(BIN)/etcli sample

benchmarks: $(VENV)/developing
	$(BIN)/python benchmarks/run.py

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/developing: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

$(VENV)/gpu: $(VENV)/developing
	$(BIN)/pip install --quiet --editable '.[$(GPU)]'
	touch $@

clean:
	rm -rf demo $(VENV)
