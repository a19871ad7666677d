"""Exact search by comparing with every code."""

from __future__ import annotations

import torch

from fasthash.index.base import Index
from fasthash.index.search import Search
from fasthash.ops.hamming.op import KERNELS
from fasthash.ops.registry import default_level


class FlatIndex(Index):
    """An index that compares every query with every code, exactly.

    Args:
        n_bits: length of the codes, 1 to 4,096.
        device: where the codes are kept and searched.

    `len(index)` is the number of codes, `id in index` says whether one has that id, and iterating gives the ids.
    Equal distances are ordered by insertion.

    Every method may be called at any time from any thread, and after a fork. Changes are made one after the other, each
    as a whole: one that fails or is interrupted changes nothing. A search, and whatever else reads, finds the codes
    that were there when it began; only looking ids up waits for a change under way. Copies (`copy`, `pickle`) are of
    one moment, too; `copy.copy` shares memory with the original until either is changed.
    """

    def __repr__(self) -> str:
        kernel = default_level(KERNELS, self.device)
        return f"FlatIndex(n_bits={self.n_bits}, device={str(self.device)!r}): {len(self)} codes, kernel {kernel!r}"

    def _nearest(self, search: Search, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        return search.nearest(k)

    def _within(self, search: Search, radius: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return search.within(radius)
