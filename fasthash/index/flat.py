"""Exact search by comparing with every code."""

from __future__ import annotations

import torch

from fasthash.index.base import Index
from fasthash.ops.hamming.op import KERNELS, radius_op, topk_op
from fasthash.ops.registry import default_level


class FlatIndex(Index):
    """An index that compares every query with every code, exactly.

    Args:
        n_bits: length of the codes, 1 to 4,096.
        device: where the codes are kept and searched.

    `len(index)` is the number of codes. Equal distances are ordered by insertion. Searches may run in several threads
    at once; `add`, `remove` and `reset` may not run beside them.
    """

    def __repr__(self) -> str:
        kernel = default_level(KERNELS, self.device)
        return f"FlatIndex(n_bits={self.n_bits}, device={str(self.device)!r}): {len(self)} codes, kernel {kernel!r}"

    def _nearest(
        self, where: str, queries: torch.Tensor, k: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found: tuple[torch.Tensor, torch.Tensor] = topk_op(queries, self._codes.rows, k, mask, threads, where=where)
        return found

    def _within(
        self, where: str, queries: torch.Tensor, radius: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = radius_op(
            queries, self._codes.rows, radius, mask, threads, where=where
        )
        return found
