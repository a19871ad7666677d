"""Seconds an epoch by quantisation term ("One Loss for Quantization", table 3), and the term's part of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.losses import CSQ, HSWD, SlicedWasserstein
from fasthash.recipes.networks import HashingNetwork

N_BITS, N_CLASSES, BATCH, STEPS = 64, 10, 128, 39  # an epoch of 5,000 images


def projections(n):
    loss = CSQ(N_BITS, N_CLASSES, quantization="swd")
    loss.quantizer = SlicedWasserstein(n)
    return loss


LOSSES = {
    "none": lambda: CSQ(N_BITS, N_CLASSES, quantization="none"),
    "original": lambda: CSQ(N_BITS, N_CLASSES),
    "sliced, 1,000 projections": lambda: projections(1000),
    "sliced, 10,000 projections": lambda: projections(10_000),
    "fasthash hswd": lambda: CSQ(N_BITS, N_CLASSES, quantization="hswd"),
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", LOSSES)
def bench_epoch(benchmark, name, rng, scale):
    images = torch.from_numpy(rng.integers(0, 256, (BATCH, 32, 32, 3), dtype=np.uint8))
    labels = torch.from_numpy(rng.integers(0, N_CLASSES, BATCH))
    torch.manual_seed(0)
    network, loss = HashingNetwork("cnn", (32, 32, 3), N_BITS), LOSSES[name]()
    optimizer = torch.optim.Adam(network.parameters())
    benchmark.group = "an epoch of CSQ, small network, 39 batches of 128 images of 32 x 32, 64 bits"
    benchmark.extra_info.update(row=name, bytes=STEPS * images.nbytes)

    losses = []

    def epoch():
        for _ in range(scale(STEPS, 2)):
            value = loss(network(images), labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item())

    benchmark.pedantic(epoch, rounds=3, iterations=1, warmup_rounds=1)
    assert losses[-1] < losses[0]


TERMS = {
    "original": lambda: CSQ(N_BITS, N_CLASSES).quantizer,
    "sliced, 1,000 projections": lambda: SlicedWasserstein(1000),
    "sliced, 10,000 projections": lambda: SlicedWasserstein(10_000),
    "fasthash hswd": HSWD,
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", TERMS)
def bench_quantization_term(benchmark, name, rng, scale):
    u = torch.from_numpy(rng.standard_normal((BATCH, N_BITS), dtype=np.float32)).requires_grad_()
    term = TERMS[name]()
    benchmark.group = "the quantisation term of those 39 batches, forward and backward"
    benchmark.extra_info.update(row=name, bytes=STEPS * u.nbytes)

    def epoch():
        for _ in range(scale(STEPS, 2)):
            u.grad = None
            value = term(u)
            value.backward()
        return value

    assert benchmark.pedantic(epoch, rounds=5, iterations=1, warmup_rounds=1) > 0
