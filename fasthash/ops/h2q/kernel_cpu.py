"""Training by the compiled core, a run a thread."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash import _core
from fasthash.ops.h2q.plan import Plan


def H2QTrainer(  # noqa: N802  # as the classes of the other kernels are called
    x: torch.Tensor, held_out: torch.Tensor, v: NDArray[np.float32], plan: Plan, isa: str = ""
) -> _core.H2QTrainer:
    """Return the core's trainer, which keeps the rows alive; see `fasthash.ops.h2q.op.trainer`."""
    return _core.H2QTrainer(x.contiguous().numpy(), held_out.contiguous().numpy(), v, *plan, isa)
