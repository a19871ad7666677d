"""Asymmetric search by the compiled core."""

from __future__ import annotations

import numpy as np
import torch

from fasthash import _core
from fasthash.ops.asymmetric.reference import check_factors, not_finite


def asymmetric_topk(
    projections: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    bits: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
    factors: torch.Tensor | None = None,
    offsets: torch.Tensor | None = None,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 or float64 and int64 [q, k]."""
    x = projections.detach().to(torch.promote_types(projections.dtype, torch.float32))
    scores, ids = x.new_empty((len(x), k)), x.new_empty((len(x), k), dtype=torch.int64)
    queries, rows = np.ascontiguousarray(x.numpy()), np.ascontiguousarray(codes.numpy())
    check_factors(factors, offsets)
    eligible, of_codes, added = (
        None if y is None else np.ascontiguousarray(y.numpy()) for y in (mask, factors, offsets)
    )
    place = _core.asymmetric_topk(
        queries, rows, k, bits, eligible, of_codes, added, scores.numpy(), ids.numpy(), threads, isa
    )
    if place >= 0:
        raise not_finite(x, place)
    return scores, ids
