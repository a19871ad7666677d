"""Exact Hamming top-k: every kernel beside FAISS, USearch, NumPy, torch and the hardware's floors.

`group` says the question. Rows called floor-* are no search: they are what a search cannot beat.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import torch

from fasthash.ops.hamming import KERNELS

from .codes import draw_codes
from .conftest import runnable
from .floors import popcount_only, read


@dataclass(frozen=True)
class Case:
    bits: int
    n: int
    q: int
    k: int
    data: str = "uniform"
    threads: int = 1
    busy: bool = False  # whether another process keeps one processor busy
    levels: bool = False  # whether every processor level takes part
    everyone: bool = False  # and the slow contenders, too

    def __str__(self) -> str:
        data = "" if self.data == "uniform" else f" {self.data}"
        threads = "" if self.threads == 1 else f" {self.threads} threads"
        busy = " beside a busy process" if self.busy else ""
        return f"{self.bits} bits n={self.n:.0e} q={self.q} k={self.k}{data}{threads}{busy}".replace("e+0", "e")


CASES = [
    *(Case(bits, 10**6, 100, 10, everyone=True) for bits in (64, 128, 256)),
    *(Case(bits, 10**6, 200, k) for bits in (64, 128, 256) for k in (10, 100, 1000)),
    *(Case(bits, 10**7, 100, k) for bits in (64, 128, 256) for k in (10, 100, 1000)),
    *(Case(bits, 10**7, 100, k, "clustered") for bits in (64, 128, 256) for k in (10, 1000)),
    *(Case(bits, 10**6, 100, k) for bits in (512, 1024) for k in (10, 1000)),
    *(
        Case(bits, 10**6, 256, 10, data, levels=True)
        for bits in (64, 128, 256, 512)
        for data in ("uniform", "clustered")
    ),
    *(Case(64, 10**6, 256, k, levels=True) for k in (100, 1000)),
    *(Case(bits, 10**7, 256, 10) for bits in (64, 128, 256, 512)),
    *(Case(bits, 10**7, 1, k) for bits in (64, 128, 256) for k in (10, 1000)),
    *(Case(bits, 10**7, 1, 10, threads=2) for bits in (64, 128, 256)),
    *(Case(bits, 10**6, 512, 10, threads=threads) for bits in (64, 128, 256, 512) for threads in (1, 2)),
    Case(64, 10**6, 512, 10, threads=2, busy=True),
    *(Case(bits, 10**6, 100, 10) for bits in (8, 16, 24, 32, 40, 48, 72, 80, 96, 120)),
    *(Case(bits, 10**6, 1, 10) for bits in (8, 24, 48, 72, 120)),
    *(Case(bits, 10**6, 1, 10, levels=True) for bits in (192, 384, 768, 1024, 1536)),
]


def kernel_search(kernel):
    def prepare(case, codes, queries):
        c, q, search = torch.from_numpy(codes), torch.from_numpy(queries), kernel.function("hamming_topk")
        return lambda: search(q, c, case.k, None, case.threads)[0].numpy()

    return prepare


def faiss_search(use_heap):
    def prepare(case, codes, queries):
        faiss = pytest.importorskip("faiss")
        faiss.omp_set_num_threads(case.threads)
        index = faiss.IndexBinaryFlat(case.bits)
        index.use_heap = use_heap
        index.add(codes)
        return lambda: index.search(queries, case.k)[0]

    return prepare


def usearch_search(case, codes, queries):
    usearch = pytest.importorskip("usearch.index")
    options = {
        "metric": usearch.MetricKind.Hamming,
        "exact": True,
        "threads": case.threads,
        "dtype": usearch.ScalarKind.B1,
    }
    return lambda: usearch.search(codes, queries, case.k, **options).distances.astype(np.int32)


def numpy_search(case, codes, queries):
    words, query_words = codes.view(np.uint64), queries.view(np.uint64)

    def search():
        hits = np.empty((len(queries), case.k), np.int32)
        for i, query in enumerate(query_words):
            distances = np.bitwise_count(query ^ words).sum(1, dtype=np.int32)
            hits[i] = np.sort(np.partition(distances, case.k - 1)[: case.k])
        return hits

    return search


def torch_search(case, codes, queries):
    """The usual idiom: codes unpacked to +-1 floats beforehand, a matrix product and topk for a block of queries."""
    from fasthash import unpack_bits

    c, q = unpack_bits(torch.from_numpy(codes), case.bits), unpack_bits(torch.from_numpy(queries), case.bits)

    def search():
        parts = [(part @ c.T).topk(case.k, dim=1).values for part in q.split(50)]
        return ((case.bits - torch.cat(parts)) / 2).int().numpy()

    def on_threads():
        before = torch.get_num_threads()
        torch.set_num_threads(case.threads)
        try:
            return search()
        finally:
            torch.set_num_threads(before)

    return on_threads


KERNEL_ROWS = {f"fasthash {name}": kernel_search(kernel) for name, kernel in runnable(KERNELS, "reference").items()}
BEST = {"fasthash": kernel_search(KERNELS["cpu"])}
FAISS = {"faiss heap": faiss_search(True), "faiss counting": faiss_search(False)}
SLOW = {"usearch": usearch_search, "numpy": numpy_search, "torch": torch_search}


def contenders(case):
    if case.everyone:
        return KERNEL_ROWS | FAISS | SLOW
    return (KERNEL_ROWS if case.levels else BEST) | FAISS


SEARCHES = [
    pytest.param(case, prepare, id=f"{case}-{name}") for case in CASES for name, prepare in contenders(case).items()
]


@contextmanager
def busy_process():
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@lru_cache(maxsize=1)
def codes_and_queries(case, n):
    return draw_codes(case.bits, case.data, n, case.q)


@lru_cache(maxsize=1)
def expected_ends(case, n):
    """The k smallest distances of the first and the last query, by NumPy."""
    codes, queries = codes_and_queries(case, n)
    word = np.uint64 if case.bits % 64 == 0 else np.uint8
    distances = [
        np.bitwise_count(codes.view(word) ^ query).sum(1, dtype=np.int32) for query in queries.view(word)[[0, -1]]
    ]
    return np.sort(np.partition(distances, case.k - 1)[:, : case.k])


def measure(benchmark, case, name, function):
    benchmark.group = str(case)
    benchmark.extra_info.update(
        row=name, comparisons=case.n * case.q, bytes=case.n * case.bits // 8, threads=case.threads
    )
    return benchmark.pedantic(function, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize(("case", "prepare"), SEARCHES)
def bench_topk(benchmark, case, prepare, scale, request):
    codes, queries = codes_and_queries(case, scale(case.n, 3000))
    search = prepare(case, codes, queries)
    name = request.node.callspec.id.removeprefix(f"{case}-")
    with busy_process() if case.busy else nullcontext():
        hits = measure(benchmark, case, name, search)
    np.testing.assert_array_equal(hits[[0, -1]], expected_ends(case, len(codes)))


@pytest.mark.parametrize("case", [case for case in CASES if case.q == 1 and case.n == 10**7], ids=str)
def bench_floor_read(benchmark, case, scale):
    codes, _ = codes_and_queries(case, scale(case.n, 3000))
    measure(benchmark, case, "floor read", lambda: read(codes, case.threads))


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.q > 1 and case.bits % 64 == 0 and case.threads == 1], ids=str
)
def bench_floor_popcount(benchmark, case, rng, scale):
    queries = rng.integers(0, 256, (case.q, case.bits // 8), dtype=np.uint8)
    measure(benchmark, case, "floor popcount", lambda: popcount_only(queries, scale(case.n, 3000)))


MASKED = [(q, share) for q in (1, 16, 256) for share in (0.01, 0.1, 0.5, 0.9, 0.999)]


@lru_cache(maxsize=1)
def mask_of(share, n):
    return np.random.default_rng(1).random(n) < share


def search_masked(codes, queries, mask):
    bits = torch.from_numpy(np.packbits(mask, bitorder="little"))
    c, q, search = torch.from_numpy(codes), torch.from_numpy(queries), KERNELS["cpu"].function("hamming_topk")
    return lambda: search(q, c, 10, bits, 1)[0].numpy()


def search_without_mask(codes, queries, mask):
    c, q, search = torch.from_numpy(codes), torch.from_numpy(queries), KERNELS["cpu"].function("hamming_topk")
    return lambda: search(q, c, 10, None, 1)[0].numpy()


def search_copied(codes, queries, mask):
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)

    def search():
        index = faiss.IndexBinaryFlat(64)
        index.add(codes[mask])
        return index.search(queries, 10)[0]

    return search


WITH_MASK = {
    "fasthash": search_masked,
    "fasthash, all codes without a mask": search_without_mask,
    "faiss, of the eligible codes copied": search_copied,
}


@pytest.mark.parametrize("row", WITH_MASK)
@pytest.mark.parametrize(("q", "share"), MASKED)
def bench_masked(benchmark, q, share, row, scale):
    case = Case(64, 10**6, q, 10)
    codes, queries = codes_and_queries(case, scale(case.n, 30_000))
    mask = mask_of(share, len(codes))
    eligible = mask if row != "fasthash, all codes without a mask" else np.ones_like(mask)
    benchmark.group = f"{case}, {share:.1%} eligible"
    benchmark.extra_info.update(row=row, comparisons=eligible.sum().item() * q, bytes=codes.nbytes, threads=1)
    hits = benchmark.pedantic(WITH_MASK[row](codes, queries, mask), rounds=5, warmup_rounds=1)
    distances = np.bitwise_count(codes[eligible].view(np.uint64) ^ queries.view(np.uint64)[[0, -1]].T)
    np.testing.assert_array_equal(hits[[0, -1]], np.sort(np.partition(distances, 9, axis=0)[:10], axis=0).T)
