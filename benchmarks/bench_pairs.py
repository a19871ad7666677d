"""All pairs of codes within a radius, on one thread where the group does not say two.

`group` says the question; comparisons are those of every pair. Other libraries answer by a search of each code among
all, which finds each pair twice and each code itself: that is part of their time, throwing it away is not. FAISS's
MultiHash with as many flips as make it exact is its fastest exact way; the BK-tree is that of image tools, in Python.
What takes minutes has one round.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest

import fasthash as fh

UNIFORM, CLUSTERED, CONSTANT, TWICE = "uniform", "clustered, 1e5 equal", "half of the bits constant", "each bit twice"


@dataclass(frozen=True)
class Case:
    n: int
    bits: int
    radius: int
    kind: str = UNIFORM
    threads: int = 1
    scaling: bool = False
    others: tuple[str, ...] = ()  # that take part

    def __str__(self) -> str:
        threads = f", {self.threads} threads" if self.threads > 1 else ""
        return f"pairs: {self.n:.0e} x {self.bits} bits, {self.kind}, r={self.radius}{threads}".replace("e+0", "e")


MULTI_INDEX, MULTI_HASH, FLAT, TREE = "fasthash MultiIndex.radius_search", "faiss MultiHash", "faiss Flat", "BK-tree"
CASES = [
    *(Case(n, 64, 3, scaling=True, others=(MULTI_INDEX, MULTI_HASH, FLAT, TREE)) for n in (10**3, 10**4)),
    Case(10**5, 64, 3, scaling=True, others=(MULTI_INDEX, MULTI_HASH, FLAT)),
    Case(10**6, 64, 3, scaling=True, others=(MULTI_INDEX, MULTI_HASH)),
    Case(10**7, 64, 3, scaling=True),
    Case(10**7, 64, 3, threads=2),
    *(Case(10**4, 64, radius, scaling=True, others=(MULTI_INDEX, MULTI_HASH, FLAT)) for radius in (6, 8)),
    *(Case(10**5, 64, radius, scaling=True, others=(MULTI_INDEX,)) for radius in (6, 8)),
    *(Case(n, 64, radius, scaling=True) for radius in (6, 8) for n in (10**6, 10**7)),
    Case(10**5, 256, 31, others=(FLAT,)),
    *(Case(10**6, 64, radius, CLUSTERED) for radius in (3, 8)),
    *(Case(10**6, 64, 3, kind) for kind in (CONSTANT, TWICE)),
]


@lru_cache(maxsize=1)
def codes_of(n, bits, kind):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (n, bits // 8), dtype=np.uint8)
    if kind == CONSTANT:
        codes[:, bits // 16 :] = 0
    elif kind == TWICE:
        codes = np.packbits(np.unpackbits(codes[:, : bits // 16], axis=1).repeat(2, axis=1), axis=1)
    elif kind == CLUSTERED:
        codes = codes[rng.integers(0, n // 10, n)]
        for part in np.array_split(codes, max(1, n // 100_000)):
            part ^= np.packbits(rng.random((len(part), bits), dtype=np.float32) < 0.05, axis=1)
        codes[rng.choice(n, n // 10, replace=False)] = codes[0]
    return codes


def own(codes, case):
    return fh.hamming_pairs(codes, case.radius, threads=case.threads)


def multi_index(codes, case):
    index = fh.MultiIndex(case.bits)
    index.add(codes)
    index.build()
    return index.radius_search(codes, case.radius, threads=case.threads)


def faiss_index(make):
    def search(codes, case):
        faiss = pytest.importorskip("faiss")
        faiss.omp_set_num_threads(case.threads)
        index = make(faiss, case)
        index.add(codes)
        offsets, distances, ids = index.range_search(codes, case.radius + 1)  # FAISS excludes the bound
        return fh.RadiusHits(offsets.astype(np.int64), distances, ids)

    return search


def multi_hash(faiss, case):
    index = faiss.IndexBinaryMultiHash(case.bits, 4, case.bits // 4)
    index.nflip = case.radius // 4
    return index


def tree(codes, case):
    """A node is a code and its children by their distance from it."""
    words = codes.view(np.uint64)[:, 0].tolist()
    root = (words[0], 0, {})
    for i, word in enumerate(words[1:], 1):
        node = root
        while (apart := (node[0] ^ word).bit_count()) in node[2]:
            node = node[2][apart]
        node[2][apart] = (word, i, {})
    hits = []
    for word in words:
        found, left = [], [root]
        while left:
            other, i, children = left.pop()
            apart = (other ^ word).bit_count()
            if apart <= case.radius:
                found.append(i)
            left += [child for d, child in children.items() if abs(d - apart) <= case.radius]
        hits.append(found)
    return fh.RadiusHits(np.cumsum([0, *map(len, hits)]), None, np.concatenate(hits))


WAYS = {
    "fasthash": own,
    MULTI_INDEX: multi_index,
    MULTI_HASH: faiss_index(multi_hash),
    FLAT: faiss_index(lambda faiss, case: faiss.IndexBinaryFlat(case.bits)),
    TREE: tree,
}
SEARCHES = [pytest.param(case, way, id=f"{case}-{way}") for case in CASES for way in ("fasthash", *case.others)]


def assert_exact(codes, case, found):
    """Rows by NumPy; the others by how many pairs of codes that differ there are."""
    distances = np.bitwise_count(codes.view(np.uint64) ^ codes.view(np.uint64)[:1]).sum(1)
    behind = np.flatnonzero(distances[1:] <= case.radius) + 1
    if isinstance(found, fh.HammingPairs):
        if case.kind == UNIFORM:
            np.testing.assert_array_equal(found.j[found.i == 0], behind)
        else:
            assert set(found.j[found.i == 0]) <= set(behind)
        return
    queries = np.repeat(np.arange(len(codes)), np.diff(found.offsets))
    pairs = own(codes, case)
    assert (queries < found.ids).sum() == len(pairs.i)
    np.testing.assert_array_equal(np.sort(found.ids[(queries == 0) & (found.ids > 0)]), behind)


@pytest.mark.parametrize(("case", "way"), SEARCHES)
def bench_pairs(benchmark, scale, case, way):
    n = scale(case.n, 2000)
    codes = codes_of(n, case.bits, case.kind)
    benchmark.group = str(case)
    quick = way == "fasthash" and case.n * case.radius <= 3 * 10**7
    rounds = {"rounds": scale(5 if quick else 1, 1), "warmup_rounds": scale(int(quick), 0)}
    found = benchmark.pedantic(WAYS[way], (codes, case), **rounds)
    assert_exact(codes, case, found)
    benchmark.extra_info.update(row=way, comparisons=n * (n - 1) // 2, bytes=codes.nbytes, threads=case.threads)
    if case.scaling:
        benchmark.extra_info.update(row=f"{way}, r={case.radius}", codes=n, queries=n)
