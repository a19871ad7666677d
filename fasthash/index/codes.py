"""The codes of an index, and how they lie in memory."""

from __future__ import annotations

import torch

from fasthash.index.rows import Rows, rows_at
from fasthash.ops.hamming.op import radius_op, topk_op


class CodeRows:
    """Packed codes one after the other, on any device, never changed.

    Args:
        rows: uint8 [n, w].
    """

    SECTION = "codes"  # what a file calls them

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    @classmethod
    def empty(cls, width: int, device: torch.device, n: int = 0) -> CodeRows:
        """Return no codes of so many bytes, with memory for n."""
        return cls(Rows.empty((width,), torch.uint8, device, n))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def width(self) -> int:
        """The bytes of a code."""
        return self.rows.shape[1]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.rows.device

    @property
    def memory(self) -> torch.Tensor:
        """What a file has of them."""
        return self.rows

    @property
    def rows(self) -> torch.Tensor:
        """All of them, uint8 [n, w]; a view."""
        return self._rows.rows

    def between(self, start: int, end: int) -> torch.Tensor:
        """Return a view of those at positions from `start` to before `end`."""
        return self.rows[start:end]

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return a copy of those at positions, int64 [m]: uint8 [m, w]."""
        return rows_at(self.rows, positions)

    def extended(self, more: torch.Tensor) -> CodeRows:
        """Return these and a copy of more, as `Rows.extended` does."""
        return CodeRows(self._rows.extended(more))

    def unshared(self) -> CodeRows:
        """Return the same codes without the free memory behind them: extending them copies them."""
        return CodeRows(self._rows.unshared())

    def nearest(
        self, where: str, queries: torch.Tensor, k: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and positions of the k nearest, as `hamming_topk` has them, among a mask of bits."""
        distances, positions = topk_op(queries, self.rows, k, mask, threads, where=where)
        return distances, positions

    def within(
        self, where: str, queries: torch.Tensor, radius: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return offsets, distances and positions, as `hamming_radius` has them, of those of a mask of bits."""
        offsets, distances, positions = radius_op(queries, self.rows, radius, mask, threads, where=where)
        return offsets, distances, positions
