"""Counting by the compiled core."""

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
