"""Asymmetric search in plain torch: the specification. Takes memory for every score at once."""

from __future__ import annotations

import torch

from fasthash.ops.asymmetric.quantization import quantized
from fasthash.ops.hamming.op import mask_flags
from fasthash.ops.packing.op import unpacked


def asymmetric_topk(
    projections: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    bits: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 or float64 and int64 [q, k] by a stable sort of all sums."""
    queries = quantized(projections, codes.shape[1], bits)
    n = codes.shape[0]
    flags = torch.ones(n, dtype=torch.bool, device=codes.device) if mask is None else mask_flags(mask, n)
    eligible = flags.nonzero()[:, 0]
    signs = unpacked(codes[eligible], queries.weights.shape[1])
    sums = queries.weights.to(signs) @ signs.T  # exact in float32: integers below 2^24
    ordered, positions = sums.sort(dim=1, stable=True, descending=True)
    ids = torch.nn.functional.pad(eligible[positions[:, :k]], (0, k - min(k, len(eligible))), value=-1)
    best = torch.nn.functional.pad(ordered[:, :k], (0, k - min(k, len(eligible))))
    scores = best.to(queries.scale) * queries.scale[:, None]
    return scores.masked_fill(ids < 0, -torch.inf), ids
