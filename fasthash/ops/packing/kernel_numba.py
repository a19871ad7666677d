"""Packing by numba: the portable CPU kernel."""

from __future__ import annotations

import numba
import numpy as np
import torch

from fasthash.ops.packing.reference import nan_projection, refuse_nan


@numba.njit(cache=True, nogil=True)
def _pack(x, codes):
    nan = False
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            value = x[row, i]
            if value > 0:
                codes[row, i >> 3] |= np.uint8(1 << (i & 7))
            nan |= value != value
    return nan


def pack_bits(x: torch.Tensor) -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x` [n, b]."""
    codes = torch.zeros((x.shape[0], (x.shape[1] + 7) // 8), dtype=torch.uint8, device="cpu")
    wide = x.detach().float() if x.dtype in (torch.bfloat16, torch.float16) else x.detach()
    if _pack(wide.numpy(), codes.numpy()):
        refuse_nan(x)
    return codes


@numba.njit(cache=True, nogil=True)
def _project(x, projection, offset, codes):
    d, n_bits = projection.shape
    projections = np.empty_like(offset)
    place = -1
    for row in range(x.shape[0]):
        projections[:] = 0
        for i in range(d):
            for j in range(n_bits):
                projections[j] += x[row, i] * projection[i, j]
        for j in range(n_bits):
            value = projections[j] - offset[j]
            if value > 0:
                codes[row, j >> 3] |= np.uint8(1 << (j & 7))
            if value != value and place < 0:
                place = row * n_bits + j
    return place


def pack_projections(x: torch.Tensor, projection: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x @ projection - offset` in the dtype of `projection`."""
    n_bits = projection.shape[1]
    codes = torch.zeros((x.shape[0], (n_bits + 7) // 8), dtype=torch.uint8, device="cpu")
    thresholds = projection.new_zeros(n_bits) if offset is None else offset
    wide, hyperplanes = x.detach().to(projection.dtype), projection.detach().contiguous()
    place = _project(wide.numpy(), hyperplanes.numpy(), thresholds.detach().contiguous().numpy(), codes.numpy())
    if place >= 0:
        raise nan_projection(place, n_bits)
    return codes
