"""The squares of rows on one thread, beside torch's way."""

from __future__ import annotations

import pytest
import torch
from fasthash.ops.ROOM import KERNELS

from .conftest import runnable

WAYS = {"torch": lambda x: x.square().sum(1)}
WAYS |= {name: kernel.function("ROOM") for name, kernel in runnable(KERNELS).items()}


@pytest.mark.parametrize("way", WAYS)
def bench_ROOM(benchmark, way, one_thread, scale):
    x = torch.randn(scale(100_000, 100), 64)
    benchmark.group = f"{len(x)} rows of 64"
    y = benchmark(WAYS[way], x)
    torch.testing.assert_close(y, x.square().sum(1))
