"""Packing in plain torch: the specification."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from fasthash.ops.declaration import RefusedError


def refuse_nan(x: torch.Tensor) -> None:
    """Raise an error that names the first NaN of `x` [n, b], if there is one."""
    nans = torch.isnan(x).nonzero()
    if len(nans):
        row, column = nans[0].tolist()
        raise RefusedError(f"expected x without NaN, got one at row {row}, column {column}")


def nan_projection(place: int, n_bits: int) -> RefusedError:
    """Return the error for a NaN at `place`, in C order, of projections [n, n_bits]."""
    row, column = divmod(place, n_bits)
    return RefusedError(f"expected x @ projection - offset without NaN, got one at row {row}, column {column}")


def pack_bits(x: torch.Tensor) -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x` [n, b]."""
    refuse_nan(x)
    n, n_bits = x.shape
    n_bytes = (n_bits + 7) // 8
    bits = pad((x > 0).to(torch.uint8), (0, n_bytes * 8 - n_bits)).view(n, n_bytes, 8)
    weights = 2 ** torch.arange(8, dtype=torch.uint8, device=x.device)
    return (bits * weights).sum(dim=2, dtype=torch.uint8)


def pack_projections(x: torch.Tensor, projection: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x @ projection - offset`, computed in float64."""
    projections = x.double() @ projection.double()
    if offset is not None:
        projections = projections - offset.double()
    nans = torch.isnan(projections).flatten().nonzero()
    if len(nans):
        raise nan_projection(int(nans[0]), projection.shape[1])
    return pack_bits(projections)
