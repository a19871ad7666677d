from __future__ import annotations

import os
import random
import re
import signal
import warnings

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported: the workers fill the processors

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is first imported

import numpy as np
import pytest
from hypothesis import settings
from sklearn.datasets import load_digits

from fasthash.ops.hamming import KERNELS

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in its background ignores interrupts

settings.register_profile("fasthash", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("fasthash")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def as_many_threads_as_before():
    """More of torch's, left by a test, would wait for each other in all that follow."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def poisoned_memory():
    """Fill what torch.empty returns with NaN or the largest integer, so that a cell a kernel forgot shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    return pixels.astype(np.float32), labels


def runnable(kernels):
    """Parameters for every kernel of a room, those that this machine cannot run marked as skipped."""
    return [pytest.param(kernel, id=name, marks=marks(kernel)) for name, kernel in kernels.items()]


def runnable_names(kernels, *names):
    """Parameters for the kernels of these names, None for the default one."""
    return [pytest.param(name, marks=marks(kernels[name]) if name else []) for name in names]


def marks(kernel):
    """Skip what this machine cannot run; slow is what is interpreted, or compiled when it is first called."""
    skip = pytest.mark.skipif(bool(kernel.missing()), reason=str(kernel.missing()))
    return [skip, pytest.mark.slow] if kernel.package in ("triton", "numba") else [skip]


def opcheck(*arguments):
    """torch.library.opcheck, whose own look at gradients warns in torch 2.14."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
        torch.library.opcheck(*arguments)


def named(value):
    """A parameter's name in every process: functions without where they lie."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def on_kernel_device(kernel, *tensors):
    """Move tensors to where a kernel takes them; Triton's interpreter takes them on the CPU."""
    device = DEVICE if kernel.devices == ("cuda",) else "cpu"
    return tuple(x if x is None else x.to(device) for x in tensors)


def small_hamming_blocks(monkeypatch, ratio=4, from_queries=3):
    """Let the Hamming kernels take products from some queries on, and blocks that Triton's interpreter gets through."""
    if KERNELS["triton"].missing():
        return
    from fasthash.ops.hamming import kernel_triton, kernel_triton_count

    widths = kernel_triton.TUNING["default"]
    if os.environ.get("TRITON_INTERPRET"):
        monkeypatch.setattr(kernel_triton_count, "BLOCK", 128)
        monkeypatch.setattr(kernel_triton_count, "BLOCKS_PER_CHUNK", 2)
        block = {"BLOCK": 128, "num_warps": 4}
        blocks = {"FEW": block, "MANY": {**block, "BLOCK": 64}, "FEW_QUERIES": 2, "PROGRAMS": 4, "RESIDENT": 2}
        for name, value in blocks.items():
            monkeypatch.setattr(kernel_triton, name, value)
        scan = {"tile": 128, "queries": 2, "warps": 4, "ratio": ratio}
        product = {"queries": 4, "codes": 64, "depth": 64, "warps": 4, "stages": 2, "ratio": ratio}
        widths = [{"up_to_bits": 4096, "scan": scan, "product": product}]
    widths = [{**width, "product": {**width["product"], "from_queries": from_queries}} for width in widths]
    monkeypatch.setattr(kernel_triton, "TUNING", {"default": widths})


def damaged(content, n, seed=0):
    """Yield n other contents: bits turned, bytes zeroed or drawn anew, put in, taken out, cut off; more near an end."""
    rng = random.Random(seed)
    while n:
        changed = content
        for _ in range(rng.choice((1, 1, 1, 2))):
            start = rng.randrange(min(len(changed), rng.choice((64, 600, len(content))))) if changed else 0
            start = rng.choice((start, len(changed) - start))
            end = start + rng.choice((1, 8, 40, 2000))
            old = changed[start:end]
            new = rng.choice(
                (
                    bytes(byte ^ 1 << rng.randrange(8) for byte in old[:1]) + old[1:],
                    bytes(len(old)),
                    rng.randbytes(len(old)),
                    rng.randbytes(rng.randrange(1, 9)) + old,
                    b"",
                )
            )
            changed = changed[:start] + new + (b"" if rng.random() < 0.1 else changed[end:])
        if changed != content:
            n -= 1
            yield changed
