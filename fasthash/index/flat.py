"""Exact search by comparing with every code."""

from __future__ import annotations

import torch

from fasthash.index.base import Index
from fasthash.index.contents import Contents
from fasthash.ops.hamming.op import KERNELS, radius_op, topk_op
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
    that were there when it began, and waits for no change. Copies (`copy`, `pickle`) are of one moment, too;
    `copy.copy` shares memory with the original until either is changed.
    """

    def __repr__(self) -> str:
        kernel = default_level(KERNELS, self.device)
        return f"FlatIndex(n_bits={self.n_bits}, device={str(self.device)!r}): {len(self)} codes, kernel {kernel!r}"

    def _nearest(
        self,
        where: str,
        contents: Contents,
        queries: torch.Tensor,
        k: int,
        mask: torch.Tensor | None,
        threads: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found: tuple[torch.Tensor, torch.Tensor] = topk_op(queries, contents.codes.rows, k, mask, threads, where=where)
        return found

    def _within(
        self,
        where: str,
        contents: Contents,
        queries: torch.Tensor,
        radius: int,
        mask: torch.Tensor | None,
        threads: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = radius_op(
            queries, contents.codes.rows, radius, mask, threads, where=where
        )
        return found
