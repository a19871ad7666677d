"""Asymmetric search on a GPU: the filters and the selection of the Hamming search, by the weighted distance."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fasthash.ops.asymmetric import kernel_torch
from fasthash.ops.asymmetric.kernel_torch import least_products
from fasthash.ops.asymmetric.reference import quantized
from fasthash.ops.hamming.kernel_triton import NO_HIT, chunk_of, nearest
from fasthash.ops.hamming.kernel_triton_count import ID_BITS, signed_words
from fasthash.ops.packing.op import pack_bits_op


@dataclass(frozen=True)
class WeightedQueries:
    """Queries of integer weights, float32 [q, n_bits], as the filters read them."""

    weights: torch.Tensor
    words: torch.Tensor
    planes: int
    farthest: int

    def __getitem__(self, rows: slice | torch.Tensor) -> WeightedQueries:
        """Return some of the queries."""
        return WeightedQueries(self.weights[rows], self.words[rows], self.planes, self.farthest)

    def factors(self, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the negated weights, and the sums of those above 0."""
        above = self.weights.clamp(min=0).sum(1).to(torch.int32)
        return torch.nn.functional.pad(-self.weights.to(torch.int8), (0, columns - self.weights.shape[1])), above

    def nearest(self, codes: torch.Tensor, mask: torch.Tensor | None, k: int) -> torch.Tensor:
        """Return the k codes of least weighted distance, by products of matrices."""
        rows = codes.view(torch.uint8)
        weights = torch.nn.functional.pad(-self.weights, (0, 8 * rows.shape[1] - self.weights.shape[1]))
        below, ids = least_products(weights, rows, k, mask)
        distances = (self.weights.abs().sum(1, keepdim=True) + below) / 2
        return torch.where(ids < 0, NO_HIT.value, distances.masked_fill(ids < 0, 0).long() << ID_BITS.value | ids)


def weighted_queries(weights: torch.Tensor, bits: int) -> WeightedQueries:
    """Return queries of weights float32 [q, n_bits] that have so many bits with their signs, n_bits a multiple of 8."""
    planes, (q, n_bits) = max(1, bits - 1), weights.shape
    magnitudes = weights.abs().to(torch.uint8)
    bools = [weights > 0, *((magnitudes >> plane & 1).bool() for plane in range(planes))]
    words = signed_words(pack_bits_op(torch.stack(bools, 1).flatten(0, 1)))
    return WeightedQueries(weights, words.reshape(q, (planes + 1) * words.shape[1]), planes, (2**planes - 1) * n_bits)


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
    """Return float32 or float64 and int64 [q, k]; what is of the codes may lie in the memory of the CPU.

    With factors or offsets, products of matrices answer.
    """
    if factors is not None or offsets is not None:
        there = [None if x is None else x.to(projections.device) for x in (mask, factors, offsets)]
        return kernel_torch.asymmetric_topk(
            projections, codes.to(projections.device), k, bits, there[0], threads, *there[1:]
        )
    weights, scale = quantized(projections, codes.shape[1], bits)
    queries = weighted_queries(weights, bits)
    distances, ids = nearest(queries, codes, k, mask, chunk_of(codes, projections.device))
    sums = weights.abs().sum(1, keepdim=True) - 2 * distances
    return (sums.to(scale) * scale[:, None]).masked_fill(ids < 0, -torch.inf), ids
