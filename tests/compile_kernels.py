"""Compiles a room's Triton kernels to cubins without a GPU: `compile_kernels.py ROOM CAPABILITY...`, not interpreted.

Prints a JSON list of what `measured` returns: for each of the room's cases at the last compute capability, and for the
most demanding ones at the others.
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
import triton
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler.compiler import make_backend

from fasthash.ops.h2q import kernel_triton as h2q
from fasthash.ops.hamming import kernel_triton as hamming
from fasthash.ops.hamming import kernel_triton_count as counting
from fasthash.ops.householder import kernel_triton as householder
from fasthash.ops.packing import kernel_triton as packing
from fasthash.ops.pairs import kernel_triton as pairs
from fasthash.ops.wasserstein import kernel_triton as wasserstein
from fasthash.ops.wasserstein import kernel_triton_long as long_columns

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.narrow_offsets import narrow_offsets

READ = (
    hamming.hamming_scan_kernel,
    hamming.hamming_scan_one_kernel,
    hamming.hamming_product_kernel,
    pairs.pair_compare_kernel,
)  # whose instructions are counted
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


def search_types():
    """Types of the arguments of the filters and of the selection."""
    pointers = {"mask_ptr": "*u8", "signs_ptr": "*i8", "ones_ptr": "*i32", "overflow_ptr": "*i32"}
    pointers |= {f"{name}_ptr": "*i64" for name in ("limits", "counts", "suspects", "hits", "best")}
    sizes = {"n": "i64", "stride": "i64"}
    sizes |= dict.fromkeys(
        ("n_queries", "queries_per_program", "listed", "capacity", "k", "n_words", "id_digits", "distance_digits"),
        "i32",
    )
    return pointers | sizes


def hamming_cases():
    sizes = {"n": "i64", "n_words": "i32", "n_blocks": "i32", "n_chunks": "i32", "n_ranges": "i32"}
    pointers = {
        "mask_ptr": "*u8", "counts_ptr": "*i64", "distances_ptr": "*i32",
        "last_ptr": "*i32", "end_ptr": "*i64", "ids_ptr": "*i64",
    }  # fmt: skip
    blocks = {"BLOCK": counting.BLOCK, "BLOCKS_PER_CHUNK": counting.BLOCKS_PER_CHUNK}
    for word in ("*i64", "*i32"):
        words = {"queries_ptr": word, "codes_ptr": word}
        for kernel, counts in (
            (counting.hamming_distance_kernel, {}),
            (counting.hamming_count_kernel, {}),
            (counting.hamming_chunk_count_kernel, {"below_ptr": "*i32", "at_ptr": "*i32"}),
            (counting.hamming_write_kernel, {"below_ptr": "*i64", "at_ptr": "*i64"}),
        ):
            widths = (64, 4096) if kernel is counting.hamming_count_kernel else (64,)
            for bins in [counting.distance_bins(bits)[0] for bits in widths]:
                yield kernel, sizes | pointers | words | counts, blocks | {"HAS_MASK": True, "BINS": bins}, 4

    types = search_types()
    words = {"queries_ptr": "*i64", "codes_ptr": "*i64"}
    for tuned in itertools.chain.from_iterable(hamming.TUNING.values()):
        scan, product = tuned["scan"], tuned["product"]
        options = {"num_warps": product["warps"], "num_stages": product["stages"]}
        for other in (False, True):
            constants = {"HAS_MASK": other, "SAMPLE": other} | hamming.scan_constants(tuned["up_to_bits"] // 64, scan)
            yield hamming.hamming_scan_kernel, types | words, constants, scan["warps"]
            constants = {"HAS_MASK": other} | hamming.product_constants(tuned["up_to_bits"], product)
            yield hamming.hamming_product_kernel, types | {"codes_ptr": "*i32"}, constants, options
    for entry, words_type, mask in itertools.product(hamming.TUNING["default"], ("*i64", "*i32"), (False, True)):
        n_words = entry["up_to_bits"] // 64 if words_type == "*i64" else entry["up_to_bits"] // 32 - 1
        constants, launch = hamming.scan_one_launch(entry["scan"], hamming.scan_constants(n_words, entry["scan"]))
        one = types | dict.fromkeys(("query_ptr", "codes_ptr"), words_type)
        yield hamming.hamming_scan_one_kernel, one, {"HAS_MASK": mask} | constants, launch
    scan = hamming.TUNING["default"][0]["scan"]
    constants = {"HAS_MASK": False, "SAMPLE": False} | hamming.scan_constants(3, scan)
    yield hamming.hamming_scan_kernel, types | dict.fromkeys(words, "*i32"), constants, scan["warps"]
    for block in (hamming.FEW, hamming.MANY):
        for word, queries, codes in (("*i64", 8, 1), ("*i64", 1, 256), ("*i32", 1, 1)):
            constants = {"HAS_MASK": True, "QUERIES": queries, "CODES": codes, "BLOCK": block["BLOCK"], "PLANES": 0}
            yield hamming.hamming_select_kernel, types | dict.fromkeys(words, word), constants, block["num_warps"]


def asymmetric_cases():
    """The Hamming search's kernels by weighted distances, of queries of 4 and of 8 bits."""
    types = search_types()
    for word, up_to_bits, planes in (
        ("*i64", 64, 3), ("*i64", 512, 3), ("*i64", 4096, 3), ("*i64", 4096, 7), ("*i32", 96, 3),
    ):  # fmt: skip
        tuned = next(entry for entry in hamming.TUNING["default"] if up_to_bits <= entry["up_to_bits"])
        words = types | {"queries_ptr": word, "codes_ptr": word}
        shape = hamming.scan_constants(up_to_bits // (64 if word == "*i64" else 32), tuned["scan"], planes)
        for sampled, queries in ((False, 1), (False, shape["QUERIES"]), (True, shape["QUERIES"])):
            constants = {"HAS_MASK": sampled, "SAMPLE": sampled} | shape | {"QUERIES": queries}
            yield hamming.hamming_scan_kernel, words, constants, tuned["scan"]["warps"]
        taken, launch = hamming.scan_one_launch(tuned["scan"], shape)
        yield hamming.hamming_scan_one_kernel, words | {"query_ptr": word}, {"HAS_MASK": True} | taken, launch
        for queries, codes, block in ((1, 256, hamming.MANY), (2, 1, hamming.FEW)):
            constants = {"HAS_MASK": True, "QUERIES": queries, "CODES": codes, "PLANES": planes}
            yield hamming.hamming_select_kernel, words, constants | {"BLOCK": block["BLOCK"]}, block["num_warps"]


def pairs_cases():
    """Codes of one word, and of more."""
    types = dict.fromkeys(("row_keys_ptr", "keys_ptr", "distances_ptr"), "*i32")
    for kernel in (pairs.pair_keys_kernel, pairs.pair_originals_kernel, pairs.pair_compare_kernel):
        types |= {name: "*i64" if name.endswith("_ptr") else "i32" for name in kernel.arg_names if name not in types}
    for one in ({"n_words": 1}, {}):
        yield pairs.pair_keys_kernel, types, {"ROWS": pairs.LISTED} | one, 4
        yield pairs.pair_originals_kernel, types, {"ROWS": pairs.ROWS} | one, 1
        for behind in (True, False):
            constants = {"BEHIND": behind, "ROWS": pairs.ROWS, "SHIFTS": pairs.SHIFTS}
            yield pairs.pair_compare_kernel, types, constants | one, 1


def packing_cases():
    for word, infinity in (("*i16", 0x7F80), ("*i32", 0x7F800000), ("*i64", 0x7FF0000000000000), ("*u8", None)):
        types = {"x_ptr": word, "codes_ptr": "*u8", "nan_ptr": "*i32", "n": "i32", "n_bits": "i32"}
        strides = {"row_stride": "i32", "column_stride": "i32"}
        bits = {"*i16": 15, "*i32": 31, "*i64": 63, "*u8": 8}[word]
        for n in (1, 1000):
            constants = {"INFINITY": infinity, "MAGNITUDE": 2**bits - 1} | packing.tile_shape(n)
            yield packing.pack_bits_kernel, types | strides, constants, 4
    scalars = {"n": "i32", "d": "i32", "n_bits": "i32", "row_stride": "i64", "column_stride": "i32"}
    constants = {"ROWS": packing.PROJECTED_ROWS, "BITS": packing.PROJECTED_BITS, "DEPTH": packing.DEPTH}
    for x, element in (("*fp32", "*fp32"), ("*fp64", "*fp64"), ("*bf16", "*fp32"), ("*fp16", "*fp32")):
        types = {"x_ptr": x, "projection_ptr": element, "offset_ptr": element, "codes_ptr": "*u8", "place_ptr": "*i64"}
        yield packing.pack_projections_kernel, types | scalars, constants, 4


def wasserstein_cases():
    """Half precisions, which are computed in float32, take each law and each tile once, not each with each."""
    for element, dtype in (
        ("*fp32", torch.float32), ("*fp64", torch.float64), ("*bf16", torch.bfloat16), ("*fp16", torch.float16),
    ):  # fmt: skip
        half = dtype.itemsize == 2
        pointers = dict.fromkeys(("x_ptr", "gradient_ptr", "upstream_ptr", "between_ptr", "listed_ptr"), element)
        pointers |= dict.fromkeys(("n_low_ptr", "parting_ptr", "bracket_ptr"), "*i64")
        pointers |= {"counts_ptr": "*i32", "costs_ptr": "*fp64" if element == "*fp64" else "*fp32"}
        scalars = dict.fromkeys(("n", "m", "row_stride", "column_stride", "n_chunks", "capacity", "reach"), "i32")
        law = dict.fromkeys(("split", "low", "high", "p", "scale"), "fp64")
        types = pointers | scalars | law | {"cost_ptr": "*fp64"}
        bits = {"BITS": wasserstein.KEY_BITS[dtype], "HALVES": dtype == torch.float32}
        most = wasserstein.MAX_ELEMENTS[dtype]
        sizes = [(100, 3000, 2), (128, 64, -1), (most, 64, -1)]
        if not half:
            sizes += [(128, 64, 2), (2048, 64, -1), (most, 1, 1)]
        for n, m, p in sizes:
            options = wasserstein.registers(n, m, dtype)
            held = {name: options[name] for name in ("ROW_BITS", "COLUMNS")}
            whole = {"cost_ptr": element} if held["COLUMNS"] > 1 else {}
            constants = bits | held | {"P": p, "column_stride": 1}
            yield wasserstein.two_point_kernel, types | whole, constants, options["num_warps"]
        collect, search = long_columns.blocks(dtype)
        launch = {name: search.pop(name) for name in ("num_warps", "maxnreg")}
        tiles = [(1, "i32"), (wasserstein.COLUMNS, "i32"), (wasserstein.COLUMNS, "i32:16")]
        powers = (1, 2, -1)
        for p, (columns, size) in zip(powers, tiles, strict=True) if half else itertools.product(powers[1:], tiles):
            constants = {"P": p, "column_stride": 1}
            sized = types | {"m": size, "row_stride": size}
            tile = {"ROWS": wasserstein.TILE // columns, "COLUMNS": columns}
            yield wasserstein.two_point_backward_kernel, sized, constants | tile, wasserstein.TILE_WARPS
            yield long_columns.two_point_collect_kernel, sized, constants | collect, collect["num_warps"]
        for p in powers[2:] if half else powers:
            constants = {"P": p, "column_stride": 1}
            yield long_columns.two_point_search_kernel, types, bits | constants | search, launch
        sample = {"SAMPLE": long_columns.SAMPLE, "column_stride": 1}
        yield long_columns.two_point_bracket_kernel, types, bits | sample, long_columns.SAMPLE // 256
        sums = {"costs_ptr": "*fp64", "loss_ptr": element, "n": "i32"}
        yield wasserstein.two_point_sum_kernel, sums, {"BLOCK": wasserstein.SUM_BLOCK}, 4


def householder_cases():
    most = householder.MAX_FUSED_COLUMNS
    for element, (k, n, size) in itertools.product(
        ("*fp32", "*fp64"),
        ((16, 1, "i32:16"), (32, 10**6, "i32:16"), (64, 128, "i32:16"), (64, 10**6, "i32"), (most, 1, "i32:16"),
         (most, 10**6, "i32")),
    ):  # fmt: skip
        for kernel, what in (
            (householder.householder_factors_kernel, {}),
            (householder.householder_apply_kernel, {"IDENTITY": False}),
            (householder.householder_backward_kernel, {"WITH_DX": True}),
        ):
            backward = kernel is householder.householder_backward_kernel
            options = householder.launch(n, k, 8 if element == "*fp64" else 4, backward)
            if kernel is householder.householder_factors_kernel:
                options = householder.factors_launch(k)
            constants = {name: options.pop(name) for name in set(options) - {"num_warps", "maxnreg"}} | what
            types = {name: element if name.endswith("_ptr") else size for name in kernel.arg_names}
            yield kernel, types, {name: constants[name] for name in kernel.arg_names if name in constants}, options


def h2q_cases():
    types = {name: "*fp32" if name.endswith("_ptr") else "i32" for name in h2q.h2q_kernel.arg_names}
    types |= dict.fromkeys(("best_epoch_ptr", "epoch_ptr", "keys_ptr", "order_ptr"), "*i32")
    types |= dict.fromkeys(("least_ptr", "history_ptr"), "*fp64")
    for columns, loss in ((16, "l2"), (64, "l2"), (64, "min_entry"), (h2q.MAX_BITS, "min_entry")):
        constants = {"LOSS": loss, "ADAM": True, "RENORMALIZE": True} | h2q.shape(columns)
        yield h2q.h2q_kernel, types, constants, h2q.options(columns)


# For each room that has a function here: (kernel, types of its run-time arguments, constants, warps or all options).
CASES = {name.removesuffix("_cases"): cases for name, cases in list(globals().items()) if name.endswith("_cases")}


def specialized(cases):
    """Yield every kernel with arguments that Triton makes constants: integers of 1, and None for what is not there."""
    without = {"mask_ptr": {"HAS_MASK": False}, "x_ptr": {"IDENTITY": True}, "n_low_ptr": {"HALVES": True}}
    of_kernel = {kernel: (kernel, types, constants, options) for kernel, types, constants, options in cases}
    for kernel, types, constants, options in of_kernel.values():
        integers = [
            name for name in kernel.arg_names if name not in constants and types[name].startswith(("i32", "i64"))
        ]
        for ones in [integers, *([name] for name in integers)]:
            yield kernel, types, constants | dict.fromkeys(ones, 1), options
        for pointer, flag in without.items():
            if set(flag) <= set(kernel.arg_names):
                yield kernel, types, constants | flag | {pointer: None}, options


def source_of(kernel, types: dict[str, str], constants: dict[str, object]):
    """Return what Triton compiles; scalars of type "i32:16" are known to be multiples of 16, as pointers are."""
    names = kernel.arg_names
    aligned = [i for i, name in enumerate(names) if name not in constants and types[name].startswith(("*", "i32:"))]
    return ASTSource(
        fn=kernel,
        signature={name: "constexpr" if name in constants else types[name].removesuffix(":16") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items() if name in names},
        attrs={(i,): [["tt.divisibility", 16]] for i in aligned},
    )


def all_options(options: int | dict[str, int]):
    return {"num_warps": options} if isinstance(options, int) else options


def understand(kernel, types: dict[str, str], constants: dict[str, object], options: int | dict[str, int], arch: int):
    """Bring a kernel to Triton's intermediate language, where constants come out that it does not expect."""
    target = GPUTarget("cuda", arch, 32)
    backend = make_backend(target)
    parsed = backend.parse_options(all_options(options))
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    source = source_of(kernel, types, constants)
    given = {
        "target": target,
        "options": parsed,
        "codegen_fns": backend.get_codegen_implementation(parsed),
        "module_map": backend.get_module_map(),
        "context": context,
    }
    source.make_ir(**{name: given[name] for name in inspect.signature(source.make_ir).parameters})


def measured(
    kernel, types: dict[str, str], constants: dict[str, object], options: int | dict[str, int], arch: int
) -> dict[str, object]:
    """Compile, and tell what came out."""
    target = GPUTarget("cuda", arch, 32)
    binary = triton.compile(source_of(kernel, types, constants), target=target, options=all_options(options))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [CUOBJDUMP, "--dump-resource-usage", file.name], check=True, capture_output=True, text=True
        ).stdout
        sass = ""
        if kernel in READ:
            sass = subprocess.run(
                [CUOBJDUMP, "--dump-sass", file.name], check=True, capture_output=True, text=True,
                env={**os.environ, "PATH": f"{CUOBJDUMP.parent}:{os.environ['PATH']}"},  # it calls nvdisasm
            ).stdout  # fmt: skip
    instructions = re.findall(r"/\*[0-9a-f]{4,}\*/ +(?:@!?U?P\w+ )?([A-Z0-9]+)", sass)
    registers = re.search(r"REG:(\d+)", usage)
    stack = re.search(r"STACK:(\d+)", usage)
    return {
        "kernel": kernel.fn.__name__,
        "arch": arch,
        "constants": constants,
        "warps": binary.metadata.num_warps,
        "instructions": Counter(instructions),
        "types": {name: types[name] for name in kernel.arg_names if name not in constants},
        "registers": int(registers[1]),
        "spill_bytes": int(stack[1]),
        "shared_bytes": binary.metadata.shared,
        "ptx": binary.asm["ptx"],
        "narrow": sorted(narrow_offsets(binary.asm["ttir"])),
    }


def most_demanding(cases, results):
    """Of each kernel the case that took most registers."""
    most = {}
    for case, result in zip(cases, results, strict=True):
        if result["registers"] > most.get(case[0], (0,))[0]:
            most[case[0]] = result["registers"], case
    return [case for _, case in most.values()]


if __name__ == "__main__":
    room, *others, newest = sys.argv[1:]
    cases = list(CASES[room]())
    for case in specialized(cases):
        understand(*case, int(newest))
    results = [measured(*case, int(newest)) for case in cases]
    results += [measured(*case, int(arch)) for arch in others for case in most_demanding(cases, results)]
    json.dump(results, sys.stdout)
