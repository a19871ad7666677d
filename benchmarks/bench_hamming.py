"""Exact Hamming top-k on one thread: every kernel beside FAISS and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.ops.hamming import KERNELS

from .conftest import runnable

CASES = [(bits, 10**6, queries, k) for bits in (64, 128, 256) for queries, k in ((1, 10), (100, 10), (100, 100))]


@pytest.fixture(params=CASES, ids=lambda case: "{}-bits n={} q={} k={}".format(*case))
def work(request, rng, scale, benchmark):
    n_bits, n, n_queries, k = request.param
    n = scale(n, 3000)
    codes = rng.integers(0, 256, (n, n_bits // 8), dtype=np.uint8)
    queries = rng.integers(0, 256, (n_queries, n_bits // 8), dtype=np.uint8)
    benchmark.group = f"{n_bits} bits, n={n}, q={n_queries}, k={k}"
    benchmark.extra_info.update(comparisons=n * n_queries, bytes=codes.nbytes)
    return queries, codes, k


def distances_of_hits(queries, codes, k):
    """The k smallest distances of each query, by NumPy."""
    words = codes.view(np.uint64)
    distances = [np.bitwise_count(query ^ words).sum(1, dtype=np.int32) for query in queries.view(np.uint64)]
    return np.sort(distances, axis=1)[:, :k]


@pytest.mark.parametrize("kernel", runnable(KERNELS, "reference"))
def bench_topk(benchmark, work, kernel):
    queries, codes, k = work
    q, c = torch.from_numpy(queries), torch.from_numpy(codes)
    distances, _ = benchmark(kernel.function("hamming_topk"), q, c, k, None, 1)
    np.testing.assert_array_equal(distances[:3].numpy(), distances_of_hits(queries[:3], codes, k))


def bench_topk_faiss(benchmark, work):
    faiss = pytest.importorskip("faiss")
    queries, codes, k = work
    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(codes.shape[1] * 8)
    index.add(codes)
    distances, _ = benchmark(index.search, queries, k)
    np.testing.assert_array_equal(distances[:3], distances_of_hits(queries[:3], codes, k))
