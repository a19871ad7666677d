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


def random_ids(n):
    return np.random.default_rng(0).permutation(n) * 7 - 3 * n


def described(benchmark, row, n_bytes):
    """What is read or written at least, and whose row it is."""
    benchmark.extra_info.update(row=row if row.startswith(("faiss", "dict")) else f"fasthash {row}", bytes=n_bytes)


def table_of(ids):
    table = new_table(len(ids))
    assert insert_ids(table, ids, 0) == -1
    return table


@pytest.mark.benchmark(group=f"id_map: insert {N:.0e} ids")
@pytest.mark.parametrize("kernel", ["cpu", "dict"])
def test_insert(benchmark, scale, kernel):
    ids = random_ids(scale(N, 1000))
    described(benchmark, kernel, 16 * len(ids))
    if kernel == "dict":
        places = range(len(ids))
        benchmark.pedantic(lambda: dict(zip(ids.tolist(), places, strict=True)), rounds=ROUNDS, warmup_rounds=1)
        return
    benchmark.pedantic(table_of, (torch.from_numpy(ids),), rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.benchmark(group=f"id_map: find 1,000 of {N:.0e} ids")
@pytest.mark.parametrize("kernel", ["cpu", "dict"])
def test_find(benchmark, scale, kernel):
    ids = random_ids(scale(N, 1000))
    sought = np.random.default_rng(1).choice(ids, 1000)
    described(benchmark, kernel, 16 * len(sought))
    if kernel == "dict":
        positions = dict(zip(ids.tolist(), range(len(ids)), strict=True))
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
def made(request, benchmark):
    """The functions that add codes with ids and remove ids, of a new index."""
    described(benchmark, request.param, 16)
    return INDEXES[request.param]


def codes_of(n):
    return np.random.default_rng(0).integers(0, 256, (n, 8), dtype=np.uint8)


@pytest.mark.benchmark(group=f"id_map: add {N:.0e} codes of 64 bits in chunks of {CHUNK:,}")
def test_add_in_chunks(benchmark, scale, made):
    n, chunk = scale(N, 1000), scale(CHUNK, 100)
    codes, ids = codes_of(n), random_ids(n)
    benchmark.extra_info["bytes"] = 16 * n

    def add_all(add):
        for start in range(0, n, chunk):
            add(codes[start : start + chunk], ids[start : start + chunk])

    benchmark.pedantic(add_all, setup=lambda: ((made()[0],), {}), rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.benchmark(group=f"id_map: add one code to {N:.0e}")
def test_add_one(benchmark, scale, made):
    n = scale(N, 1000)
    add, _ = made()
    add(codes_of(n), random_ids(n))
    new = iter(range(10**8, 2 * 10**8, 7))
    benchmark.pedantic(add, setup=lambda: ((codes_of(1), np.array([next(new)])), {}), rounds=200, warmup_rounds=2)


@pytest.mark.benchmark(group=f"id_map: remove one id of {N:.0e}")
def test_remove_one(benchmark, request, scale, made):
    n = scale(N, 1000)
    add, remove = made()
    ids = np.arange(n) if "no ids" in request.node.name else random_ids(n)
    add(codes_of(n), ids)
    old = iter(np.random.default_rng(2).permutation(ids))
    benchmark.pedantic(remove, setup=lambda: ((np.array([next(old)]),), {}), rounds=50, warmup_rounds=2)


@pytest.mark.benchmark(group=f"id_map: search 1 query among 1,000 ids of {N:.0e}")
@pytest.mark.parametrize("eligible", ["among", "mask", "faiss IDMap2, IDSelectorBatch"])
def test_search_among(benchmark, scale, eligible):
    n, k = scale(N, 1000), 10
    codes, ids = codes_of(n), random_ids(n)
    described(benchmark, eligible, 16 * 1000)
    chosen = np.random.default_rng(3).choice(ids, 1000, replace=False)
    index = fh.FlatIndex(64)
    index.add(codes, ids)
    expected = index.search(codes[:1], k, among=chosen, threads=1).distances
    if eligible == "among":
        found = benchmark(lambda: index.search(codes[:1], k, among=chosen, threads=1))
    elif eligible == "mask":
        found = benchmark(lambda: index.search(codes[:1], k, mask=np.isin(ids, chosen), threads=1))
    else:
        faiss = pytest.importorskip("faiss")
        faiss.omp_set_num_threads(1)
        theirs = faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(64))
        theirs.add_with_ids(codes, ids)

        def search():
            selected = faiss.SearchParameters(sel=faiss.IDSelectorBatch(chosen))
            return theirs.search(codes[:1], k, params=selected)

        found = benchmark(search)
    np.testing.assert_array_equal(found[0], expected)
