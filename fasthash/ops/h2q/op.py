"""Training of the rotations of H2Q: several runs over the same rows, each from its own start."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.ops.h2q.plan import Plan
from fasthash.ops.registry import Kernel, choose, cpu_kernels

KERNELS = {
    "reference": Kernel("fasthash.ops.h2q.reference", ("cpu", "cuda")),
    **cpu_kernels("fasthash.ops.h2q.kernel_cpu"),
    "triton": Kernel("fasthash.ops.h2q.kernel_triton", ("cuda",), package="triton"),
}

LOSSES = ("l2", "l1", "min_entry", "bit_var")
MAX_BITS_ON_GPU = 128  # up to which there is a kernel


class Trainer(Protocol):
    """The runs of a training, some epochs at a time."""

    @property
    def finished(self) -> bool:
        """Whether every run has had its epochs or lost its patience."""

    def train(self, epochs: int) -> None:
        """Train every run for up to so many epochs more."""

    def history(self, run: int) -> NDArray[np.float64]:
        """Return an epoch's objective, that on the held-out rows and the error of orthogonality, [epochs, 3]."""

    def best(self, run: int) -> NDArray[np.float32]:
        """Return v [k, k] after the epoch of the least objective on the held-out rows."""


def trainer(
    x: torch.Tensor,
    held_out: torch.Tensor,
    v: NDArray[np.float32],
    plan: Plan,
    *,
    kernel: str | None = None,
    where: str = "h2q",
) -> Trainer:
    """Return the trainer of a kernel. The order of an epoch's rows is each kernel's own; else they make the same steps.

    Args:
        x: float32 [n, k], rows of length sqrt(k); k at most `MAX_BITS_ON_GPU` on a GPU.
        held_out: float32 [n_held_out, k], where `x` is: the rows that decide which epoch is the best.
        v: float32 [runs, k, k], the vectors each run starts from.
        plan: how they are trained.
        kernel: a name from `fasthash.ops.h2q.KERNELS`; by default the best one for the device.
        where: what errors begin with.
    """
    built: Trainer = choose(KERNELS, x.device, kernel, where).function("H2QTrainer")(x, held_out, v, plan)
    return built
