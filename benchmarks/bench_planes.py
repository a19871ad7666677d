"""Exact Hamming top-k on stored planes, beside the search of rows, FAISS and a plain read of the codes as rows.

`group` says the question. Writing, and reading codes back, are rows of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import torch

from fasthash.ops.hamming import KERNELS as ROW_KERNELS
from fasthash.ops.planes import KERNELS, new_planes, read_planes, write_planes

from .codes import draw_codes
from .conftest import runnable
from .floors import read

WIDTHS = (64, 128, 256)
K = 10


@dataclass(frozen=True)
class Case:
    bits: int
    q: int
    kernel: str = "cpu"
    data: str = "uniform"
    threads: int = 1

    def group(self, n: int) -> str:
        data = "" if self.data == "uniform" else f" {self.data}"
        threads = "" if self.threads == 1 else f" {self.threads} threads"
        return f"{self.bits} bits n={n:.0e} q={self.q} k={K}{data}{threads}"


CASES = [
    *(Case(bits, q, data=data) for bits in WIDTHS for data in ("uniform", "clustered") for q in (1, 2, 4, 16, 64)),
    *(Case(bits, q, threads=2) for bits in WIDTHS for q in (1, 16)),
]
LEVELS = [Case(64, q, name) for q in (1, 16) for name in runnable(KERNELS, "reference")]


def aligned(codes):
    """Return the codes at the start of a cache line, as planes are: a plain read is then at its fastest."""
    memory = np.empty(codes.size + 64, np.uint8)
    copy = memory[-memory.ctypes.data % 64 :][: codes.size].reshape(codes.shape)
    copy[:] = codes
    return copy


@lru_cache(maxsize=1)
def stored_codes(bits, n, data="uniform"):
    drawn, queries = draw_codes(bits, data, n, 64)
    codes, queries = torch.from_numpy(aligned(drawn)), torch.from_numpy(queries)
    planes = new_planes(bits, n)
    write_planes(planes, codes, 0)
    return codes, queries, planes


def measure(benchmark, group, row, codes, function, **work):
    benchmark.group = group
    benchmark.extra_info.update(row=row, bytes=codes.nbytes, **work)
    return benchmark.pedantic(function, rounds=9, warmup_rounds=1)


def search_planes(case, codes, queries, planes):
    search = KERNELS[case.kernel].function("planes_topk")
    return lambda: search(queries, planes, len(codes), K, None, case.threads)[0].numpy()


def search_rows(case, codes, queries, planes):
    search = ROW_KERNELS[case.kernel].function("hamming_topk")
    return lambda: search(queries, codes, K, None, case.threads)[0].numpy()


def search_faiss(use_heap):
    def prepare(case, codes, queries, planes):
        faiss = pytest.importorskip("faiss")
        faiss.omp_set_num_threads(case.threads)
        index = faiss.IndexBinaryFlat(case.bits)
        index.use_heap = use_heap
        index.add(codes.numpy())
        return lambda: index.search(queries.numpy(), K)[0]

    return prepare


OURS = {"fasthash planes": search_planes, "fasthash rows": search_rows}
FAISS = {"faiss heap": search_faiss(True), "faiss counting": search_faiss(False)}
SEARCHES = [
    *(pytest.param(case, row, way, id=f"{case}-{row}") for case in CASES for row, way in (OURS | FAISS).items()),
    *(
        pytest.param(case, f"{row} {case.kernel}", way, id=f"{case}-{row}")
        for case in LEVELS
        for row, way in OURS.items()
    ),
]


@pytest.mark.parametrize(("case", "row", "prepare"), SEARCHES)
def bench_topk(benchmark, scale, case, row, prepare):
    n = scale(10**7, 40_000)
    codes, queries, planes = stored_codes(case.bits, n, case.data)
    queries = queries[: case.q]
    search = prepare(case, codes, queries, planes)
    found = measure(benchmark, case.group(n), row, codes, search, comparisons=case.q * n, threads=case.threads)
    np.testing.assert_array_equal(found, search_rows(case, codes, queries, planes)())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bits", WIDTHS)
def bench_floor_read(benchmark, scale, bits, threads):
    n = scale(10**7, 40_000)
    codes = stored_codes(bits, n)[0].numpy()
    case = Case(bits, 1, threads=threads)
    work = {"comparisons": n, "threads": threads}
    measure(benchmark, case.group(n), "floor: read of rows", codes, lambda: read(codes, threads), **work)


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
