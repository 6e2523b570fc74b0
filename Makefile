# The two commands for a fresh Debian machine are `make demo` and `make test`; `make help` lists the others. Each sets up
# what it needs by tools/setup. The build itself is CMake's: see CMakePresets.json.

PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 10
CLIENTS ?=
PEERS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-pytorch test test-long test-clients fuzz fuzz-long bench install wheel format format-check tidy interface clean

# $(call build,PRESET[,TARGET]) configures and builds; $(call check,PRESET,CTEST-ARGUMENTS) runs tests.
build = cmake --preset $(1) --log-level=WARNING && cmake --build --preset $(1) $(if $(2),--target $(2)) -- -j$(JOBS) --quiet
check = ctest --preset $(1) -j$(JOBS) $(2)
sources = $(shell git ls-files '*.c' '*.h' '*.cpp' '*.cu')

help:
	@echo 'make demo          a language model with kernels and without: the plan, the text, the difference; then kernels from a hub'
	@echo 'make demo-pytorch  the same in PyTorch: the document of Layers as checks, SmolLM2 through transformers, a training'
	@echo 'make test          all tests that take minutes'
	@echo 'make test-long     what takes longer: every test, sanitizer and compiler, and fuzzing'
	@echo 'make test-clients  real clients in environments of their own: releases of huggingface_hub, transformers, PyTorch, Python (CLIENTS=…)'
	@echo 'make fuzz          each fuzz target for $(FUZZ_SECONDS) seconds (FUZZ_SECONDS=…)'
	@echo 'make fuzz-long     each fuzz target for ten minutes'
	@echo 'make bench         the benchmarks, one JSON line a figure (PEERS="0.17.2=/venv/bin/python …": also other releases of kernels)'
	@echo 'make install       headers, library, command line program (PREFIX=$(PREFIX), DESTDIR=…)'
	@echo 'make wheel         the Python distribution kernels, in dist/ (KERNELS_LEVEL=0.16.2: another level)'
	@echo 'make format        formats the sources; format-check only looks'
	@echo 'make tidy          clang-tidy over the library and the command line program'
	@echo 'make interface     records the public interface in tests/abi/ after a deliberate change'
	@echo 'make clean         removes the build directories'

setup:
	@tools/setup

demo: setup
	@$(call build,release)
	@examples/llama/demo build/release
	@echo
	@examples/llama/demo-hub build/release
	@echo
	@echo 'The same from PyTorch: make demo-pytorch'

demo-pytorch: setup
	@$(call build,release)
	@examples/pytorch/demo build/release

test: setup format-check
	$(call build,dev)
	$(call check,dev,-LE long)
	$(call build,release)
	$(call check,release,-LE long)
	$(call build,clang)

test-long: setup format-check
	$(call build,dev)
	$(call check,dev)
	$(call build,release)
	$(call check,release)
	$(call build,clang)
	$(call check,clang)
	$(call build,tsan)
	tools/without-aslr $(call check,tsan)
	$(MAKE) fuzz FUZZ_SECONDS=60

test-clients: setup
	$(call build,release)
	python/tests/clients/run $(CLIENTS)

fuzz: setup
	$(call build,fuzz)
	tools/fuzz build/fuzz $(FUZZ_SECONDS)

fuzz-long:
	$(MAKE) fuzz FUZZ_SECONDS=600

bench: setup
	@$(call build,release) >&2
	@for program in build/release/bin/bench_*; do "$$program" || exit 1; done
	@bench/hub/bench_hub.py build/release
	@.venv/bin/python bench/python/bench_python.py build/release $(PEERS)
	@.venv/bin/python bench/python/call.py build/release
	@.venv/bin/python bench/python/compile.py build/release

install: setup
	cmake --preset release --log-level=WARNING -DCMAKE_INSTALL_PREFIX='$(PREFIX)'
	cmake --build --preset release -- -j$(JOBS) --quiet
	DESTDIR='$(DESTDIR)' cmake --install build/release

wheel: setup
	.venv/bin/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist .

format: setup
	clang-format-14 -i $(sources)

format-check: setup
	@clang-format-14 --dry-run -Werror $(sources)

tidy: setup
	cmake --preset clang --log-level=WARNING
	run-clang-tidy-14 -quiet -p build/clang -j$(JOBS) '/(src|cli)/.*\.c$$'

interface: setup
	tests/abi/interface --write

clean:
	rm -rf build
