from __future__ import annotations

import numpy as np
import pytest
import torch


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def scale(benchmark):
    """Shrinks the work where the benchmarks only run as tests."""
    return (lambda full, small: full) if benchmark.enabled else (lambda full, small: small)


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setenv("FASTHASH_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def runnable(kernels, *left_out):
    """The kernels of a room that this machine can run on a CPU, by name; "cpu" is one of its levels and left out."""
    return {
        name: kernel
        for name, kernel in kernels.items()
        if "cpu" in kernel.devices and not kernel.missing() and name not in ("cpu", *left_out)
    }
