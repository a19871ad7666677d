"""Asymmetric search in plain torch: the specification. Takes memory for every score at once."""

from __future__ import annotations

import torch

from fasthash.ops.declaration import RefusedError
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
    weights, scale = quantized(projections, codes.shape[1], bits)
    n = codes.shape[0]
    flags = torch.ones(n, dtype=torch.bool, device=codes.device) if mask is None else mask_flags(mask, n)
    eligible = flags.nonzero()[:, 0]
    sums = weights @ unpacked(codes[eligible], weights.shape[1]).T  # exact in float32: integers below 2^24
    ordered, positions = sums.sort(dim=1, stable=True, descending=True)
    missing = (0, k - min(k, len(eligible)))
    scores = ordered[:, :k].to(scale) * scale[:, None]
    pad = torch.nn.functional.pad
    return pad(scores, missing, value=-torch.inf), pad(eligible[positions[:, :k]], missing, value=-1)


def quantized(projections: torch.Tensor, n_bytes: int, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return queries as integers, float32 [q, 8 * n_bytes] and 0 at spare bits, and their scales [q]."""
    x = projections.to(torch.promote_types(projections.dtype, torch.float32))
    if not bool(x.isfinite().all()):
        raise not_finite(x, int((~x.isfinite()).flatten().nonzero()[0]))
    largest, levels = x.abs().amax(1), max(1, 2 ** (bits - 1) - 1)
    if bits == 1:
        weights = (x > 0).float() * 2 - 1
    else:
        weights = (x / largest.masked_fill(largest == 0, 1)[:, None] * levels).round().float()
    return torch.nn.functional.pad(weights, (0, 8 * n_bytes - x.shape[1])), largest / levels


def not_finite(x: torch.Tensor, place: int) -> RefusedError:
    """Return the error for the element of projections at a place, counted row by row."""
    row, column = divmod(place, x.shape[1])
    return RefusedError(f"expected projections to be finite, got {x[row, column].item()} in row {row}, column {column}")
