"""The losses that keep codes of the training set: their discrete step and a batch's step, beside the plain formulas."""

from __future__ import annotations

import pytest
import torch

from fasthash.losses import ADSH, DSDH
from fasthash.losses.base import share_label

SIZES = [(5_000, 64, 10), (10_000, 16, 80), (10_000, 64, 80)]  # items, bits, classes
BATCH = 128


def trained(method, n, m, c):
    """A loss whose outputs lie around one centre a class."""
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(0, c, (n,), generator=g)
    loss = method(labels, m, c)
    loss.outputs.copy_(2 * torch.randn(c, m, generator=g)[labels] + torch.randn(n, m, generator=g))
    return loss


def textbook(codes, y, w, weight, u, n_sweeps, anew):
    """Cyclic descent in all its sweeps, with the products computed once, or as the textbook has it for every bit."""
    codes, p, gram = codes.clone(), y @ w.T + weight * u, w @ w.T
    for _ in range(n_sweeps):
        for bit in range(codes.shape[1]):
            rest = torch.arange(codes.shape[1]) != bit
            if anew:
                p = y @ w.T + weight * u
                x = p[:, bit] - codes[:, rest] @ w[rest] @ w[bit]
            else:
                x = p[:, bit] - codes[:, rest] @ gram[rest, bit]
            codes[:, bit] = torch.where(x == 0, codes[:, bit], x.sign())
    return codes


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "name", ["fasthash, its W step included", "torch, products once", "torch, products anew for every bit"]
)
@pytest.mark.parametrize(("n", "m", "c"), SIZES)
def bench_discrete_step(benchmark, n, m, c, name, scale):
    loss = trained(DSDH, scale(n, 200), m, c)
    start, y = loss.codes.clone(), torch.nn.functional.one_hot(loss.labels, c).float()
    loss.end_epoch()
    found = loss.codes.clone()

    def ours():
        loss.codes.copy_(start)
        loss.end_epoch()
        return loss.codes

    def plain():
        weight, anew = loss.eta / loss.mu, "anew" in name
        return textbook(start, y, loss.classifier, weight, loss.outputs, loss.n_sweeps, anew)

    benchmark.group = f"discrete step of DSDH, {n:,} items, {m} bits, {c} classes, at most 10 sweeps"
    benchmark.extra_info.update(row=name, bytes=loss.codes.nbytes)
    step = ours if name.startswith("fasthash") else plain
    codes = benchmark.pedantic(step, rounds=scale(3, 1), iterations=1, warmup_rounds=scale(1, 0))
    assert (codes == found).float().mean() > 0.9999  # single precision may round a near tie either way


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["fasthash", "torch, batch x training set"])
@pytest.mark.parametrize("m", [16, 64])
def bench_adsh_step(benchmark, m, name, scale):
    n = scale(50_000, 500)
    loss = trained(ADSH, n, m, 10).eval()
    rows = torch.arange(BATCH)
    labels = loss.labels[rows]
    u = torch.randn(BATCH, m, generator=torch.Generator().manual_seed(1), requires_grad=True)

    def ours():
        u.grad = None
        value = loss(u, labels, rows)
        value.backward()
        return value

    def plain():
        u.grad = None
        h = u.tanh()
        wanted = torch.where(share_label(labels, loss.labels), 1.0, -loss.ratio)
        squares = (h @ loss.codes.T - m * wanted).square().sum()
        value = (squares + loss.gamma * (h - loss.codes[rows]).square().sum()) / (n * BATCH)
        value.backward()
        return value

    expected = plain().item()
    benchmark.group = f"ADSH forward and backward, a batch of {BATCH} against 50,000 items, {m} bits"
    benchmark.extra_info.update(row=name, bytes=loss.codes.nbytes)
    step = ours if name == "fasthash" else plain
    value = benchmark.pedantic(step, rounds=scale(20, 1), iterations=1, warmup_rounds=scale(2, 0))
    assert value.item() == pytest.approx(expected, rel=1e-4)
