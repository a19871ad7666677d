"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import fasthash
from fasthash import _core, cli
from fasthash.ops import ROOMS, packing, registry
from fasthash.ops.declaration import Op
from tests.narrow_offsets import narrow_offsets

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fasthash"

# What each part may import; imports run downstream only.
DOWNSTREAM = {
    "columns": set(),
    "errors": set(),
    "files": set(),
    "lazy": set(),
    "plugins": set(),
    "ops": {"columns", "errors"},
    "hashes": {"columns", "errors", "ops"},
    "layers": {"errors", "ops"},
    "losses": {"errors", "lazy", "plugins", "ops"},
    "tensor_files": {"files"},
    "recipes": {
        *("errors", "files", "lazy", "plugins", "ops", "losses", "data", "hashers", "index", "evaluate"),
        "tensor_files",
    },
    "features": {"errors", "files", "lazy", "plugins", "data"},
    "data": {"columns", "errors", "files", "lazy", "ops", "plugins"},
    "hashers": {"columns", "errors", "lazy", "plugins", "ops", "tensor_files"},
    "index": {"errors", "files", "lazy", "ops"},
    "evaluate": {"errors", "lazy", "ops", "index"},
    "cluster": {"columns", "errors", "files", "lazy", "ops", "hashers", "index", "recipes"},
    "demo": {"errors", "files", "ops", "hashers", "index", "evaluate"},
    "bench": {"files", "ops"},
    "cli": {
        *(
            "errors",
            "files",
            "hashes",
            "ops",
            "losses",
            "recipes",
            "data",
            "hashers",
            "index",
            "evaluate",
            "demo",
            "bench",
        ),
        *("cluster", "features", "tensor_files"),
    },
    "__main__": {"cli"},
    "selftest": {"errors", "ops"},
}


