"""Counting by torch's histograms and ranking by its sorts, on any device, some queries at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fasthash.ops.hamming.op import distance_op
from fasthash.ops.ranking import reference
from fasthash.ops.ranking.reference import relevance

DISTANCES_AT_ONCE = 1 << 24


def distance_counts(
    queries: torch.Tensor, codes: torch.Tensor, query_labels: torch.Tensor, labels: torch.Tensor, threads: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 [q, n_bits + 1], the items at each distance and the relevant ones among them."""
    bins = codes.shape[1] * 8 + 1
    totals = torch.empty((queries.shape[0], bins), dtype=torch.int64, device=codes.device)
    relevants = torch.empty_like(totals)
    for part in _parts(queries.shape[0], codes.shape[0]):
        distances, relevant = distance_op(queries[part], codes, threads), relevance(query_labels[part], labels)
        n = distances.shape[0]
        bin_of = (distances + torch.arange(n, device=distances.device)[:, None] * bins).flatten()
        totals[part] = torch.bincount(bin_of, minlength=n * bins).view(n, bins)
        weights = relevant.flatten().double()  # exact: a count is below 2^53
        relevants[part] = torch.bincount(bin_of, weights, n * bins).view(n, bins).long()
    return totals, relevants


def relevance_by_place(
    queries: torch.Tensor,
    codes: torch.Tensor,
    query_labels: torch.Tensor,
    labels: torch.Tensor,
    query_vectors: torch.Tensor | None,
    vectors: torch.Tensor | None,
    scales: torch.Tensor | None,
    k: int,
    within: int,
    own: int,
    threads: int = 0,
) -> torch.Tensor:
    """Return bits, uint8 [q, ceil(k / 8)], of the first k places."""
    bits = queries.new_empty((queries.shape[0], -(-k // 8)))
    for part in _parts(queries.shape[0], codes.shape[0]):
        bits[part] = reference.relevance_by_place(
            queries[part], codes, query_labels[part], labels, None if query_vectors is None else query_vectors[part],
            vectors, scales, k, within, own if own < 0 else own + part.start,
        )  # fmt: skip
    return bits


def average_precision(bits: torch.Tensor, threads: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float64 [q] and int64 [q], each row's average precision and how many of its bits are set."""
    precisions = bits.new_empty(bits.shape[0], dtype=torch.float64)
    found = bits.new_empty(bits.shape[0], dtype=torch.int64)
    for part in _parts(bits.shape[0], 8 * bits.shape[1]):
        precisions[part], found[part] = reference.average_precision(bits[part])
    return precisions, found


def weight_by_place(bits: torch.Tensor, weights: torch.Tensor, threads: int = 0) -> torch.Tensor:
    """Return float64 [8 n_bytes], the sum of the weights of the rows whose bit is set, for each bit."""
    sums = bits.new_zeros(8 * bits.shape[1], dtype=torch.float64)
    for part in _parts(bits.shape[0], 8 * bits.shape[1]):
        sums += reference.weight_by_place(bits[part], weights[part])
    return sums


def _parts(n_rows: int, width: int) -> Iterator[slice]:
    """Yield parts of rows as wide, which hold so many numbers as are taken at once."""
    step = max(1, DISTANCES_AT_ONCE // max(1, width))
    for first in range(0, n_rows, step):
        yield slice(first, first + step)
