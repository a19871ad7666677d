"""Wasserstein distances forward and backward on one thread, beside the usual formulations and the bare kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash import losses
from fasthash.ops.wasserstein import KERNELS

from .conftest import runnable

SHAPES = [(64, 16), (128, 64), (256, 64), (512, 64), (1024, 64), (8192, 64), (65536, 128)]


def authors(x):
    """Two sorts, the target drawn anew, as the code published with the paper does it."""
    target = torch.randn_like(x).sign()
    loss = (target.sort(dim=0).values - x.sort(dim=0).values).square().mean()
    loss.backward()
    return loss


def pot(x):
    """POT's sliced distance on the axes as directions."""
    ot = pytest.importorskip("ot")
    target = torch.ones_like(x)
    target[: len(x) // 2] = -1
    loss = ot.sliced_wasserstein_distance(x, target, projections=torch.eye(x.shape[1])) ** 2
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


class Bare(torch.autograd.Function):
    """The least Python that gives the kernel a gradient."""

    @staticmethod
    def forward(ctx, x):
        loss, gradient = KERNELS["cpu"].function("two_point_wasserstein")(x, None, 0.0, -1.0, 1.0, 2.0, True)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx, upstream):
        return ctx.saved_tensors[0]


def unchecked(x):
    loss = Bare.apply(x)
    loss.backward()
    return loss


def native_graph(x):
    """The kernel finds each element's target, torch's own op the rest; its second derivative is right too."""
    _, gradient = KERNELS["cpu"].function("two_point_wasserstein")(x.detach(), None, 0.0, -1.0, 1.0, 2.0, True)
    loss = torch.nn.functional.mse_loss(x, torch.add(x.detach(), gradient, alpha=-x.numel() / 2))
    loss.backward()
    return loss


def summed(x):
    """What torch's engine takes for next to nothing."""
    total = x.sum()
    total.backward()
    return total


ROWS = {
    "torch.sort (authors)": authors,
    "floor: torch.sum": summed,
    "floor: the kernel in an autograd.Function": unchecked,
    "floor: the kernel's targets, then torch's mse_loss": native_graph,
    "POT": pot,
    "fasthash": hswd("balanced"),
    "fasthash bernoulli": hswd("bernoulli"),
    "fasthash reference, with autograd": hswd("balanced", "reference"),
    **{f"fasthash {name}, kernel alone": bare(kernel) for name, kernel in runnable(KERNELS, "reference").items()},
}


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
    slow = name == "POT" and n * m > 10**5
    rounds, iterations = (2, 1) if slow else (5, 1) if large else (30, 10)
    loss = benchmark.pedantic(run, rounds=rounds, iterations=iterations, warmup_rounds=1 if slow else 2)
    expected = x.detach().sum() if "torch.sum" in name else fh.hswd(x.detach(), kernel="reference")
    if "authors" in name or "bernoulli" in name:
        assert abs(loss.item() - expected.item()) < 0.5  # another target in every call
    else:
        torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=1e-5)


def sorting(x, y):
    """The distance as it is usually written."""
    return (x.sort(dim=0).values - y.sort(dim=0).values).square().mean()


def sorting_projections(x, y, n_projections):
    """The published code's sliced distance: all projections at once."""
    directions = torch.randn(x.shape[1], n_projections)
    directions /= directions.norm(dim=0)
    return sorting(x @ directions, y @ directions)


def measure(benchmark, group, row, loss, samples, rounds):
    benchmark.group = group
    benchmark.extra_info.update(row=row, bytes=sum(x.nbytes for x in samples))

    def run():
        for x in samples:
            x.grad = None
        result = loss(*samples)
        result.backward()
        return result

    return benchmark.pedantic(run, rounds=rounds, iterations=1, warmup_rounds=2)


def two_samples(rng, n, m):
    return [torch.from_numpy(rng.standard_normal((n, m), dtype=np.float32)).requires_grad_() for _ in range(2)]


def numba_1d(x, y):
    pytest.importorskip("numba")
    return fh.wasserstein_1d(x, y, kernel="numba")


SORTED_ROWS = {
    "torch.sort": sorting,
    "fasthash": fh.wasserstein_1d,
    "fasthash numba": numba_1d,
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", SORTED_ROWS)
@pytest.mark.parametrize("shape", [(16, 64), *SHAPES], ids=str)
def bench_wasserstein_1d(benchmark, shape, name, rng, scale):
    samples = two_samples(rng, scale(shape[0], 64), shape[1])
    group = f"wasserstein_1d forward and backward, {shape[0]} x {shape[1]} float32"
    loss = measure(benchmark, group, name, SORTED_ROWS[name], samples, 3 if shape[0] > 10_000 else 30)
    torch.testing.assert_close(loss, sorting(*samples), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["torch.sort", "fasthash"])
@pytest.mark.parametrize("n_projections", [1000, 10_000])
def bench_sliced_wasserstein(benchmark, n_projections, name, rng, scale):
    projections = scale(n_projections, 1000)
    distance = sorting_projections if name == "torch.sort" else fh.sliced_wasserstein
    samples = two_samples(rng, 128, 64)
    group = f"sliced distance forward and backward, 128 x 64, {n_projections:,} projections"
    loss = measure(benchmark, group, name, lambda x, y: distance(x, y, projections), samples, 5)
    torch.testing.assert_close(loss, sorting_projections(*samples, 20_000), rtol=0.2, atol=0)


LOSSES = {
    "fasthash hswd": losses.HSWD(),
    "fasthash hswd bernoulli": losses.HSWD(target="bernoulli"),
    "torch.sort (authors)": lambda u: sorting(u, torch.randn_like(u).sign()),
    "fasthash sliced, 1,000 projections": losses.SlicedWasserstein(1000),
    "fasthash optimal transport": losses.OptimalTransport(),
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n", [128, 256, 512])
def bench_losses(benchmark, n, name, rng, scale):
    samples = two_samples(rng, scale(n, 64), 64)[:1]
    group = f"the papers' distances of a batch to bits, forward and backward, {n} x 64"
    assert torch.isfinite(measure(benchmark, group, name, LOSSES[name], samples, 30))
