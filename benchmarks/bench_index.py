"""Building MultiIndex's tables, saving an index and opening it again, beside FAISS; 10^7 codes of 64 bits.

Reranking of 100 candidates for each of 1,000 queries in 384 dimensions, beside NumPy and the exact search.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.index.rerank import by_vectors, nearest_candidates

N = 10**7


@pytest.fixture
def codes(rng, scale):
    return rng.integers(0, 256, (scale(N, 3000), 8), dtype=np.uint8)


@pytest.fixture
def index(codes):
    index = fh.FlatIndex(64)
    index.add(codes)
    return index


def measure(benchmark, group, row, codes, run, threads=1, setup=None):
    benchmark.group = f"{group}, 10^7 codes of 64 bits" + (f", {threads} threads" if threads > 1 else "")
    benchmark.extra_info.update(row=row, bytes=codes.nbytes, threads=threads)
    return benchmark.pedantic(run, setup=setup, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", ["fast", "compact"])
def bench_build(benchmark, codes, layout, threads):
    latest = []

    def unbuilt():
        latest[:] = [fh.MultiIndex(64, layout=layout)]
        latest[0].add(codes)
        return (latest[0],), {}

    def build(index):
        index.build(threads=threads)

    measure(benchmark, "build the tables", f"fasthash {layout}", codes, build, threads, setup=unbuilt)
    assert latest[0].stats().n_indexed == len(codes)


@pytest.mark.parametrize("name", ["fasthash", "faiss"])
def bench_save(benchmark, codes, index, name, tmp_path):
    faiss = pytest.importorskip("faiss")
    path = str(tmp_path / "index")
    theirs = fh.index.to_faiss(index)
    save = {"fasthash": lambda: index.save(path), "faiss": lambda: faiss.write_index_binary(theirs, path)}[name]
    row = {"fasthash": "fasthash, checksums, forced to the disk", "faiss": "faiss"}[name]
    measure(benchmark, "save", row, codes, save)
    again = fh.load_index(path) if name == "fasthash" else fh.index.from_faiss(faiss.read_index_binary(path))
    assert np.array_equal(again.codes, codes)


OPENED = ("fasthash, mapped", "fasthash, verified", "fasthash, read", "faiss, mapped", "faiss, read")


@pytest.mark.parametrize("name", OPENED)
def bench_open(benchmark, codes, index, name, tmp_path):
    faiss = pytest.importorskip("faiss")
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    index.save(ours)
    faiss.write_index_binary(fh.index.to_faiss(index), theirs)
    load = {
        "fasthash, mapped": lambda: fh.load_index(ours),
        "fasthash, verified": lambda: fh.load_index(ours, verify=True),
        "fasthash, read": lambda: fh.load_index(ours, mmap=False),
        "faiss, mapped": lambda: faiss.read_index_binary(theirs, faiss.IO_FLAG_MMAP_IFC),
        "faiss, read": lambda: faiss.read_index_binary(theirs),
    }[name]
    found = measure(benchmark, "open", name, codes, load)
    n = found.ntotal if "faiss" in name else len(found)
    assert n == len(codes)


D, CANDIDATES, K = 384, 100, 10
VECTORS = {"float32": np.float32, "float16": np.float16, "int8": np.int8}


@pytest.fixture
def candidates(rng, scale):
    """Vectors, an index of their signs, queries, and for each 100 of the vectors' positions."""
    n, q = scale(100_000, 2000), scale(1000, 20)
    vectors, queries = (np.round(30 * rng.standard_normal((m, D), np.float32)).clip(-127, 127) for m in (n, q))
    index = fh.FlatIndex(D)
    index.add(fh.pack_bits(vectors))
    return index, vectors, queries, rng.integers(0, n, (q, CANDIDATES))


def rerank(index, by, queries, positions, metric):
    distance_of = by_vectors("bench", by, queries, metric, index._contents, D, len(queries))
    return nearest_candidates(distance_of, torch.from_numpy(positions), K)[0].numpy()


def rerank_numpy(vectors, queries, positions, metric):
    found = []
    for some in np.array_split(np.arange(len(queries)), max(1, len(queries) // 20)):
        x, q = vectors[positions[some]].astype(np.float32), queries[some]
        distances = -np.einsum("qd,qcd->qc", q, x) if metric == "inner_product" else ((q[:, None] - x) ** 2).sum(2)
        found.append(np.sort(distances, axis=1)[:, :K])
    return np.concatenate(found)


RERANKED = [
    *(("asymmetric", metric, "fasthash") for metric in ("inner_product", "l2")),
    *(
        (f"vectors {kind}", metric, row)
        for kind in VECTORS
        for metric in ("inner_product", "l2")
        for row in ("fasthash", "numpy")
    ),
]


@pytest.mark.parametrize(("by", "metric", "row"), RERANKED)
def bench_rerank(benchmark, candidates, one_thread, by, metric, row):
    index, vectors, queries, positions = candidates
    if by == "asymmetric":
        stored = vectors = np.where(vectors > 0, np.float32(1), np.float32(-1))
        given = "asymmetric"
    else:
        given = stored = vectors.astype(VECTORS[by.removeprefix("vectors ")])
    ways = {
        "fasthash": lambda: rerank(index, given, queries, positions, metric),
        "numpy": lambda: rerank_numpy(stored, queries, positions, metric),
    }
    benchmark.group = f"rerank 1,000 x 100 x {D} by {by}, {metric}"
    read = D // 8 if by == "asymmetric" else D * stored.itemsize
    benchmark.extra_info.update(row=row, comparisons=positions.size, bytes=positions.size * read, threads=1)
    found = benchmark.pedantic(ways[row], rounds=5, warmup_rounds=1)
    ends = [0, -1]
    np.testing.assert_allclose(found[ends], rerank_numpy(vectors, queries[ends], positions[ends], metric), rtol=1e-6)


def bench_exact_instead_of_reranking(benchmark, candidates, one_thread):
    """All vectors by a matrix product, which reranking spares."""
    _, vectors, queries, _ = candidates
    x, q = torch.from_numpy(vectors), torch.from_numpy(queries)
    benchmark.group = f"rerank 1,000 x 100 x {D} by vectors float32, inner_product"
    comparisons = len(vectors) * len(queries)
    benchmark.extra_info.update(row="torch, exact among all", comparisons=comparisons, bytes=vectors.nbytes, threads=1)
    found = benchmark.pedantic(lambda: (q @ x.T).topk(K, dim=1).values.numpy(), rounds=3, warmup_rounds=1)
    np.testing.assert_allclose(found[0], -np.sort(-(vectors @ queries[0]))[:K], rtol=1e-6)
