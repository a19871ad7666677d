"""A search of an index, checked."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fasthash.errors import MAX_BITS
from fasthash.index.codes import CodeRows, Codes
from fasthash.index.contents import Contents
from fasthash.index.rows import Rows, values_at


@dataclass(frozen=True, eq=False)
class Search:
    """What is searched for, and among what; all on the device of the contents.

    Attributes:
        where: what errors begin with.
        contents: what the index held when the search began.
        queries: codes, uint8 [q, w], or projections, floating-point [q, n_bits].
        threads: 0 by default.
        mask: the eligible positions, as bits, uint8 [ceil(n / 8)], or None for all.
        few: instead, the only ones that are looked at, int64 [m], ascending.
        bits: of a number of projections.
        factors: float32 by position, or None for 1.
        offsets: float32 by position, or None for 0.
    """

    where: str
    contents: Contents
    queries: torch.Tensor
    threads: int
    mask: torch.Tensor | None = None
    few: torch.Tensor | None = None
    bits: int = 4
    factors: torch.Tensor | None = None
    offsets: torch.Tensor | None = None

    @property
    def is_asymmetric(self) -> bool:
        """Whether the queries are projections."""
        return self.queries.is_floating_point()

    def nearest(self, k: int, max_distance: int = MAX_BITS) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and positions of the k nearest by comparing with all.

        As `hamming_topk` has them, or for projections the negative scores of `asymmetric_topk`, however large.
        """
        codes = self._codes()
        if self.is_asymmetric:
            of_codes = [y if y is None or self.few is None else y[self.few] for y in (self.factors, self.offsets)]
            distances, at = codes.nearest_asymmetric(
                self.where, self.queries, k, self.bits, self.mask, self.threads, *of_codes
            )
        else:
            distances, at = codes.nearest(self.where, self.queries, k, self.mask, self.threads, max_distance)
        return distances, at if self.few is None else values_at(self.few, at)

    def within(self, radius: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return offsets, distances and positions, as `hamming_radius` has them, by comparing with all."""
        offsets, distances, at = self._codes().within(self.where, self.queries, radius, self.mask, self.threads)
        return offsets, distances, at if self.few is None else values_at(self.few, at)

    def _codes(self) -> Codes:
        codes = self.contents.codes
        return codes if self.few is None else CodeRows(Rows(codes.at(self.few)))
