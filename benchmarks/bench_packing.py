"""Packing float32 embeddings, every kernel beside NumPy, in bytes read a second."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.ops.packing import KERNELS

from .conftest import runnable


@pytest.fixture
def x(rng, scale, benchmark):
    x = rng.standard_normal((scale(10**6, 1000), 64), dtype=np.float32)
    benchmark.group = f"pack float32 {list(x.shape)}"
    benchmark.extra_info.update(bytes=x.nbytes)
    return x


@pytest.mark.parametrize("kernel", runnable(KERNELS, "reference"))
def bench_pack(benchmark, x, kernel):
    codes = benchmark(kernel.function("pack_bits"), torch.from_numpy(x))
    np.testing.assert_array_equal(codes.numpy(), np.packbits(x > 0, axis=1, bitorder="little"))


def bench_pack_numpy(benchmark, x):
    codes = benchmark(lambda: np.packbits(x > 0, axis=1, bitorder="little"))
    assert codes.shape == (len(x), 8)


def bench_read(benchmark, x):
    """The floor: one read of the same bytes."""
    words = x.view(np.int64)
    assert benchmark(words.max) == words.max()
