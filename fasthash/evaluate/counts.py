"""How many items, and how many relevant ones, are at each Hamming distance from a query: what most metrics need."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash import _core
from fasthash.errors import check_codes, check_device, check_same_width, dtype_name
from fasthash.ops.arrays import Array, to_tensor
from fasthash.ops.hamming import hamming_distance
from fasthash.ops.packing import pack_bits

_DISTANCES_AT_ONCE = 1 << 24


class Retrieval:
    """Queries and a database, codes and labels, checked.

    Attributes:
        query_codes: uint8 [q, n_bits / 8].
        codes: uint8 [n, n_bits / 8].
        query_labels: integers [q], or bool [q, c].
        labels: [n], or [n, c].
    """

    def __init__(self, where: str, query_codes: Array, query_labels: Array, codes: Array, labels: Array) -> None:
        q, c = to_tensor(where, "query_codes", query_codes), to_tensor(where, "codes", codes)
        check_codes(where, "query_codes", q)
        check_codes(where, "codes", c)
        check_same_width(where, "query_codes", q, "codes", c)
        check_device(where, "query_codes", q, c.device)
        if len(q) == 0 or len(c) == 0:
            raise ValueError(f"{where}: expected at least one query and one code, got {len(q)} and {len(c)}")
        ql = _labels(where, "query_labels", query_labels, q)
        cl = _labels(where, "labels", labels, c)
        if ql.shape[1:] != cl.shape[1:]:
            raise ValueError(
                f"{where}: expected query_labels and labels alike, got {list(ql.shape)} and {list(cl.shape)}"
            )
        self.query_codes, self.codes, self.query_labels, self.labels = q, c, ql, cl

    def counts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return int64 [q, n_bits + 1], on the CPU: the items at each distance from each query, and the relevant."""
        bins = self.codes.shape[1] * 8 + 1
        totals = torch.empty((len(self.query_codes), bins), dtype=torch.int64)
        relevants = torch.empty_like(totals)
        if self.codes.device.type == "cpu":
            query_codes, codes = (x.contiguous().numpy() for x in (self.query_codes, self.codes))
            query_words, words = self._words()
            outs = totals.numpy(), relevants.numpy()
            _core.distance_counts(query_codes, codes, query_words, words, self.labels.ndim == 2, *outs, 0, "")
            return totals, relevants
        for part, distances, relevant in self.parts():
            n = len(distances)
            bin_of = distances + torch.arange(n, device=distances.device)[:, None] * bins
            totals[part] = torch.bincount(bin_of.flatten(), minlength=n * bins).view(n, bins).cpu()
            weights = relevant.flatten().double()  # exact: a count is below 2^53
            relevants[part] = torch.bincount(bin_of.flatten(), weights, n * bins).view(n, bins).long().cpu()
        return totals, relevants

    def _words(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the labels as int32 [q, n_words] and [n_words, n]: a number a class, or a bit a label."""
        pair = self.query_labels, self.labels
        if self.labels.ndim == 2:
            return _packed(pair[0]), np.ascontiguousarray(_packed(pair[1]).T)
        words = [x.numpy().astype(np.int32) for x in pair]
        if any((narrow != x.numpy()).any() for narrow, x in zip(words, pair, strict=True)):
            numbers = np.unique(torch.cat(pair).numpy(), return_inverse=True)[1].astype(np.int32)
            words = np.split(numbers, [len(pair[0])])
        return words[0][:, None], words[1][None]

    def parts(self) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Yield a part of the queries, their distances int32 [part, n], and which items are relevant, bool."""
        step = max(1, _DISTANCES_AT_ONCE // len(self.codes))
        for first in range(0, len(self.query_codes), step):
            part = slice(first, min(first + step, len(self.query_codes)))
            wanted = self.query_labels[part]
            relevant = (
                wanted[:, None] == self.labels if wanted.ndim == 1 else wanted.float() @ self.labels.float().T > 0
            )
            yield part, hamming_distance(self.query_codes[part], self.codes), relevant


def _packed(labels: torch.Tensor) -> NDArray[np.int32]:
    """Return bool [n, c] as the bits of int32 [n, n_words], at least one word."""
    bits = pack_bits(labels).numpy()
    words = np.zeros((len(bits), max(1, -(-bits.shape[1] // 4))), dtype=np.int32)
    words.view(np.uint8)[:, : bits.shape[1]] = bits
    return words


def _labels(where: str, name: str, labels: Array, codes: torch.Tensor) -> torch.Tensor:
    x = to_tensor(where, name, labels)
    if x.is_floating_point() or x.is_complex():
        raise TypeError(f"{where}: expected {name} of an integer dtype or bool, got {dtype_name(x)}")
    if x.ndim not in (1, 2) or len(x) != len(codes):
        raise ValueError(f"{where}: expected {name} of shape [{len(codes)}] or [{len(codes)}, c], got {list(x.shape)}")
    check_device(where, name, x, codes.device)
    return x != 0 if x.ndim == 2 and x.dtype != torch.bool else x
