from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def scale(benchmark):
    """Shrinks the work where the benchmarks only run as tests."""
    return (lambda full, small: full) if benchmark.enabled else (lambda full, small: small)


def runnable(kernels, *left_out):
    """The kernels of a room that this machine can run on a CPU, by name; "cpu" is one of its levels and left out."""
    return {
        name: kernel
        for name, kernel in kernels.items()
        if "cpu" in kernel.devices and not kernel.missing() and name not in ("cpu", *left_out)
    }
