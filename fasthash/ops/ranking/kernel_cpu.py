"""Counting and ranking by the compiled core."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash import _core
from fasthash.ops.packing.op import pack_bits_op


def distance_counts(
    queries: torch.Tensor,
    codes: torch.Tensor,
    query_labels: torch.Tensor,
    labels: torch.Tensor,
    threads: int = 0,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 [q, n_bits + 1], the items at each distance and the relevant ones among them."""
    totals = queries.new_empty((queries.shape[0], codes.shape[1] * 8 + 1), dtype=torch.int64)
    relevants = torch.empty_like(totals)
    query_words, words = _words(query_labels, labels)
    _core.distance_counts(
        queries.contiguous().numpy(), codes.contiguous().numpy(), query_words, words, labels.ndim == 2,
        totals.numpy(), relevants.numpy(), threads, isa,
    )  # fmt: skip
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
    isa: str = "",
) -> torch.Tensor:
    """Return bits, uint8 [q, ceil(k / 8)], of the first k places."""
    bits = queries.new_empty((queries.shape[0], -(-k // 8)))
    query_words, words = _words(query_labels, labels)
    own_vectors, all_vectors, factors = (
        x if x is None else x.detach().contiguous().numpy() for x in (query_vectors, vectors, scales)
    )
    _core.relevance_by_place(
        queries.contiguous().numpy(), codes.contiguous().numpy(), query_words, words, labels.ndim == 2,
        own_vectors, all_vectors, factors, k, within, own, bits.numpy(), threads, isa,
    )  # fmt: skip
    return bits


def average_precision(bits: torch.Tensor, threads: int = 0, isa: str = "") -> tuple[torch.Tensor, torch.Tensor]:
    """Return float64 [q] and int64 [q], each row's average precision and how many of its bits are set."""
    precisions = bits.new_empty(bits.shape[0], dtype=torch.float64)
    found = bits.new_empty(bits.shape[0], dtype=torch.int64)
    _core.average_precision(bits.contiguous().numpy(), found.numpy(), precisions.numpy(), threads)
    return precisions, found


def weight_by_place(bits: torch.Tensor, weights: torch.Tensor, threads: int = 0, isa: str = "") -> torch.Tensor:
    """Return float64 [8 n_bytes], the sum of the weights of the rows whose bit is set, for each bit."""
    sums = bits.new_empty(8 * bits.shape[1], dtype=torch.float64)
    _core.weight_by_place(bits.contiguous().numpy(), weights.detach().contiguous().numpy(), sums.numpy(), threads)
    return sums


def _words(query_labels: torch.Tensor, labels: torch.Tensor) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the labels as int32 [q, n_words] and [n_words, n]: a number a class, or a bit a label."""
    if labels.ndim == 2:
        return _packed(query_labels), np.ascontiguousarray(_packed(labels).T)
    pair = query_labels.numpy(), labels.numpy()
    words = [x.astype(np.int32) for x in pair]
    if any((narrow != x).any() for narrow, x in zip(words, pair, strict=True)):
        numbers = np.unique(np.concatenate(pair), return_inverse=True)[1].astype(np.int32)
        words = np.split(numbers, [len(pair[0])])
    return words[0][:, None], words[1][None]


def _packed(labels: torch.Tensor) -> NDArray[np.int32]:
    """Return bool [n, c] as the bits of int32 [n, n_words], at least one word."""
    bits = pack_bits_op(labels).numpy()
    words = np.zeros((len(bits), max(1, -(-bits.shape[1] // 4))), dtype=np.int32)
    words.view(np.uint8)[:, : bits.shape[1]] = bits
    return words
