"""In plain torch: the specification."""

from __future__ import annotations

import torch


def ROOM(x: torch.Tensor) -> torch.Tensor:
    """Return [n], the sum of the squares of each row of `x` [n, m]."""
    return x.square().sum(dim=1)
