# The same commands for people and for continuous integration. PYTHON chooses the interpreter that .venv is made with.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo core docs notebooks test test-quick bench lint format sanitize tsan mutate fuzz room wheel clean

demo: .venv/plots.installed  ## hash, search and evaluate handwritten digits; pictures in out/demo
	$(BIN)/fasthash demo

# What CMake is told where no pip asks it to build.
PROJECT := -DSKBUILD_PROJECT_NAME=fasthash $(foreach name,VERSION VERSION_FULL,-DSKBUILD_PROJECT_$(name)=$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml))
CORE = build/core/$(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')

core:  ## the core in the checkout, for PYTHON and what it has: torch, pybind11, cmake, ninja; nothing is fetched or installed (CMAKE_ARGS="-D...")
	export PATH="$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$$PATH" \
		&& cmake -S . -B $(CORE) -G Ninja $(PROJECT) $(CMAKE_ARGS) -Dpybind11_DIR="$$($(PYTHON) -m pybind11 --cmakedir)" \
			-DPython_EXECUTABLE="$$($(PYTHON) -c 'import sys; print(sys.executable)')" \
		&& cmake --build $(CORE) --target _core && cmake --install $(CORE) --prefix .

TEST := $(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

test: .venv/dev.installed  ## the whole test suite
	$(TEST) --durations=30

test-quick: .venv/dev.installed  ## every module's tests, without those that take long
	$(TEST) -m 'not slow'

bench: .venv/dev.installed  ## every benchmark; tables and plots in benchmarks/results
	mkdir -p out
	$(BIN)/python -m pytest benchmarks --quiet --benchmark-enable --benchmark-only --benchmark-json=out/benchmarks.json
	$(BIN)/python -m benchmarks.report out/benchmarks.json benchmarks/results

docs: .venv/dev.installed  ## the site in build/site; a warning, a dead link among them, is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

notebooks: .venv/dev.installed  ## examples/notebooks, from the scripts in examples
	$(BIN)/python -m tools.notebooks

CPP_FILES := git ls-files --cached --others --exclude-standard 'csrc/*.cpp' 'csrc/*.h' 'tests/*.cpp' 'benchmarks/*.cpp' 'tools/*.cpp' 'tools/*.h'

lint: .venv/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(CPP_FILES) | xargs $(BIN)/clang-format --dry-run -Werror

format: .venv/dev.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(CPP_FILES) | xargs $(BIN)/clang-format -i

# $(call beside,FOLDER): an environment in FOLDER that sees .venv's packages, but for the editable install.
define beside
	$(PYTHON) -m venv --clear --without-pip $(1)/venv
	$(BIN)/python -c 'import site; print(*site.getsitepackages())' > "$$(echo $(1)/venv/lib/python3*/site-packages)/packages.pth"
endef
WARNINGS := --config-settings=cmake.define.CMAKE_COMPILE_WARNING_AS_ERROR=ON

SANITIZE := build/sanitize
sanitize: .venv/dev.installed  ## a core that Clang builds by `make core`, of the checkout and a room that `make room` would make, under the address and undefined-behaviour sanitizers: tests of what is compiled
	rm -rf $(SANITIZE)/tree && mkdir -p $(SANITIZE)/tree
	git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --create | tar --extract --directory=$(SANITIZE)/tree
	$(BIN)/python $(SANITIZE)/tree/tools/new_room.py room_of_a_long_name
	cd $(SANITIZE)/tree && $(CURDIR)/$(BIN)/ruff check . && $(CURDIR)/$(BIN)/ruff format --check .
	$(MAKE) -C $(SANITIZE)/tree core PYTHON=$(CURDIR)/$(BIN)/python \
		CMAKE_ARGS="-DCMAKE_CXX_COMPILER=clang++ -DCMAKE_COMPILE_WARNING_AS_ERROR=ON -DFASTHASH_SANITIZE=address"
	$(call beside,$(SANITIZE))
	echo "$(CURDIR)/$(SANITIZE)/tree" >> "$$(echo $(SANITIZE)/venv/lib/python3*/site-packages)/packages.pth"
	cd $(SANITIZE)/tree && export ASAN_OPTIONS=detect_leaks=0 \
			LD_PRELOAD="$$(clang++ -print-file-name=libclang_rt.asan-$$(uname -m).so) $$(clang++ -print-file-name=libstdc++.so)" \
		&& ../venv/bin/python -m benchmarks.gpu ceilings --quick --here \
		&& ../venv/bin/python -m pytest --numprocesses=auto --dist=worksteal --durations=10 -m 'not slow' \
			-k "room_of_a_long_name or (not triton and not numba and not ranks and not compile and not dimensions and not memory_of and not fork and not agree_with_counting and not breaks_off and not peak_memory)" \
			tests/ops tests/hashers/test_h2q.py tests/evaluate tests/index/test_base.py tests/index/test_flat.py \
			tests/index/test_multi.py tests/index/test_rerank.py tests/test_codebase.py tests/test_contributing.py

TSAN := build/tsan
tsan: .venv/dev.installed  ## races in the compiled core: a program of its calls from several threads, under the thread sanitizer
	$(BIN)/cmake -S . -B $(TSAN) -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DFASTHASH_SANITIZE=thread \
		$(PROJECT) -DCMAKE_COMPILE_WARNING_AS_ERROR=ON \
		-DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)"
	$(BIN)/cmake --build $(TSAN) --target check_threads
	TSAN_OPTIONS=halt_on_error=1:die_after_fork=0 $(TSAN)/check_threads

mutate: .venv/mutation.installed  ## what a room's tests let live: make mutate ROOM=losses (ONLY='*dch*': some mutants)
	$(BIN)/python tests/mutate.py $(ROOM) $(if $(ONLY),'$(ONLY)')

CALLS := 100000
SEED := 0
fuzz: .venv/dev.installed  ## calls of everything public, sound and wrong: make fuzz CALLS=1000000 (SEED=1, ONLY=fasthash.losses)
	$(BIN)/python -m tests.fuzz --calls $(CALLS) --seed $(SEED) $(if $(ONLY),--only $(ONLY))

room: .venv/dev.installed  ## a new op, whose tests pass at once: make room NAME=x
	$(BIN)/python tools/new_room.py $(NAME)

wheel: .venv/dev.installed  ## a wheel in dist/ that other Linuxes can use, checked by auditwheel; what the checkout has compiled is not compiled again
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --check-build-dependencies \
		$(WARNINGS) --config-settings=build-dir=build/editable --wheel-dir build/wheel .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/wheel/*.whl

clean:
	rm -rf .venv build dist out fasthash/_core*.so

# An editable install that rebuilds the compiled core on import, so it builds with what is in .venv.
.venv/%.installed: .venv/built-with.installed pyproject.toml CMakeLists.txt constraints.txt
	$(INSTALL) --no-build-isolation $(WARNINGS) --config-settings=editable.rebuild=true \
		--config-settings=build-dir=build/editable --editable '.[$*]'
	touch $@

.venv/built-with.installed: constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) pip scikit-build-core pybind11 cmake ninja torch
	touch $@
