"""Counting in plain torch: the specification. Takes memory for every distance at once."""

from __future__ import annotations

import torch

from fasthash.ops.hamming.reference import hamming_distance


def relevance(query_labels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return which items are relevant, bool [q, n]: those of the query's class, or that share a label with it."""
    if labels.ndim == 1:
        return query_labels[:, None] == labels
    return query_labels.float() @ labels.float().T > 0


def distance_counts(
    queries: torch.Tensor, codes: torch.Tensor, query_labels: torch.Tensor, labels: torch.Tensor, threads: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 [q, n_bits + 1], the items at each distance and the relevant ones among them."""
    distances, relevant = hamming_distance(queries, codes), relevance(query_labels, labels)
    at = [distances == distance for distance in range(codes.shape[1] * 8 + 1)]
    totals = torch.stack([items.sum(dim=1) for items in at], dim=1)
    return totals, torch.stack([(items & relevant).sum(dim=1) for items in at], dim=1)
