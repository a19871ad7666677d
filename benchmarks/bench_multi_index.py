"""Search in less than linear time, on one thread: both layouts of MultiIndex beside FlatIndex and FAISS.

`group` says the question. Every round has other queries, as those just asked would find what they need in the caches. A
row that is not exact carries its recall: the share of its hits that are no farther than the last of the true ones.
Building is not timed here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest

import fasthash as fh


@dataclass(frozen=True)
class Data:
    bits: int
    n: int
    flip: float = 0.1  # of each bit of a centre; 0.5 is uniform

    def __str__(self) -> str:
        kind = "uniform" if self.flip == 0.5 else f"clustered {self.flip}"
        return f"{self.bits} bits n={self.n:.0e} {kind}".replace("e+0", "e")


@dataclass(frozen=True)
class Case:
    data: Data
    k: int | None = 10
    radius: int | None = None
    q: int = 50
    approximate: bool = False  # whether approximate indexes take part
    scaling: bool = False  # whether the plot over the number of codes shows it

    def __str__(self) -> str:
        sought = f"k={self.k}" if self.radius is None else f"radius={self.radius}"
        return f"{self.data} q={self.q} {sought}"


CLUSTERED = Data(64, 10**7)
CASES = [
    *(Case(Data(64, n), scaling=True) for n in (10**4, 10**5, 10**6)),
    *(Case(CLUSTERED, k, approximate=k == 10, scaling=k == 10) for k in (1, 10, 100, 1000)),
    Case(CLUSTERED, q=1),
    *(Case(CLUSTERED, radius=radius) for radius in (4, 8, 12)),
    Case(Data(64, 10**7, 0.05)),
    Case(Data(64, 10**7, 0.5)),
    Case(Data(64, 10**7, 0.5), q=1),
    *(Case(Data(128, 10**7), k) for k in (10, 1000)),
    Case(Data(64, 5 * 10**7), scaling=True),
]


def fasthash_index(make):
    def prepare(codes, bits):
        index = make(bits)
        index.add(codes)
        if isinstance(index, fh.MultiIndex):
            index.build()

        def search(case, queries):
            if case.radius is None:
                return index.search(queries, case.k, threads=1)
            return index.radius_search(queries, case.radius, threads=1)

        return search

    return prepare


def faiss_index(make):
    def prepare(codes, bits):
        faiss = pytest.importorskip("faiss")
        faiss.omp_set_num_threads(1)
        index = make(faiss, codes, bits)
        index.add(codes)

        def search(case, queries):
            if case.radius is None:
                return index.search(queries, case.k)
            offsets, distances, ids = index.range_search(queries, case.radius + 1)  # FAISS excludes the bound
            return offsets, distances, ids

        return search

    return prepare


def inverted_file(faiss, codes, n_bits):
    """Trained on as many codes as FAISS asks for, and not on all, which would take half a minute."""
    n_lists = min(1024, len(codes) // 40)
    index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(n_bits), n_bits, n_lists)
    index.train(codes[: 40 * n_lists])
    index.nprobe = 64
    return index


def multi_hash(n_tables, bits, flips):
    def make(faiss, codes, n_bits):
        index = faiss.IndexBinaryMultiHash(n_bits, n_tables, bits)
        index.nflip = flips
        return index

    return make


EXACT = {
    "fasthash MultiIndex": fasthash_index(fh.MultiIndex),
    "fasthash MultiIndex compact": fasthash_index(lambda bits: fh.MultiIndex(bits, layout="compact")),
    "fasthash FlatIndex": fasthash_index(fh.FlatIndex),
    "faiss IndexBinaryFlat": faiss_index(lambda faiss, codes, bits: faiss.IndexBinaryFlat(bits)),
}
APPROXIMATE = {
    "faiss IndexBinaryIVF 1024 lists, 64 probes": faiss_index(inverted_file),
    "faiss IndexBinaryMultiHash 3 x 21, 2 flips": faiss_index(multi_hash(3, 21, 2)),
    "faiss IndexBinaryMultiHash 3 x 21, 3 flips": faiss_index(multi_hash(3, 21, 3)),
}
# Cases with the same codes and index follow each other, so that an index is built once.
SEARCHES = sorted(
    (
        pytest.param(case, name, id=f"{case}-{name}")
        for case in CASES
        for name in (*EXACT, *(APPROXIMATE if case.approximate else ()))
    ),
    key=lambda search: (str(search.values[0].data), search.values[1]),
)


N_QUERIES = 300  # fifty for each of five rounds and the warm-up


@lru_cache(maxsize=1)
def codes_and_queries(data, n):
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (10_000, data.bits // 8), dtype=np.uint8)
    codes = centres[rng.integers(0, len(centres), n + N_QUERIES)]
    for part in np.array_split(codes, max(1, n // 100_000)):
        part ^= np.packbits(rng.random((len(part), data.bits), dtype=np.float32) < data.flip, axis=1)
    return codes[:n], codes[n:]


@lru_cache(maxsize=1)
def prepared(data, n, name):
    return {**EXACT, **APPROXIMATE}[name](codes_and_queries(data, n)[0], data.bits)


@lru_cache(maxsize=2)
def true_distances(data, n, query):
    """The distances of every code from a query, ascending, by NumPy."""
    codes, queries = codes_and_queries(data, n)
    distances = np.bitwise_count(codes.view(np.uint64) ^ queries[query].view(np.uint64)).sum(1, dtype=np.uint16)
    return np.repeat(np.arange(data.bits + 1), np.bincount(distances, minlength=data.bits + 1))


def assert_exact(case, n, first, found):
    for query in {0, case.q - 1}:
        expected = true_distances(case.data, n, first + query)
        if case.radius is None:
            np.testing.assert_array_equal(found[0][query], expected[: case.k])
        else:
            offsets, distances, _ = found
            hits = np.sort(distances[int(offsets[query]) : int(offsets[query + 1])])
            np.testing.assert_array_equal(hits, expected[: np.searchsorted(expected, case.radius, "right")])


@pytest.mark.parametrize(("case", "name"), SEARCHES)
def bench_search(benchmark, case, name, scale):
    n = scale(case.data.n, 3000)
    codes, queries = codes_and_queries(case.data, n)
    search = prepared(case.data, n, name)
    benchmark.group = str(case)
    firsts = itertools.cycle(range(0, N_QUERIES, case.q))
    latest = []

    def other_queries():
        latest[:] = [next(firsts)]
        return (case, queries[latest[0] : latest[0] + case.q]), {}

    rounds = 5 if case.q > 1 else 50
    found = benchmark.pedantic(search, setup=other_queries, rounds=rounds, warmup_rounds=1)
    row = name
    if name in EXACT:
        assert_exact(case, n, latest[0], found)
    else:
        last = queries[latest[0] : latest[0] + case.q]
        recall = (found[0] <= fh.hamming_topk(last, codes, case.k).distances[:, -1:]).mean()
        row += f", recall {recall:.3f}"
    benchmark.extra_info.update(row=row, comparisons=n * case.q, bytes=codes.nbytes, threads=1)
    if case.scaling:
        benchmark.extra_info.update(codes=n, queries=case.q)
