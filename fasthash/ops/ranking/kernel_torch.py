"""Counting by torch's histograms, on any device, some queries at a time."""

from __future__ import annotations

import torch

from fasthash.ops.hamming.op import distance_op
from fasthash.ops.ranking.reference import relevance

DISTANCES_AT_ONCE = 1 << 24


def distance_counts(
    queries: torch.Tensor, codes: torch.Tensor, query_labels: torch.Tensor, labels: torch.Tensor, threads: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 [q, n_bits + 1], the items at each distance and the relevant ones among them."""
    bins = codes.shape[1] * 8 + 1
    totals = torch.empty((queries.shape[0], bins), dtype=torch.int64, device=codes.device)
    relevants = torch.empty_like(totals)
    step = max(1, DISTANCES_AT_ONCE // max(1, codes.shape[0]))
    for first in range(0, queries.shape[0], step):
        part = slice(first, first + step)
        distances, relevant = distance_op(queries[part], codes, threads), relevance(query_labels[part], labels)
        n = distances.shape[0]
        bin_of = (distances + torch.arange(n, device=distances.device)[:, None] * bins).flatten()
        totals[part] = torch.bincount(bin_of, minlength=n * bins).view(n, bins)
        weights = relevant.flatten().double()  # exact: a count is below 2^53
        relevants[part] = torch.bincount(bin_of, weights, n * bins).view(n, bins).long()
    return totals, relevants
