"""Asymmetric search by products of matrices, the codes a chunk at a time."""

from __future__ import annotations

import torch

from fasthash.ops.asymmetric.reference import quantized
from fasthash.ops.hamming.hits import nearest_of
from fasthash.ops.hamming.op import mask_flags
from fasthash.ops.packing.op import unpacked

_CHUNK = 2**26  # numbers of a chunk's signs or sums


def asymmetric_topk(
    projections: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    bits: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 or float64 and int64 [q, k]."""
    weights, scale = quantized(projections, codes.shape[1], bits)
    (q, n_bits), n = weights.shape, len(codes)
    flags = None if mask is None else mask_flags(mask, n)
    best = torch.full((q, k), torch.inf, device=codes.device)
    ids = torch.full((q, k), -1, device=codes.device)
    step = max(1, _CHUNK // max(n_bits, q))
    for first in range(0, n, step):
        below = -weights @ unpacked(codes[first : first + step], n_bits).T  # exact in float32: integers below 2^24
        places = torch.arange(first, first + below.shape[1], device=codes.device).expand_as(below)
        if flags is not None:
            outside = ~flags[first : first + step]
            below, places = below.masked_fill(outside, torch.inf), places.masked_fill(outside, -1)
        best, ids = nearest_of([best, below], [ids, places], k)
    return (-best.to(scale) * scale[:, None]).masked_fill(ids < 0, -torch.inf), ids
