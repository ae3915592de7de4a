# Every command of the house. `make` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINE := $(shell find src -name '*.rs' -o -name '*.cpp')
BUILT := $(VENV)/.built
TOOLS := $(VENV)/.tools

# The torch that cargo links against; the same text as in .cargo/config.toml, or cargo would rebuild.
export LIBTORCH := $(CURDIR)/$(VENV)/libtorch

# maturin is called by name.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Two builds at once would overwrite each other's library.
.NOTPARALLEL:

.PHONY: help setup demo test test-rust test-python format lint settings types check sanitize docs wheel release-check gpu-check clean

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(TOOLS) ## Make .venv with torch and all tools, and build the extension.

demo: $(BUILT) ## Meta-train a small MambaCL and test it on unseen characters (3 and a half minutes once built).
	$(BIN)/mambacl train glyphs-mamba --run-dir runs/demo --resume
	$(BIN)/mambacl evaluate runs/demo

test: test-rust test-python ## Run all tests.

test-rust: $(TOOLS)
	cargo test --release

test-python: $(TOOLS)
	$(BIN)/python -m pytest

format: $(TOOLS) ## Format the sources.
	cargo fmt
	$(BIN)/ruff check --fix --quiet python tests scripts notebooks examples build_backend
	$(BIN)/ruff format --quiet python tests scripts notebooks examples build_backend

lint: $(TOOLS) ## Check format and lints.
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	cargo clippy --release --features python -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --quiet
	$(BIN)/ruff check python tests scripts notebooks examples build_backend
	$(BIN)/ruff format --check python tests scripts notebooks examples build_backend
	$(BIN)/python scripts/generate_settings.py --check

settings: $(TOOLS) ## Write Python's settings of learners, and their page, from the engine's schema.
	$(BIN)/python scripts/generate_settings.py

types: $(TOOLS) ## Check types, and the stub against the extension.
	$(BIN)/pyright
	$(BIN)/python -m mypy.stubtest mambacl._core

sanitize: $(TOOLS) ## Run the Rust tests under AddressSanitizer, every SIMD level of the processor (10 minutes).
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 \
	CARGO_TARGET_DIR=target/sanitize cargo test --release --target x86_64-unknown-linux-gnu --lib --test engine

check: lint types docs test ## All that CI runs.

docs: $(TOOLS) ## Build the documentation as a site, into target/site.
	$(BIN)/mkdocs build --strict --quiet

wheel: ## Build a wheel into dist/, for the pinned torch or for TORCH=2.11.0.
	$(PYTHON) scripts/build_wheel.py $(if $(TORCH),--torch $(TORCH))

release-check: ## Build the wheel and try it in a clean environment of each Python, 3.10 to 3.13.
	$(PYTHON) scripts/release_check.py $(PYTHONS)

gpu-check: ## On a machine with a GPU and a wheel of mambacl installed: GPU tests and benchmarks.
	$(PYTHON) scripts/gpu_check.py

clean: ## Remove what was built; .venv stays.
	cargo clean
	rm -f python/mambacl/_core*.so $(BUILT) $(TOOLS)

# torch first, so that the build below uses it and not one of its own.
$(VENV)/libtorch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "torch==2.13.0" "maturin>=1.9.4,<2"
	ln -sfn $$($(BIN)/python -c 'import importlib.metadata as m; print(m.distribution("torch").locate_file("torch"))') $@

$(BUILT): $(VENV)/libtorch $(ENGINE) Cargo.toml Cargo.lock build.rs pyproject.toml
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable .
	touch $@

$(TOOLS): $(BUILT)
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[test,lint,docs]'
	touch $@
