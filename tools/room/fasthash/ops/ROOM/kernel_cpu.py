"""By the compiled core."""

from __future__ import annotations

import torch

from fasthash import _core


def ROOM(x: torch.Tensor, isa: str = "") -> torch.Tensor:
    """Return [n], the sum of the squares of each row of `x` [n, m], of float32 or float64."""
    out = x.new_empty(x.shape[0])
    _core.ROOM(x.detach().contiguous().numpy(), out.numpy(), 0, isa)
    return out
