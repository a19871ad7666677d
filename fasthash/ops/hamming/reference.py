"""Hamming search in plain torch: the specification. Takes memory for every distance at once."""

from __future__ import annotations

import torch

from fasthash.errors import MAX_BITS
from fasthash.ops.hamming.hits import not_farther
from fasthash.ops.packing.op import unpacked


def hamming_distance(queries: torch.Tensor, codes: torch.Tensor, threads: int = 0) -> torch.Tensor:
    """Return int32 [q, n]: with bits as -1 / +1, the distance is (n_bits - inner product) / 2."""
    n_bits = codes.shape[1] * 8
    inner = unpacked(queries, n_bits) @ unpacked(codes, n_bits).T  # exact in float32: integers below 2^24
    return ((n_bits - inner) / 2).to(torch.int32)


def hamming_topk(
    queries: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
    max_distance: int = MAX_BITS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int32 and int64 [q, k] by a stable sort of all distances."""
    distances, eligible = _eligible_distances(queries, codes, mask)
    ordered, positions = distances.sort(dim=1, stable=True)
    q, n_hits = queries.shape[0], min(k, eligible.shape[0])
    out_distances = torch.full((q, k), 2**31 - 1, dtype=torch.int32, device=queries.device)
    out_ids = torch.full((q, k), -1, dtype=torch.int64, device=queries.device)
    out_distances[:, :n_hits] = ordered[:, :n_hits]
    out_ids[:, :n_hits] = eligible[positions[:, :n_hits]]
    return not_farther((out_distances, out_ids), max_distance)


def hamming_radius(
    queries: torch.Tensor, codes: torch.Tensor, radius: int, mask: torch.Tensor | None = None, threads: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return int64 [q + 1], int32 [hits] and int64 [hits] by a stable sort of all distances."""
    distances, eligible = _eligible_distances(queries, codes, mask)
    ordered, positions = distances.sort(dim=1, stable=True)
    within = ordered <= radius
    offsets = torch.zeros(queries.shape[0] + 1, dtype=torch.int64, device=queries.device)
    offsets[1:] = within.sum(dim=1).cumsum(0)
    return offsets, ordered[within], eligible[positions[within]]


def _eligible_distances(
    queries: torch.Tensor, codes: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distances [q, e] to the eligible codes and their ids int64 [e]."""
    n = codes.shape[0]
    if mask is None:
        eligible = torch.arange(n, device=codes.device)
    else:
        positions = torch.arange(8, dtype=torch.uint8, device=mask.device)
        eligible = ((mask[:, None] >> positions) & 1).flatten()[:n].nonzero()[:, 0]
    return hamming_distance(queries, codes[eligible]), eligible
