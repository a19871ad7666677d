"""Asymmetric search by the compiled core."""

from __future__ import annotations

import numpy as np
import torch

from fasthash import _core
from fasthash.ops.asymmetric.quantization import quantized


def asymmetric_topk(
    projections: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    bits: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 or float64 and int64 [q, k]."""
    queries = quantized(projections, codes.shape[1], bits)
    distances = codes.new_empty((len(projections), k), dtype=torch.int32)
    ids = codes.new_empty((len(projections), k), dtype=torch.int64)
    flags = None if mask is None else np.ascontiguousarray(mask.numpy())
    rows = np.ascontiguousarray(codes.numpy())
    _core.asymmetric_topk(queries.weights.numpy(), rows, k, flags, distances.numpy(), ids.numpy(), threads, isa)
    return queries.scores(distances, ids), ids
