"""Asymmetric search by products of matrices, the codes a chunk at a time."""

from __future__ import annotations

import torch

from fasthash.ops.asymmetric.quantization import quantized
from fasthash.ops.hamming.hits import NO_DISTANCE, nearest_of
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
    queries = quantized(projections, codes.shape[1], bits)
    n_bits, n = queries.weights.shape[1], len(codes)
    weights = queries.weights.float()
    totals = weights.abs().sum(1, keepdim=True)
    flags = None if mask is None else mask_flags(mask, n)
    distances = torch.full((len(weights), k), NO_DISTANCE, dtype=torch.int32, device=codes.device)
    ids = torch.full((len(weights), k), -1, device=codes.device)
    step = max(1, _CHUNK // max(n_bits, len(weights)))
    for first in range(0, n, step):
        signs = unpacked(codes[first : first + step], n_bits)
        found = ((totals - weights @ signs.T) / 2).to(torch.int32)  # exact in float32: integers below 2^24
        places = torch.arange(first, first + len(signs), device=codes.device).expand_as(found)
        if flags is not None:
            outside = ~flags[first : first + step]
            found, places = found.masked_fill(outside, NO_DISTANCE), places.masked_fill(outside, -1)
        distances, ids = nearest_of([distances, found], [ids, places], k)
    return queries.scores(distances, ids), ids
