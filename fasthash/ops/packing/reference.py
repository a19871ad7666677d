"""Packing in plain torch: the specification."""

from __future__ import annotations

import torch
from torch.nn.functional import pad


def refuse_nan(x: torch.Tensor) -> None:
    """Raise a ValueError that names the first NaN of `x` [n, b], if there is one."""
    nans = torch.isnan(x).nonzero()
    if len(nans):
        row, column = nans[0].tolist()
        raise ValueError(f"pack_bits: expected x without NaN, got one at row {row}, column {column}")


def pack_bits(x: torch.Tensor) -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x` [n, b]."""
    refuse_nan(x)
    n, n_bits = x.shape
    n_bytes = (n_bits + 7) // 8
    bits = pad((x > 0).to(torch.uint8), (0, n_bytes * 8 - n_bits)).view(n, n_bytes, 8)
    weights = 2 ** torch.arange(8, dtype=torch.uint8, device=x.device)
    return (bits * weights).sum(dim=2, dtype=torch.uint8)
