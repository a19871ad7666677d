"""The codes of an index, and how they lie in memory."""

from __future__ import annotations

from typing import TypeAlias, Union

import numpy as np
import torch

from fasthash.errors import MAX_BITS, dtype_name
from fasthash.index.rows import Rows, rows_at
from fasthash.ops.asymmetric.op import topk_op as asymmetric_op
from fasthash.ops.hamming.op import radius_op, topk_op
from fasthash.ops.planes import (
    BLOCK_CODES,
    asymmetric_planes_topk,
    new_planes,
    planes_radius,
    planes_topk,
    read_planes,
    write_planes,
)

Codes: TypeAlias = Union["CodeRows", "CodePlanes"]


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

    @classmethod
    def of_file(cls, memory: torch.Tensor, n: int, width: int) -> CodeRows:
        """Return the n codes of a file, or raise a ValueError."""
        _check_memory(cls.SECTION, memory, (n, width))
        return cls(Rows(memory))

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
        """Where they lie, uint8 [n, w]."""
        return self.rows

    def for_file(self) -> torch.Tensor:
        """Return what a file has of them; a view."""
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
        self,
        where: str,
        queries: torch.Tensor,
        k: int,
        mask: torch.Tensor | None,
        threads: int,
        max_distance: int = MAX_BITS,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and positions of the k nearest, as `hamming_topk` has them, among a mask of bits."""
        distances, positions = topk_op(queries, self.rows, k, mask, threads, max_distance, where=where)
        return distances, positions

    def nearest_asymmetric(
        self,
        where: str,
        projections: torch.Tensor,
        k: int,
        bits: int,
        mask: torch.Tensor | None,
        threads: int,
        factors: torch.Tensor | None = None,
        offsets: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return negative scores and positions of the k best, as `asymmetric_topk` has them, among a mask of bits."""
        scores, positions = asymmetric_op(projections, self.rows, k, bits, mask, threads, factors, offsets, where=where)
        return _negative(scores), positions

    def within(
        self, where: str, queries: torch.Tensor, radius: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return offsets, distances and positions, as `hamming_radius` has them, of those of a mask of bits."""
        offsets, distances, positions = radius_op(queries, self.rows, radius, mask, threads, where=where)
        return offsets, distances, positions


class CodePlanes:
    """Packed codes as bit planes, in blocks of `BLOCK_CODES`, on the CPU; what has been written never changes.

    Args:
        planes: of `new_planes`; how many codes there is memory for that is nobody else's follows from its blocks.
        n: how many codes there are.
        width: the bytes of a code.
        is_shared: whether the memory is another's, whose free places are not to be written to.
    """

    SECTION = "planes"

    def __init__(self, planes: torch.Tensor, n: int, width: int, is_shared: bool = False) -> None:
        self._planes = planes
        self._n = n
        self._is_shared = is_shared
        self.width = width
        self.device = planes.device

    @classmethod
    def empty(cls, width: int, device: torch.device, n: int = 0) -> CodePlanes:
        """Return no codes of so many bytes, with memory for n."""
        return cls(new_planes(8 * width, n).to(device), 0, width)

    @classmethod
    def of_file(cls, memory: torch.Tensor, n: int, width: int) -> CodePlanes:
        """Return the n codes of a file, or raise a ValueError."""
        _check_memory(cls.SECTION, memory, (-(-n // BLOCK_CODES), *new_planes(8 * width, 0).shape[1:]))
        return cls(memory, n, width, is_shared=True)

    def __len__(self) -> int:
        return self._n

    @property
    def memory(self) -> torch.Tensor:
        """Where they lie, whole blocks; places behind the last code may hold anything, and change."""
        return self._planes[: -(-self._n // BLOCK_CODES)]

    def for_file(self) -> torch.Tensor:
        """Return what a file has of them; a copy, 0 behind the last code."""
        planes = self.memory.numpy().copy()
        if n_in_last := self._n % BLOCK_CODES:
            whole, rest = divmod(n_in_last, 8)
            planes[-1, :, whole] &= (1 << rest) - 1
            planes[-1, :, whole + 1 :] = 0
        return torch.from_numpy(planes)

    @property
    def rows(self) -> torch.Tensor:
        """All of them, uint8 [n, w]; a copy."""
        return self.between(0, self._n)

    def between(self, start: int, end: int) -> torch.Tensor:
        """Return a copy of those at positions from `start` to before `end`."""
        return read_planes(self._planes, 8 * self.width, slice(start, end))

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return a copy of those at positions, int64 [m]: uint8 [m, w]."""
        return read_planes(self._planes, 8 * self.width, positions)

    def extended(self, more: torch.Tensor) -> CodePlanes:
        """Return these and a copy of more, as `Rows.extended` does."""
        n, planes = self._n + len(more), self._planes
        if self._is_shared or n > len(planes) * BLOCK_CODES:
            planes = new_planes(8 * self.width, max(n, 2 * self._n))
            np.copyto(planes[: len(self.memory)].numpy(), self.memory.numpy())
        write_planes(planes, torch.from_numpy(np.ascontiguousarray(more.numpy())), self._n)
        return CodePlanes(planes, n, self.width)

    def check_counts(self) -> None:
        """Raise a ValueError if the planes of counts are not those of the codes."""
        for block, start in enumerate(range(0, self._n, BLOCK_CODES)):
            codes = self.between(start, min(start + BLOCK_CODES, self._n))
            made = CodePlanes.empty(self.width, self.device).extended(codes)
            whole, rest = divmod(len(codes), 8)
            differ = made.memory[0].numpy() ^ self._planes[block].numpy()
            if differ[:, :whole].any() or (rest and (differ[:, whole] & ((1 << rest) - 1)).any()):
                raise ValueError("its planes of counts are not those of its codes")

    def unshared(self) -> CodePlanes:
        """Return the same codes without the free memory behind them: extending them copies them."""
        return CodePlanes(self.memory, self._n, self.width, is_shared=True)

    def nearest(
        self,
        where: str,
        queries: torch.Tensor,
        k: int,
        mask: torch.Tensor | None,
        threads: int,
        max_distance: int = MAX_BITS,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and positions of the k nearest, as `CodeRows.nearest` does."""
        return planes_topk(queries, self._planes, self._n, k, mask, threads, max_distance, where=where)

    def nearest_asymmetric(
        self,
        where: str,
        projections: torch.Tensor,
        k: int,
        bits: int,
        mask: torch.Tensor | None,
        threads: int,
        factors: torch.Tensor | None = None,
        offsets: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return negative scores and positions of the k best, as `CodeRows.nearest_asymmetric` does.

        With factors or offsets by a copy in rows.
        """
        if factors is not None or offsets is not None:
            rows = CodeRows(Rows(self.rows))
            return rows.nearest_asymmetric(where, projections, k, bits, mask, threads, factors, offsets)
        scores, at = asymmetric_planes_topk(projections, self._planes, self._n, k, bits, mask, threads, where=where)
        return _negative(scores), at

    def within(
        self, where: str, queries: torch.Tensor, radius: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return offsets, distances and positions, as `CodeRows.within` does."""
        return planes_radius(queries, self._planes, self._n, radius, mask, threads, where=where)


def _negative(scores: torch.Tensor) -> torch.Tensor:
    """Return `-scores`, on the CPU without torch's threads."""
    return torch.from_numpy(-scores.numpy()) if scores.device.type == "cpu" else -scores


def _check_memory(section: str, memory: torch.Tensor, shape: tuple[int, ...]) -> None:
    if (memory.dtype, memory.shape) != (torch.uint8, shape):
        raise ValueError(f"{section} are {dtype_name(memory)} {list(memory.shape)}, not uint8 {list(shape)}")
