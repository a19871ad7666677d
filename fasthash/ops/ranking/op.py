"""How many items, and how many relevant ones, are at each Hamming distance from a query: what most metrics need."""

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


# Of packed codes, uint8 [q, n_bits / 8] and [n, n_bits / 8], with classes, integers [q] and [n], or labels, bool [q, c]
# and [n, c]: int64 [q, n_bits + 1], all items and those that share a class or a label with the query, by distance.
counts_op = declare(
    "distance_counts(Tensor queries, Tensor codes, Tensor query_labels, Tensor labels, int threads)"
    " -> (Tensor, Tensor)",
    KERNELS,
    _counts_fake,
)
