"""Positions by id, on one thread: what an index needs to take ids that are new and to find codes by theirs.

`group` says the question. Ids are random; each round has a new index. FAISS's row is `IndexBinaryIDMap2`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.ops.id_map import find_ids, insert_ids, new_table

N = 10**6
CHUNK = 20_000
ROUNDS = 5


def random_ids(n=N):
    return np.random.default_rng(0).permutation(n) * 7 - 3 * n


def table_of(ids):
    table = new_table(len(ids))
    assert insert_ids(table, ids, 0) == -1
    return table


@pytest.mark.benchmark(group=f"id_map: insert {N:.0e} ids")
@pytest.mark.parametrize("kernel", ["cpu", "dict"])
def test_insert(benchmark, kernel):
    ids = random_ids()
    if kernel == "dict":
        benchmark.pedantic(lambda: dict(zip(ids.tolist(), range(N), strict=True)), rounds=ROUNDS, warmup_rounds=1)
        return
    benchmark.pedantic(table_of, (torch.from_numpy(ids),), rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.benchmark(group=f"id_map: find 1,000 of {N:.0e} ids")
@pytest.mark.parametrize("kernel", ["cpu", "dict"])
def test_find(benchmark, kernel):
    ids = random_ids()
    sought = np.random.default_rng(1).choice(ids, 1000)
    if kernel == "dict":
        positions = dict(zip(ids.tolist(), range(N), strict=True))
        found = benchmark(lambda: [positions[i] for i in sought.tolist()])
    else:
        tensor = torch.from_numpy(ids)
        table = table_of(tensor)
        found = benchmark(lambda: find_ids(table, tensor, None, torch.from_numpy(sought), 1)).numpy()
    np.testing.assert_array_equal(ids[found], sought)


def faiss_with_ids():
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(64))
    return index.add_with_ids, index.remove_ids


def ours(make):
    def made():
        index = make(64)
        return index.add, index.remove

    return made


def numbered():
    index = fh.FlatIndex(64)
    return lambda codes, ids: index.add(codes), index.remove


INDEXES = {
    "FlatIndex, random ids": ours(fh.FlatIndex),
    "MultiIndex, random ids": ours(fh.MultiIndex),
    "FlatIndex, no ids": numbered,
    "faiss IDMap2, random ids": faiss_with_ids,
}


@pytest.fixture(params=INDEXES)
def made(request):
    """The functions that add codes with ids and remove ids, of a new index."""
    return INDEXES[request.param]


def codes_of(n):
    return np.random.default_rng(0).integers(0, 256, (n, 8), dtype=np.uint8)


@pytest.mark.benchmark(group=f"id_map: add {N:.0e} codes of 64 bits in chunks of {CHUNK:,}")
def test_add_in_chunks(benchmark, made):
    codes, ids = codes_of(N), random_ids()

    def add_all(add):
        for start in range(0, N, CHUNK):
            add(codes[start : start + CHUNK], ids[start : start + CHUNK])

    benchmark.pedantic(add_all, setup=lambda: ((made()[0],), {}), rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.benchmark(group=f"id_map: add one code to {N:.0e}")
def test_add_one(benchmark, made):
    add, _ = made()
    add(codes_of(N), random_ids())
    new = iter(range(10**8, 2 * 10**8, 7))
    benchmark.pedantic(add, setup=lambda: ((codes_of(1), np.array([next(new)])), {}), rounds=200, warmup_rounds=2)


@pytest.mark.benchmark(group=f"id_map: remove one id of {N:.0e}")
def test_remove_one(benchmark, request, made):
    add, remove = made()
    ids = np.arange(N) if "no ids" in request.node.name else random_ids()
    add(codes_of(N), ids)
    old = iter(np.random.default_rng(2).permutation(ids))
    benchmark.pedantic(remove, setup=lambda: ((np.array([next(old)]),), {}), rounds=50, warmup_rounds=2)
