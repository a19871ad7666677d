"""Hamming search by the compiled core."""

from __future__ import annotations

import numpy as np
import torch

from fasthash import _core
from fasthash.errors import MAX_BITS


def hamming_distance(queries: torch.Tensor, codes: torch.Tensor, threads: int = 0, isa: str = "") -> torch.Tensor:
    """Return int32 [q, n]."""
    distances = queries.new_empty((queries.shape[0], codes.shape[0]), dtype=torch.int32)
    _core.hamming_distance(
        np.ascontiguousarray(queries.numpy()), np.ascontiguousarray(codes.numpy()), distances.numpy(), threads, isa
    )
    return distances


def hamming_topk(
    queries: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
    max_distance: int = MAX_BITS,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int32 and int64 [q, k]."""
    distances = queries.new_empty((queries.shape[0], k), dtype=torch.int32)
    ids = queries.new_empty((queries.shape[0], k), dtype=torch.int64)
    bits = None if mask is None else np.ascontiguousarray(mask.numpy())
    _core.hamming_topk(
        np.ascontiguousarray(queries.numpy()),
        np.ascontiguousarray(codes.numpy()),
        k,
        bits,
        distances.numpy(),
        ids.numpy(),
        threads,
        isa,
        max_distance,
    )
    return distances, ids


def hamming_radius(
    queries: torch.Tensor,
    codes: torch.Tensor,
    radius: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return int64 [q + 1], int32 [hits] and int64 [hits]."""
    bits = None if mask is None else np.ascontiguousarray(mask.numpy())
    offsets, distances, ids = _core.hamming_radius(
        np.ascontiguousarray(queries.numpy()), np.ascontiguousarray(codes.numpy()), radius, bits, threads, isa
    )
    return torch.from_numpy(offsets), torch.from_numpy(distances), torch.from_numpy(ids)