def imported_parts(path):
    """The parts of the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module != "fasthash" else [f"fasthash.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("fasthash."))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downstream(path):
    if path == PACKAGE / "__init__.py":
        return
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    upstream = set(imported_parts(path)) - DOWNSTREAM[part] - {part, "_core"}
    assert not upstream


CONSTRUCTORS = {
    *("arange", "as_tensor", "asarray", "empty", "empty_strided", "eye", "full", "linspace", "logspace", "normal"),
    *("ones", "rand", "randint", "randn", "randperm", "scalar_tensor", "tensor", "tril_indices", "triu_indices"),
    "zeros",
}
OF_MODULES = {"losses/hashnet.py": "zeros", "losses/hyp2.py": "empty"}  # state, which torch's defaults place


@pytest.mark.parametrize("part", ["evaluate", "hashers", "index", "losses", "ops"])
def test_new_tensors_name_their_device(part):
    unnamed = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted((PACKAGE / part).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "torch"
        and node.func.attr in CONSTRUCTORS - {OF_MODULES.get(str(path.relative_to(PACKAGE)))}
        and "device" not in {keyword.arg for keyword in node.keywords}
    ]
    assert unnamed == []


def test_importing_the_package_imports_no_optional_package():
    optional = ("triton", "matplotlib", "numba", "faiss")
    every = "[getattr(fasthash, name) for name in fasthash.__all__]"
    script = f"import sys, fasthash; {every}; print([m for m in {optional} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_importing_the_package_imports_what_is_touched():
    script = "import sys, fasthash; print('torch' in sys.modules, fasthash.recipes.RECIPES, fasthash.data.load_dataset)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).startswith(
        "False fasthash.recipes: supervised"
    )


def test_importing_the_ops_registers_them_with_torch():
    script = "import fasthash.ops, torch; print(torch.ops.fasthash.householder_apply, torch.ops.fasthash.pack_bits)"
    output = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert output.split() == ["fasthash.householder_apply", "fasthash.pack_bits"]


def public_packages():
    return [".".join(path.relative_to(ROOT).parent.parts) for path in sorted(PACKAGE.rglob("__init__.pyi"))]


@pytest.mark.parametrize("name", public_packages())
def test_every_public_name_is_there(name):
    package = importlib.import_module(name)
    if "plots" in package.__all__:
        pytest.importorskip("matplotlib")
    assert len(package.__all__) > 0
    for public in package.__all__:
        assert getattr(package, public) is getattr(package, public)
    assert dir(package) == package.__all__
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        package.nothing_of_that_name  # noqa: B018


def test_a_checkout_that_is_not_built_says_so(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "fasthash", ignore=shutil.ignore_patterns("_core.*.so", "__pycache__"))
    for statement in ("import fasthash; fasthash.FlatIndex", "from fasthash.losses import HSWD"):
        without_an_editable_install = "sys.meta_path = [x for x in sys.meta_path if 'Redirect' not in type(x).__name__]"
        script = f"import sys; {without_an_editable_install}; {statement}"
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            f"ImportError: fasthash: expected the compiled core in {tmp_path / 'fasthash'}, got a checkout that is not "
            "built; build first: make core PYTHON=python3, or make test, then use .venv/bin/python; or use an "
            "installed fasthash from another folder"
        )


def test_the_oldest_triton_is_the_declared_one():
    assert f'"triton>={registry._OLDEST["triton"]}; ' in (ROOT / "pyproject.toml").read_text()


def test_version_is_the_changelogs_and_the_citations():
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == fasthash.__version__
    assert f"\nversion: {fasthash.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def kernels_of(room):
    return importlib.import_module(f"fasthash.ops.{room}").KERNELS


def test_every_compiled_room_is_a_room_of_ops():
    assert {path.parent.name for path in (ROOT / "csrc").glob("*/bind.cpp")} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_everything(room):
    folder = PACKAGE / "ops" / room
    for name in ("README.md", "op.py", "reference.py", "kernel_cpu.py", "example.py"):
        assert (folder / name).exists()
    assert (ROOT / "csrc" / room / "kernel.h").exists()
    assert (ROOT / "tests" / "ops" / f"test_{room}.py").exists()
    assert (ROOT / "benchmarks" / f"bench_{room}.py").exists()
    example = importlib.import_module(f"fasthash.ops.{room}.example")
    assert callable(example.example)
    assert 0 <= example.TOLERANCE <= 1e-4


def test_info_lists_every_room():
    lines = CliRunner().invoke(cli.main, ["info"]).output.splitlines()
    assert [line.split()[0] for line in lines[-len(ROOMS) :]] == list(ROOMS)
    assert all(f"cpu: cpu-{_core.room_level(line.split()[0])}" in line for line in lines[-len(ROOMS) :])


@pytest.mark.parametrize("room", sorted(path.parent.name for path in (ROOT / "csrc").glob("*/kernel.h")))
def test_a_room_takes_the_kernel_of_the_highest_level_that_it_has(room):
    own = {path.stem.removeprefix("kernel_") for path in (ROOT / "csrc" / room).glob("kernel_*.cpp")}
    levels = _core.runnable_isas()
    for i, level in enumerate(levels):
        assert _core.room_level(room, level) == [lower for lower in levels[: i + 1] if lower in own][-1]


@pytest.mark.parametrize("room", ROOMS)
def test_every_kernel_of_a_room_is_in_its_table(room):
    listed = {kernel.module.removeprefix(f"fasthash.ops.{room}.") for kernel in kernels_of(room).values()}
    files = {path.stem for path in (PACKAGE / "ops" / room).glob("kernel_*.py")}
    helpers = {file for file in files if any(file.startswith(f"{kernel}_") for kernel in listed)}
    assert listed == {"reference"} | files - helpers


@pytest.mark.parametrize("room", ROOMS)
def test_every_kernel_of_a_room_has_every_op(room):
    declared = vars(importlib.import_module(f"fasthash.ops.{room}.op")).values()
    names = [op.name for op in declared if isinstance(op, Op) and op.kernels is kernels_of(room)]
    for kernel in kernels_of(room).values():
        if not kernel.missing():
            assert all(callable(kernel.function(name)) for name in names)


NAMES_ALONE = {"evaluate/names.py", "hashers/names.py", "losses/names.py"}


def test_every_module_has_a_file_of_tests():
    packages = ("data", "evaluate", "features", "hashers", "index", "losses", "recipes")
    modules = [path for package in packages for path in (PACKAGE / package).rglob("*.py") if path.stem != "__init__"]
    tested = {path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    names = [path.relative_to(PACKAGE) for path in modules]
    assert {str(name) for name in names if name.with_name(f"test_{name.name}") not in tested} == NAMES_ALONE


@pytest.mark.skipif(len(_core.built_isas()) < 3 or shutil.which("objdump") is None, reason="needs objdump on x86-64")
def test_newer_instructions_only_in_functions_that_cannot_be_shared():
    """A shared function compiled for a newer level would crash an older processor."""
    disassembly = subprocess.check_output(["objdump", "-dC", "--no-show-raw-insn", _core.__file__], text=True)
    beyond_baseline = set()
    for function in disassembly.split("\n\n"):
        head = re.match(r"[0-9a-f]+ <(.*)>:\n", function.lstrip("\n"))
        if head and re.search(r"%[yz]mm\d|\t(v[a-z]\w*|popcnt) ", function):
            beyond_baseline.add(head[1])
    assert any("anonymous" in name for name in beyond_baseline)
    levels = "|".join(_core.built_isas()[1:])
    own = re.compile(rf"fasthash::(\(anonymous namespace\)::|\w+_kernel_({levels})\(\))")
    assert not {name for name in beyond_baseline if not own.search(name)}


@pytest.mark.parametrize(
    "source", sorted((ROOT / "csrc").rglob("kernel_*.cpp")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_level_files_include_nothing_that_could_be_shared(source):
    pending, included = [source], set()
    while pending:
        file = pending.pop()
        for name in re.findall(r'#include [<"](.*?)[>"]', file.read_text()):
            if name.startswith(("immintrin", "arm_neon", "cstdint", "cstddef")) or name in included:
                continue
            included.add(name)
            local = file.parent / name
            assert local.exists(), f"{file} includes {name}"
            pending.append(local)


def test_the_gil_is_let_go_of_in_one_place():
    """What takes it again must bear an interpreter that ends meanwhile."""
    files = [path for folder in ("csrc", "tools/room") for path in (ROOT / folder).rglob("*.cpp")]
    using = {path.name for path in files if re.search(r"gil_scoped|PyEval_|PyGILState|call_guard", path.read_text())}
    assert using == {"array_arguments.cpp"}


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_the_highest_level_that_fits_is_taken(tmp_path):
    source = ROOT / "tests" / "check_levels.cpp"
    subprocess.run(["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", source, "-o", tmp_path / "check"], check=True)
    subprocess.run([tmp_path / "check"], check=True)


def processor_levels():
    """The levels of each architecture, ascending, as csrc/processor_levels.def has them."""
    levels, architectures = {"x86_64": [], "aarch64": []}, ["x86_64", "aarch64"]
    for line in (ROOT / "csrc" / "processor_levels.def").read_text().splitlines():
        if line.startswith("#"):
            architectures = re.findall(r"__(\w+)__", line)
        for name in re.findall(r"^LEVEL\((\w+),", line):
            for architecture in architectures:
                levels[architecture].append(name)
    return levels


def added_options():
    """The compiler's options for each level beyond those of the level before it, as CMakeLists.txt has them."""
    rows = re.findall(r"^ *add_level\((\w+)(.*)\)$", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)
    return {level: options.split() for level, options in rows}


