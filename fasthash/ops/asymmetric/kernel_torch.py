"""Asymmetric search by products of matrices, the codes a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fasthash.ops.asymmetric.reference import check_factors, factored, quantized
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
    factors: torch.Tensor | None = None,
    offsets: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 or float64 and int64 [q, k]."""
    weights, scale = quantized(projections, codes.shape[1], bits)
    check_factors(factors, offsets)
    if factors is None and offsets is None:
        below, ids = least_products(-weights, codes, k, mask)
        return (-below.to(scale) * scale[:, None]).masked_fill(ids < 0, -torch.inf), ids

    def negative(sums: torch.Tensor, rows: slice) -> torch.Tensor:
        return -factored(sums, scale, *(None if x is None else x[rows] for x in (factors, offsets)))

    below, ids = least_products(weights, codes, k, mask, negative)
    return (-below.to(scale)).masked_fill(ids < 0, -torch.inf), ids


def least_products(
    weights: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    mask: torch.Tensor | None,
    cost: Callable[[torch.Tensor, slice], torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k least sums of weights, integers of at most 8 bits float32 [q, n_bits], with codes' signs, and ids.

    They are floats and int64 [q, k]; infinity and -1 where there are no more. With a function of the sums of some of
    the codes, and which these are, the least are of what it returns.
    """
    (q, n_bits), n = weights.shape, len(codes)
    flags = None if mask is None else mask_flags(mask, n)
    best = torch.full((q, k), torch.inf, dtype=torch.float32, device=codes.device)
    ids = torch.full((q, k), -1, device=codes.device)
    step = max(1, _CHUNK // max(n_bits, q))
    for first in range(0, n, step):
        rows = slice(first, min(n, first + step))
        below = weights @ unpacked(codes[rows], n_bits).T  # exact in float32: integers below 2^24
        if cost is not None:
            below = cost(below, rows)
        places = torch.arange(rows.start, rows.stop, device=codes.device).expand_as(below)
        if flags is not None:
            outside = ~flags[rows]
            below, places = below.masked_fill(outside, torch.inf), places.masked_fill(outside, -1)
        best, ids = nearest_of([best, below], [ids, places], k)
    return best, ids
