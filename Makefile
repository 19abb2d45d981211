# Every target does its own set-up in .venv. `make` alone lists the targets.

PYTHON ?= python3
TORCH  ?= torch==2.13.0
# Where pip finds PyTorch, if not in its usual place: the address of PyTorch's CPU index, say.
TORCH_INDEX ?=
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
# A folder with MNIST/raw and FashionMNIST/raw, the original IDX files as torchvision stores them.
DATA   ?= $(TERNSPIKE_DATA)
SEED   ?= 1
# Of a training of maps. More are faster, and give other networks, by the order of sums.
THREADS ?= 1

BIN       := .venv/bin
STAMP     := .venv/ready
TERNSPIKE := $(BIN)/python -m ternspike

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types bench mnist fashion maps bundling place boards \
        experiments pins campaign fuzz clean need-data

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv with all dependencies.

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# Small networks: PyTorch's threads would wait for one another more than they work.
demo: export OMP_NUM_THREADS = 1
demo: $(STAMP)  ## Train on real digits, run the RTL on the test set, write the report.
	$(TERNSPIKE) demo --jobs $(JOBS) --seed $(SEED)

test: export OMP_NUM_THREADS = 1
test: $(STAMP)  ## Run all tests.
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

lint: $(STAMP)  ## Check the style.
	$(BIN)/ruff check .

types: $(STAMP)  ## Check the types.
	$(BIN)/pyright

bench: $(STAMP)  ## Run the workloads of published accelerators on `medium`.
	$(BIN)/python -m bench

place: $(STAMP)  ## Place and route the presets; print the table of areas and clocks.
	$(BIN)/python -m bench.place

fuzz: $(STAMP)  ## Send 100,000 damaged frames to a simulated board.
	$(BIN)/python -m bench.fuzz

# A board whose clock is not met is said to be so, and the others are still built.
boards: $(STAMP)  ## Build the bitstreams of all boards (an hour).
	@failed=; for board in $$($(BIN)/python -c 'from boards.catalogue import BOARDS; print(*BOARDS)'); do \
	    $(TERNSPIKE) build --board $$board || failed="$$failed $$board"; \
	done; test -z "$$failed" || { echo "Not built, or slower than wanted:$$failed" >&2; exit 1; }

campaign: $(STAMP)  ## Run random networks against the golden model, many more than the tests.
	$(BIN)/python -m bench.campaign --jobs $(JOBS)

mnist: $(STAMP) need-data  ## Train MNIST 784-256-10; run all 10,000 test images in RTL.
	$(TERNSPIKE) demo --dataset mnist --data '$(DATA)' --core medium --jobs $(JOBS) \
	    --seed $(SEED) --output build/mnist

fashion: $(STAMP) need-data  ## The same with Fashion-MNIST.
	$(TERNSPIKE) demo --dataset fashion-mnist --data '$(DATA)' --core medium --jobs $(JOBS) \
	    --seed $(SEED) --output build/fashion

# Networks of maps, by their recipes: images, a scene, spoken words, events. One takes a core with
# larger memories; of the largest, and of those that differ in a merge only, not all test images run.
MAPS := mnist-conv mnist-conv-t4 fashion-conv cifar10-conv salinas-a fsdd nmnist \
        $(addprefix mnist-residual-,add2 barrier2 or iand)
SAMPLES_cifar10-conv := 1000
SAMPLES_mnist-residual-add2     := 2000
SAMPLES_mnist-residual-barrier2 := 2000
SAMPLES_mnist-residual-or       := 2000
SAMPLES_mnist-residual-iand     := 2000

maps: $(MAPS:%=build/maps/%.json)  ## Train convolutional networks; run their test sets in RTL.

build/maps/%.safetensors: | $(STAMP) need-data
	mkdir -p $(@D)
	$(TERNSPIKE) train --recipe $* --data '$(DATA)' --seed $(SEED) --threads $(THREADS) \
	    --checkpoints build/checkpoints -o $@

build/maps/%.json: build/maps/%.safetensors
	$(TERNSPIKE) simulate $< --data '$(DATA)' --jobs $(JOBS) \
	    --core $$($(BIN)/python -c 'from bench.cores import core_of; print(core_of("$*"))') \
	    --seed $(SEED) $(SAMPLES_$*:%=--samples %) --report $(@:.json=.html) --json $@

.PRECIOUS: build/maps/%.safetensors build/pins/%.safetensors

# What is there already is not trained again; a data set that is not there is said to be missing.
experiments: export OMP_NUM_THREADS = 1
experiments: $(STAMP) need-data  ## Train every recipe with three seeds; run 100 samples each in RTL.
	$(BIN)/python -m bench.experiments --data '$(DATA)' --seed $(SEED) --jobs $(JOBS) \
	    --checkpoints build/checkpoints

BUNDLED := mnist-conv-t4 mnist-residual-add2

bundling: $(BUNDLED:%=build/bundling/%.json)  ## What bundling over time saves those of several steps.

build/bundling/%.json: build/maps/%.safetensors
	mkdir -p $(@D)
	$(TERNSPIKE) bundle $< --data '$(DATA)' --seed $(SEED) --json $@

# The core of the smallest board with its largest network, and that of the largest with a
# convolutional one.
pins: build/pins/mnist.safetensors build/pins/digits.safetensors build/maps/mnist-conv.safetensors  ## Load networks into simulated boards, one after another.
	$(BIN)/python -m bench.pins --board icebreaker --data '$(DATA)' --seed $(SEED) \
	    build/pins/mnist.safetensors build/pins/digits.safetensors
	$(BIN)/python -m bench.pins --board ulx3s --data '$(DATA)' --seed $(SEED) \
	    build/maps/mnist-conv.safetensors build/pins/digits.safetensors

build/pins/mnist.safetensors: ARCH := 784-128-10
build/pins/digits.safetensors: ARCH := 64-128-10
build/pins/%.safetensors: | $(STAMP) need-data
	mkdir -p $(@D)
	$(TERNSPIKE) train --dataset $* --data '$(DATA)' --arch $(ARCH) --seed $(SEED) -o $@

need-data:
	@test -n '$(DATA)' || { echo 'Say where the data sets are: make mnist DATA=folder' >&2; exit 1; }

clean:  ## Remove what was built; .venv stays.
	rm -rf build
