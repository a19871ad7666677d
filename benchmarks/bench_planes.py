"""Exact Hamming top-k on stored planes, beside the search of rows and a plain read of the codes as rows.

`group` says the question. Writing, and reading codes back, are rows of their own.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from fasthash.ops.hamming import KERNELS as ROW_KERNELS
from fasthash.ops.planes import KERNELS, new_planes, read_planes, write_planes

from .conftest import runnable
from .floors import read

WIDTHS = (64, 128, 256)
K = 10
SEARCHES = [
    *((bits, q, "cpu") for bits in WIDTHS for q in (1, 2, 4, 16, 64)),
    *((64, q, name) for q in (1, 16) for name in runnable(KERNELS, "reference")),
]


def aligned(codes):
    """Return the codes at the start of a cache line, as planes are: a plain read is then at its fastest."""
    memory = np.empty(codes.size + 64, np.uint8)
    copy = memory[-memory.ctypes.data % 64 :][: codes.size].reshape(codes.shape)
    copy[:] = codes
    return copy


@lru_cache(maxsize=1)
def stored_codes(bits, n):
    rng = np.random.default_rng(0)
    drawn, queries = (rng.integers(0, 256, (m, bits // 8), dtype=np.uint8) for m in (n, 64))
    codes = aligned(drawn)
    codes, queries = torch.from_numpy(codes), torch.from_numpy(queries)
    planes = new_planes(bits, n)
    write_planes(planes, codes, 0)
    return codes, queries, planes


def measure(benchmark, group, row, codes, function, **work):
    benchmark.group = group
    benchmark.extra_info.update(row=row, bytes=codes.nbytes, **work)
    return benchmark.pedantic(function, rounds=9, warmup_rounds=1)


@pytest.mark.parametrize("layout", ["planes", "rows"])
@pytest.mark.parametrize(("bits", "q", "kernel"), SEARCHES)
def bench_topk(benchmark, scale, bits, q, kernel, layout):
    n = scale(10**7, 40_000)
    codes, queries, planes = stored_codes(bits, n)
    on_planes, on_rows = KERNELS[kernel].function("planes_topk"), ROW_KERNELS[kernel].function("hamming_topk")
    searches = {
        "planes": lambda: on_planes(queries[:q], planes, n, K, None, 1),
        "rows": lambda: on_rows(queries[:q], codes, K, None, 1),
    }
    group, row = f"{bits} bits n={n:.0e} q={q} k={K}", f"fasthash {layout} {kernel}"
    found = measure(benchmark, group, row, codes, searches[layout], comparisons=q * n)
    for ours, theirs in zip(found, on_rows(queries[:q], codes, K, None, 1), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("bits", WIDTHS)
def bench_floor_read(benchmark, scale, bits):
    n = scale(10**7, 40_000)
    codes = stored_codes(bits, n)[0].numpy()
    measure(
        benchmark,
        f"{bits} bits n={n:.0e} q=1 k={K}",
        "floor: read of rows",
        codes,
        lambda: read(codes, 1),
        comparisons=n,
    )


@pytest.mark.parametrize("kernel", runnable(KERNELS, "reference"))
@pytest.mark.parametrize("way", ["write", "read"])
@pytest.mark.parametrize("bits", WIDTHS)
def bench_write_and_read(benchmark, scale, bits, way, kernel):
    n = scale(10**6, 40_000)
    codes, _, planes = stored_codes(bits, n)
    ways = {
        "write": lambda: write_planes(planes, codes, 0, 1, kernel=kernel),
        "read": lambda: read_planes(planes, bits, slice(0, n), 1, kernel=kernel),
    }
    measure(benchmark, f"{way} {bits} bits n={n:.0e}", f"fasthash {kernel}", codes, ways[way])
    assert torch.equal(read_planes(planes, bits, slice(0, n)), codes)


@pytest.mark.parametrize("bits", WIDTHS)
def bench_append_one_by_one(benchmark, scale, bits):
    n = scale(10_000, 100)
    codes = stored_codes(bits, scale(10**6, 40_000))[0][:n]
    planes = new_planes(bits, n)

    def append():
        for i in range(n):
            write_planes(planes, codes[i : i + 1], i, 1)

    measure(benchmark, f"append {bits} bits n={n:.0e}, one by one", "fasthash cpu", codes, append)
    assert torch.equal(read_planes(planes, bits, slice(0, n)), codes)
