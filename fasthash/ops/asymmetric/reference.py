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
    factors: torch.Tensor | None = None,
    offsets: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 or float64 and int64 [q, k] by a stable sort of all sums, or scores."""
    weights, scale = quantized(projections, codes.shape[1], bits)
    check_factors(factors, offsets)
    n = codes.shape[0]
    flags = torch.ones(n, dtype=torch.bool, device=codes.device) if mask is None else mask_flags(mask, n)
    eligible = flags.nonzero()[:, 0]
    sums = weights @ unpacked(codes[eligible], weights.shape[1]).T  # exact in float32: integers below 2^24
    if factors is None and offsets is None:
        ordered, positions = sums.sort(dim=1, stable=True, descending=True)
        scores = ordered[:, :k].to(scale) * scale[:, None]
    else:
        given = (None if x is None else x[eligible] for x in (factors, offsets))
        ordered, positions = factored(sums, scale, *given).sort(dim=1, stable=True, descending=True)
        scores = ordered[:, :k]
    missing = (0, k - min(k, len(eligible)))
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


def factored(
    sums: torch.Tensor, scale: torch.Tensor, factors: torch.Tensor | None, offsets: torch.Tensor | None
) -> torch.Tensor:
    """Return the scores of sums [q, n] of queries of scales [q], by the codes' factors and offsets [n] if any."""
    scores = sums.to(scale) * scale[:, None]
    if factors is not None:
        scores = scores * factors
    if offsets is not None:
        scores = scores + offsets
    return scores.masked_fill(scores.isnan(), -torch.inf)  # infinity times 0


def check_factors(factors: torch.Tensor | None, offsets: torch.Tensor | None) -> None:
    """Raise unless all are finite."""
    for name, x in (("factors", factors), ("offsets", offsets)):
        if x is not None and not bool(x.isfinite().all()):
            place = int((~x.isfinite()).nonzero()[0])
            raise RefusedError(f"expected {name} to be finite, got {x[place].item()} at {place}")


def not_finite(x: torch.Tensor, place: int) -> RefusedError:
    """Return the error for the element of projections at a place, counted row by row."""
    row, column = divmod(place, x.shape[1])
    return RefusedError(f"expected projections to be finite, got {x[row, column].item()} in row {row}, column {column}")
