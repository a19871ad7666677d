"""HSWD forward and backward on one thread, beside the authors' formulation and the bare compiled kernel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.ops.wasserstein import KERNELS

from .conftest import runnable

SHAPES = [(64, 16), (128, 64), (256, 64), (1024, 64), (8192, 64), (65536, 128)]


def authors(x):
    """Two sorts, the target drawn anew, as the code published with the paper does it."""
    target = torch.randn_like(x).sign()
    loss = (target.sort(dim=0).values - x.sort(dim=0).values).square().mean()
    loss.backward()
    return loss


def hswd(target, kernel=None):
    def run(x):
        loss = fh.hswd(x, target=target, kernel=kernel)
        loss.backward()
        return loss

    return run


def bare(kernel):
    def run(x):
        n_low = torch.full((x.shape[1],), x.shape[0] // 2)
        return kernel.function("two_point_wasserstein")(x, n_low, 0.0, -1.0, 1.0, 2.0, True)[0]

    return run


ROWS = {
    "sorting (authors)": authors,
    "fasthash": hswd("balanced"),
    "fasthash bernoulli": hswd("bernoulli"),
    "fasthash reference, with autograd": hswd("balanced", "reference"),
    **{f"fasthash {name}, kernel alone": bare(kernel) for name, kernel in runnable(KERNELS, "reference").items()},
}


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setenv("FASTHASH_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def bench_hswd(benchmark, shape, name, rng, scale):
    n, m = scale(shape[0], 64), shape[1]
    x = torch.from_numpy(rng.standard_normal((n, m), dtype=np.float32)).requires_grad_()
    benchmark.group = f"hswd forward and backward, {shape[0]} x {shape[1]} float32"
    benchmark.extra_info.update(row=name, bytes=shape[0] * shape[1] * 4)

    def run():
        x.grad = None
        return ROWS[name](x)

    large = n * m > 10**6
    loss = benchmark.pedantic(run, rounds=5 if large else 30, iterations=1 if large else 10, warmup_rounds=2)
    expected = fh.hswd(x.detach(), kernel="reference")
    if "authors" in name or "bernoulli" in name:
        assert abs(loss.item() - expected.item()) < 0.5  # another target in every call
    else:
        torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=1e-5)
