"""Fitting hashers on one thread, beside FAISS. GB/s counts the embeddings once an iteration."""

from __future__ import annotations

import numpy as np
import pytest

from fasthash.hashers import ITQ

pytestmark = pytest.mark.usefixtures("one_thread")
N_BITS, N_ITERATIONS = 64, 50


@pytest.fixture
def embeddings(rng, scale):
    """20 centres and noise [n, 64], the shape of embeddings of as many classes."""
    n = scale(20_000, 500)
    centres = rng.standard_normal((20, N_BITS), dtype=np.float32)
    return centres[rng.integers(20, size=n)] + 0.1 * rng.standard_normal((n, N_BITS), dtype=np.float32)


def quantisation_error(projections):
    """Mean squared distance to the signs, of projections scaled to a root mean square of 1."""
    z = projections.astype(np.float64)
    return float(np.square(np.abs(z / np.sqrt(np.square(z).mean())) - 1).mean())


def measure(benchmark, row, function):
    benchmark.group = f"ITQ {N_ITERATIONS} iterations, 2e4 x {N_BITS}, clustered"
    benchmark.extra_info.update(row=row, bytes=N_ITERATIONS * 20_000 * N_BITS * 4)
    projections = benchmark.pedantic(function, rounds=5, warmup_rounds=1)
    benchmark.extra_info["objective"] = quantisation_error(projections)
    return benchmark.extra_info["objective"]


def faiss_itq(x):
    """Project by FAISS's, which multiplies the factors of the decomposition with one of them transposed."""
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)
    pca, itq = faiss.PCAMatrix(N_BITS, N_BITS), faiss.ITQMatrix(N_BITS)
    itq.max_iter = N_ITERATIONS
    pca.train(x)
    itq.train(pca.apply(x))
    return itq.apply(pca.apply(x))


def bench_itq(benchmark, embeddings):
    def fit_and_rotate():
        return ITQ(N_BITS, n_iterations=N_ITERATIONS).fit(embeddings).transform(embeddings)

    ours = measure(benchmark, "fasthash", fit_and_rotate)
    assert ours < 0.5 * quantisation_error(ITQ(N_BITS, n_iterations=0).fit(embeddings).transform(embeddings))
    assert ours < 0.5 * quantisation_error(faiss_itq(embeddings))


def bench_itq_by_faiss(benchmark, embeddings):
    measure(benchmark, "faiss ITQMatrix", lambda: faiss_itq(embeddings))
