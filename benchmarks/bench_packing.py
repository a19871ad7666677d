"""Packing float32 embeddings, every kernel beside NumPy and one read of the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.ops.packing import KERNELS

from .conftest import runnable
from .floors import read


def numpy_pack(x):
    return np.packbits(x > 0, axis=1, bitorder="little")


def kernel_pack(kernel):
    pack = kernel.function("pack_bits")
    return lambda x: pack(torch.from_numpy(x)).numpy()


ROWS = {f"fasthash {name}": kernel_pack(kernel) for name, kernel in runnable(KERNELS).items()} | {"numpy": numpy_pack}


@pytest.fixture
def x(rng, scale):
    return rng.standard_normal((scale(10**6, 1000), 64), dtype=np.float32)


def measure(benchmark, name, function):
    benchmark.group = "pack 1e6 x 64 float32"
    benchmark.extra_info.update(row=name, bytes=10**6 * 64 * 4)
    return benchmark.pedantic(function, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("name", ROWS)
def bench_pack(benchmark, x, name):
    np.testing.assert_array_equal(measure(benchmark, name, lambda: ROWS[name](x)), numpy_pack(x))


def bench_floor_read(benchmark, x):
    measure(benchmark, "floor read", lambda: read(x.view(np.uint8), 1))