def compiler_options(architecture, level):
    levels = processor_levels()[architecture]
    return [option for lower in levels[: levels.index(level) + 1] for option in added_options()[lower]]


def test_processor_levels_have_compiler_options():
    levels = processor_levels()
    assert levels["x86_64"][0] == levels["aarch64"][0] == "baseline"
    assert list(added_options()) == list(dict.fromkeys(levels["x86_64"] + levels["aarch64"]))
    assert _core.built_isas() in levels.values()


@pytest.mark.parametrize(
    "source", sorted((ROOT / "csrc").rglob("kernel_*.cpp")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_kernel_is_of_a_known_level_and_named_for_it(source):
    level = source.stem.removeprefix("kernel_")
    assert level in added_options()
    assert f"Kernel {source.parent.name}_kernel_{level}() {{" in source.read_text()
    assert (source.parent / "kernel_baseline.cpp").exists()


@pytest.mark.parametrize("room", ROOMS)
def test_kernels_that_this_processor_can_run_are_not_skipped(room):
    kernels = kernels_of(room)
    levels = {f"cpu-{isa}" for isa in _core.runnable_isas()}
    assert {"baseline"} <= set(_core.runnable_isas())
    assert all(kernels[name].missing() is None for name in ("reference", "cpu", *levels))


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-g++") is None, reason="needs a cross compiler for aarch64")
@pytest.mark.slow
def test_the_core_compiles_for_aarch64(tmp_path):
    """All but the bindings, whose headers are the interpreter's."""
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Wno-psabi"]
    compile_ = ["aarch64-linux-gnu-g++", *flags, "-Wno-maybe-uninitialized", "-Werror", "-c"]
    kernels = set((ROOT / "csrc").rglob("kernel_*.cpp"))
    rest = [path for path in sorted(set((ROOT / "csrc").rglob("*.cpp")) - kernels) if "bind" not in str(path)]
    assert len(rest) > 20
    subprocess.run([*compile_, *map(str, rest)], cwd=tmp_path, check=True)
    for level in processor_levels()["aarch64"]:
        of_level = [str(path) for path in kernels if path.stem == f"kernel_{level}"]
        assert of_level
        subprocess.run([*compile_, *compiler_options("aarch64", level), *of_level], cwd=tmp_path, check=True)


CHECKED = {
    "asymmetric": ("asymmetric/weighted_queries",),
    "hamming": ("hamming/plane_queries", "hamming/query_set", "hamming/code_set"),
    "planes": ("planes/stored_queries", "hamming/query_set", "hamming/code_set"),
}


def checked_levels(levels):
    """The rooms whose levels a program compares with counting bit by bit, with those of the levels that they have."""
    has = [(room, level) for room in CHECKED for level in levels]
    return [(room, level) for room, level in has if (ROOT / "csrc" / room / f"kernel_{level}.cpp").exists()]


def build_check(compiler, architecture, room, level, program):
    """Build the program that compares a level of a room's kernel with counting bit by bit."""
    sources = [ROOT / "csrc" / f"{name}.cpp" for name in (f"{room}/kernel_{level}", *CHECKED[room])]
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Wno-psabi", "-Wno-uninitialized", "-Wno-maybe-uninitialized"]
    flags += ["-Werror", "-static", f"-DKERNEL={room}_kernel_{level}", *compiler_options(architecture, level)]
    subprocess.run([compiler, *flags, ROOT / "tests" / f"check_{room}_kernel.cpp", *sources, "-o", program], check=True)


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-g++") is None, reason="needs a cross compiler for aarch64")
@pytest.mark.parametrize(("room", "level"), checked_levels(processor_levels()["aarch64"]))
def test_the_levels_for_aarch64_agree_with_counting(room, level, tmp_path):
    build_check("aarch64-linux-gnu-g++", "aarch64", room, level, tmp_path / "check")
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("compiled, but there is no emulator to run it")
    subprocess.run(["qemu-aarch64", tmp_path / "check"], check=True)


@pytest.mark.skipif(platform.machine() != "x86_64" or shutil.which("g++") is None, reason="needs g++ on x86-64")
@pytest.mark.parametrize(
    ("room", "level"),
    checked_levels([level for level in _core.runnable_isas() if level in processor_levels()["x86_64"]][:1]),
)
def test_the_levels_for_x86_64_agree_with_counting(room, level, tmp_path):
    """Of the programs themselves: what they say of a level that the tests of its room know to be right."""
    build_check("g++", "x86_64", room, level, tmp_path / "check")
    subprocess.run([tmp_path / "check"], check=True)


TRITON_ROOMS = {
    room: files
    for room in ROOMS
    if (files := [str(path.relative_to(PACKAGE)) for path in (PACKAGE / "ops" / room).glob("*triton*.py")])
}


def test_every_triton_kernel_is_in_a_room():
    files = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*triton*.py")}
    assert files == {file for room in TRITON_ROOMS.values() for file in room}


# At most, by the pinned Triton for compute capability 9.0, in any case of tests/compile_kernels.py.
REGISTERS = {
    "pack_bits_kernel": 40,
    "pack_projections_kernel": 255,
    "hamming_distance_kernel": 40,
    "hamming_count_kernel": 168,
    "hamming_chunk_count_kernel": 56,
    "hamming_write_kernel": 96,
    "hamming_scan_kernel": 93,
    "hamming_scan_one_kernel": 96,
    "hamming_product_kernel": 241,
    "hamming_select_kernel": 128,
    "pair_keys_kernel": 48,
    "pair_originals_kernel": 64,
    "pair_compare_kernel": 72,
    "householder_factors_kernel": 150,
    "householder_apply_kernel": 210,
    "householder_backward_kernel": 255,
    "two_point_kernel": 64,
    "two_point_backward_kernel": 210,
    "two_point_collect_kernel": 64,
    "two_point_search_kernel": 128,
    "two_point_bracket_kernel": 56,
    "two_point_sum_kernel": 31,
    "h2q_kernel": 255,
}
# Products of 32 bits that reach an address, by the names of what they are assigned to, where they cannot overflow.
SMALL_PRODUCTS = {
    "pack_projections_kernel": {"bits", "byte"},  # of one code, at most 4,096 bits
    "hamming_count_kernel": {"0", "lowest", "ids"},  # programs, which a grid has; distances; within a chunk
    "hamming_scan_kernel": {"low", "ones"},  # queries, of which there are no 2^31; up to eight more
    "hamming_product_kernel": {"low"},
    "hamming_select_kernel": {"shift", "queries_ptr", "magnitudes"},  # at most 64; words of a query
    "pair_compare_kernel": {"near"},  # a bit for each of SHIFTS places
    "householder_factors_kernel": {"first", "8", "13"},  # of at most 128 reflections' factors
    "householder_apply_kernel": {"t"},
    "householder_backward_kernel": {"3", "dv", "step", "t"},  # and rows of MAX_PROGRAMS programs
    # Rows and columns, and 16 rows' strides, of at least 16,385 rows in memory.
    "two_point_collect_kernel": {"columns", "first", "loaded", "x_ptr"},
    "two_point_search_kernel": {"x", "least", "most", "middle", "number"},  # rows, at most MAX_ROWS; keys
}


@pytest.mark.slow
@pytest.mark.parametrize("room", TRITON_ROOMS)
def test_triton_kernels_compile(room):
    """For two GPUs, in a process without the interpreter."""
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("compile_kernels.py")
    compiled = json.loads(
        subprocess.check_output([sys.executable, script, room, "80", "90"], env=environment, text=True)
    )
    assert {kernel["arch"] for kernel in compiled} == {80, 90}
    in_source = set()
    for file in TRITON_ROOMS[room]:
        in_source |= set(re.findall(r"@triton\.jit.*\ndef (\w+_kernel)\(", (PACKAGE / file).read_text()))
    assert {kernel["kernel"] for kernel in compiled} >= in_source  # or those of another room
    pinned = f"triton=={version('triton')}\n" in (ROOT / "constraints.txt").read_text()
    for kernel in compiled:
        assert kernel["registers"] * 32 * kernel["warps"] <= 65536
        assert kernel["shared_bytes"] <= {80: 163, 90: 227}[kernel["arch"]] * 1024
        if pinned:  # other compilers allot registers and unroll loops in other ways
            assert kernel["spill_bytes"] == 0
            assert kernel["arch"] == 80 or kernel["registers"] <= REGISTERS[kernel["kernel"]]
            # Those of H2Q are of a program's own matrices of 128 columns; it counts rows in 64 bits.
            if room != "h2q":
                assert set(kernel["narrow"]) <= SMALL_PRODUCTS.get(kernel["kernel"], set())
            check_instructions(kernel)
        else:
            assert kernel["spill_bytes"] <= 128


def check_instructions(kernel):
    """A popcount for every 32 bits compared and no more; otherwise int8 products on the matrix units."""
    word = kernel["types"].get("queries_ptr", kernel["types"].get("query_ptr"))
    if word is not None:
        assert ("popc.b64" if word == "*i64" else "popc.b32") in kernel["ptx"]
    constants, instructions = kernel["constants"], kernel["instructions"]
    if kernel["kernel"] in ("hamming_scan_kernel", "hamming_scan_one_kernel"):
        words = constants["CODES"] * constants["WORDS"] * constants.get("QUERIES", 1) // (32 * kernel["warps"])
        popcounts = words * max(1, constants["PLANES"]) * (2 if word == "*i64" else 1)
        assert popcounts <= instructions["POPC"] <= popcounts + 2
        if kernel["kernel"] == "hamming_scan_one_kernel" and constants["PLANES"] <= 3:
            assert kernel["registers"] <= 64
    elif kernel["kernel"] == "hamming_product_kernel":
        assert "IGMMA" in instructions if kernel["arch"] == 90 else "IMMA" in instructions
        assert "POPC" not in instructions
    elif kernel["kernel"] == "pair_compare_kernel":
        assert "popc.b64" in kernel["ptx"]
        assert instructions["BAR"] <= 2  # where a place in the list is told to all threads
        if constants.get("n_words") == 1:
            compared = constants["ROWS"] * (constants["SHIFTS"] + 1) // 32  # and once more where a pair is near
            assert 2 * compared <= instructions["POPC"] <= 2 * compared + 2


def test_poisoned_memory_warns_of_nothing():
    """Not of an operation without a deterministic way either, as are many on a GPU and this one on a CPU."""
    assert torch.empty(3).isnan().all()
    assert torch.zeros(2).put_(torch.tensor([1]), torch.ones(1)).tolist() == [0, 1]


def test_triton_kernels_are_launched_on_the_gpu_of_their_tensors(monkeypatch):
    pytest.importorskip("triton")
    chosen = []

    @contextmanager
    def device_of(tensor):
        chosen.append(tensor)
        yield

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    x = torch.ones(3, 8, device="cuda" if torch.cuda.is_available() else "cpu")
    assert packing.KERNELS["triton"].function("pack_bits")(x).tolist() == [[255]] * 3
    assert chosen[0] is x


def test_a_product_of_32_bits_that_reaches_an_address_is_found():
    ttir = """
      tt.func @kernel(%x_ptr: !tt.ptr<f32> {tt.divisibility = 16 : i32} loc("x"(#loc)), %n: i32 loc("n"(#loc))) {
        %c4 = arith.constant 4 : i32 loc(#loc2)
        %program = tt.get_program_id x : i32 loc(#loc2)
        %rows_1 = arith.muli %program, %c4 : i32 loc(#loc2)
        %unused = arith.muli %n, %c4 : i32 loc(#loc2)
        %wide = arith.extsi %n : i32 to i64 loc(#loc2)
        %good = arith.muli %wide, %wide : i64 loc(#loc2)
        %last = scf.for %i = %c4 to %n step %c4 iter_args(%at = %rows_1) -> (i32)  : i32 {
          %next_2 = arith.muli %i, %c4 : i32 loc(#loc2)
          scf.yield %next_2 : i32 loc(#loc2)
        } loc(#loc2)
        %value = tt.load %x_ptr : !tt.ptr<f32> loc(#loc2)
        %place = arith.extsi %last : i32 to i64 loc(#loc2)
        %sum = arith.addi %place, %good : i64 loc(#loc2)
        %address = tt.addptr %x_ptr, %sum : !tt.ptr<f32>, i64 loc(#loc2)
    """
    assert narrow_offsets(ttir) == {"rows", "next"}
