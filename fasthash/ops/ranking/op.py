"""Relevant items by Hamming distance and by place in rankings of it: what metrics of retrieval need."""

from __future__ import annotations

import torch

from fasthash.ops.declaration import declare
from fasthash.ops.registry import Kernel, cpu_kernels

KERNELS = {
    "reference": Kernel("fasthash.ops.ranking.reference", ("cpu", "cuda")),
    "torch": Kernel("fasthash.ops.ranking.kernel_torch", ("cpu", "cuda")),
    **cpu_kernels("fasthash.ops.ranking.kernel_cpu"),
}


def _counts_fake(
    queries: torch.Tensor, codes: torch.Tensor, query_labels: torch.Tensor, labels: torch.Tensor, threads: int
) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (queries.shape[0], codes.shape[1] * 8 + 1)
    return queries.new_empty(shape, dtype=torch.int64), queries.new_empty(shape, dtype=torch.int64)


def _places_fake(
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
    threads: int,
) -> torch.Tensor:
    return queries.new_empty((queries.shape[0], (k + 7) // 8))


def _average_fake(bits: torch.Tensor, threads: int) -> tuple[torch.Tensor, torch.Tensor]:
    return bits.new_empty(bits.shape[0], dtype=torch.float64), bits.new_empty(bits.shape[0], dtype=torch.int64)


def _weight_fake(bits: torch.Tensor, weights: torch.Tensor, threads: int) -> torch.Tensor:
    return bits.new_empty(8 * bits.shape[1], dtype=torch.float64)


# Of packed codes, uint8 [q, n_bits / 8] and [n, n_bits / 8], with classes, integers [q] and [n], or labels, bool [q, c]
# and [n, c]: int64 [q, n_bits + 1], all items and those that share a class or a label with the query, by distance.
counts_op = declare(
    "distance_counts(Tensor queries, Tensor codes, Tensor query_labels, Tensor labels, int threads)"
    " -> (Tensor, Tensor)",
    KERNELS,
    _counts_fake,
)
# Of the same, which of the first k places of each query's ranking have a relevant item no farther than `within`, as
# bits [q, ceil(k / 8)] in the order of `pack_bits`. Items at one distance are in their order or, by vectors, float32 or
# float64 [q, m] and [n, m], in descending order of the product of the query's, as one of length 1, and the item's times
# its scale, float64 [n], which make it at most as long; then in theirs, as are those whose products are the same
# multiple of 2^-29. Where own is not -1, query i is item own + i, which comes last in its ranking, as irrelevant.
places_op = declare(
    "relevance_by_place(Tensor queries, Tensor codes, Tensor query_labels, Tensor labels, Tensor? query_vectors,"
    " Tensor? vectors, Tensor? scales, int k, int within, int own, int threads) -> Tensor",
    KERNELS,
    _places_fake,
)
# Of such bits, the mean over those set in a row of the share of bits set up to each, float64 [q], 0 where none is; and
# how many are set, int64 [q].
average_op = declare("average_precision(Tensor bits, int threads) -> (Tensor, Tensor)", KERNELS, _average_fake)
# Of such bits and weights of the rows, float64 [q], the sum for each place of the weights of rows whose bit is set.
weight_op = declare("weight_by_place(Tensor bits, Tensor weights, int threads) -> Tensor", KERNELS, _weight_fake)
