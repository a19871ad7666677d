"""Packing by numba: the portable CPU kernel."""

from __future__ import annotations

import numba
import numpy as np
import torch

from fasthash.ops.packing.reference import refuse_nan


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
    codes = torch.zeros((x.shape[0], (x.shape[1] + 7) // 8), dtype=torch.uint8)
    wide = x.detach().float() if x.dtype in (torch.bfloat16, torch.float16) else x.detach()
    if _pack(wide.numpy(), codes.numpy()):
        refuse_nan(x)
    return codes
