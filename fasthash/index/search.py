"""A search of an index, checked."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fasthash.index.contents import Contents
from fasthash.index.rows import rows_at, values_at
from fasthash.ops.hamming.op import radius_op, topk_op


@dataclass(frozen=True, eq=False)
class Search:
    """What is searched for, and among what; all on the device of the contents.

    Attributes:
        where: what errors begin with.
        contents: what the index held when the search began.
        queries: uint8 [q, w].
        threads: 0 by default.
        mask: the eligible positions, as bits, uint8 [ceil(n / 8)], or None for all.
        few: instead, the only ones that are looked at, int64 [m], ascending.
    """

    where: str
    contents: Contents
    queries: torch.Tensor
    threads: int
    mask: torch.Tensor | None = None
    few: torch.Tensor | None = None

    def nearest(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and positions of the k nearest, as `hamming_topk` has them, by comparing with all."""
        codes = self._codes()
        distances, at = topk_op(self.queries, codes, k, self.mask, self.threads, where=self.where)
        return distances, at if self.few is None else values_at(self.few, at)

    def within(self, radius: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return offsets, distances and positions, as `hamming_radius` has them, by comparing with all."""
        offsets, distances, at = radius_op(
            self.queries, self._codes(), radius, self.mask, self.threads, where=self.where
        )
        return offsets, distances, at if self.few is None else values_at(self.few, at)

    def _codes(self) -> torch.Tensor:
        codes = self.contents.codes.rows
        return codes if self.few is None else rows_at(codes, self.few)
