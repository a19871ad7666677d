"""The hashers, and what H2Q learns from."""

from __future__ import annotations

import inspect

import pytest
import torch

from fasthash import _core, hashers
from fasthash.ops.h2q import KERNELS, Plan
from tests.conftest import DEVICE, runnable

HASHERS = list(hashers.HASHERS.values())
SEEDED = [hasher for hasher in HASHERS if "random_state" in inspect.signature(hasher).parameters]
LOSSES = ("l2", "l1", "min_entry", "bit_var")
TRITON = runnable({"triton": KERNELS["triton"]})
TRAINERS = ["", *TRITON]


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """By default, of what is trained for seconds; tests of what the training is good for name their steps."""
    monkeypatch.setitem(hashers.NeighborHashing.__init__.__kwdefaults__, "n_iterations", 5)


def objective(z, loss):
    """The four objectives of rotated rows, as the paper writes them."""
    d = z - torch.where(z > 0, 1.0, -1.0).to(z)
    return {
        "l2": lambda: d.square().mean(),
        "l1": lambda: d.abs().mean(),
        "min_entry": lambda: torch.logsumexp(-z.square(), dim=1).mean(),
        "bit_var": lambda: (torch.sigmoid(z) * (1 - torch.sigmoid(z))).mean(),
    }[loss]()


def scaled(x):
    """Rows of length sqrt(k)."""
    return x / x.norm(dim=1, keepdim=True) * x.shape[1] ** 0.5


def clustered(n, k, seed=0):
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(20, k, generator=g)
    return centres[torch.randint(0, 20, (n,), generator=g)] + 0.8 * torch.randn(n, k, generator=g)


def trainer(x, v, *, held_out=None, rate=0.1, epochs=1, batch=None, patience=0, kernel="", seed=0, **settings):
    """A trainer of the compiled core's level of that name, or of a GPU's."""
    options = {"loss": "l2", "optimizer": "sgd", "cosine": False, "renormalize": False} | settings
    held_out = x if held_out is None else held_out
    options |= {"rate": rate, "epochs": epochs, "patience": patience, "seed": seed}
    options["batch_size"] = len(x) if batch is None else batch
    if isinstance(kernel, str):
        return _core.H2QTrainer(x, held_out, v, **options, isa=kernel)
    rows = (torch.from_numpy(array).to(DEVICE) for array in (x, held_out))
    return kernel.function("H2QTrainer")(*rows, v, Plan(**options))
