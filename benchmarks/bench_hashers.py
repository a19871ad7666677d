"""Fitting hashers on one thread, beside the turns of ITQ's paper and FAISS. GB/s counts the embeddings once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.hashers import ITQ

pytestmark = pytest.mark.usefixtures("one_thread")
TURNS = 50  # of the paper and of FAISS


@pytest.fixture(params=[(20_000, 64), (9_500, 384)], ids=str)
def embeddings(request, rng, scale):
    """20 centres, and noise whose columns are as unlike as those of principal components [n, d]."""
    n, d = (scale(full, small) for full, small in zip(request.param, (500, 64), strict=True))
    centres = rng.standard_normal((20, d), dtype=np.float32)
    return centres[rng.integers(20, size=n)] + rng.standard_normal((n, d), dtype=np.float32) * np.geomspace(
        1, 0.1, d, dtype=np.float32
    )


def quantisation_error(projections):
    """Mean squared distance to the signs, of projections scaled to a root mean square of 1."""
    z = projections.astype(np.float64)
    return float(np.square(np.abs(z / np.sqrt(np.square(z).mean())) - 1).mean())


def measure(benchmark, row, x, fit):
    benchmark.group = f"ITQ, clustered, {x.shape[1]} bits"
    benchmark.extra_info.update(row=row, bytes=x.nbytes)
    projections = benchmark.pedantic(fit, args=(x,), rounds=5, warmup_rounds=1)
    benchmark.extra_info["objective"] = quantisation_error(projections)
    return benchmark.extra_info["objective"]


def itq(x):
    return ITQ(x.shape[1]).fit(x).transform(x)


def turns_of_the_paper(x):
    v = torch.from_numpy(ITQ(x.shape[1], n_iterations=0).fit(x).transform(x))
    rotation = torch.eye(v.shape[1])
    for _ in range(TURNS):
        u, _, wt = torch.linalg.svd((v @ rotation).sign().T @ v)
        rotation = (u @ wt).T
    return (v @ rotation).numpy()


def faiss_itq(x):
    """Project by FAISS's, which multiplies the factors of the decomposition with one of them transposed."""
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)
    pca, rotation = faiss.PCAMatrix(x.shape[1], x.shape[1]), faiss.ITQMatrix(x.shape[1])
    rotation.max_iter = TURNS
    pca.train(x)
    rotation.train(pca.apply(x))
    return rotation.apply(pca.apply(x))


def bench_itq(benchmark, embeddings):
    ours = measure(benchmark, "fasthash", embeddings, itq)
    assert ours < quantisation_error(turns_of_the_paper(embeddings))


def bench_itq_by_the_paper(benchmark, embeddings):
    measure(benchmark, f"{TURNS} turns of the paper, torch", embeddings, turns_of_the_paper)


@pytest.mark.parametrize("embeddings", [(20_000, 64)], ids=str, indirect=True)  # at 384 bits it takes a minute
def bench_itq_by_faiss(benchmark, embeddings):
    measure(benchmark, f"faiss ITQMatrix, {TURNS} turns", embeddings, faiss_itq)
