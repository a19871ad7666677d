"""Rows that grow by appending, in memory that doubles as it fills."""

from __future__ import annotations

import math

import numpy as np
import torch

from fasthash.index.storage import ALIGNMENT


def memory_for(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return memory where a search is fastest, its content undefined."""
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    # NumPy asks the system for huge pages, without which a search that waits for memory waits longer; but it begins
    # anywhere, and a scan of 64-bit codes takes longer where its vectors lie across cache lines.
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(n_bytes + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return torch.from_numpy(memory[start : start + n_bytes]).view(dtype).view(shape)


def copy_to(memory: torch.Tensor, rows: torch.Tensor) -> None:
    """Write rows to memory on the same device."""
    if memory.device.type == "cpu":  # torch's copy waits for all its threads, however few processors are free
        np.copyto(memory.numpy(), rows.numpy())
    else:
        memory.copy_(rows)


def copied(rows: torch.Tensor) -> torch.Tensor:
    """Return a copy of rows, contiguous."""
    return torch.from_numpy(rows.numpy().copy()) if rows.device.type == "cpu" else rows.clone()


def rows_at(rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return a copy of the rows at positions, int64 [m], at least 0."""
    if rows.device.type == "cpu":
        return torch.from_numpy(rows.numpy().take(positions.numpy(), axis=0))
    return rows[positions.to(rows.device)]


def values_at(values: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the values, int64 [n], at positions, int64 of any shape on their device, -1 for -1."""
    if len(values) == 0:
        return positions
    if values.device.type != "cpu":
        return torch.where(positions < 0, positions, values[positions.clamp(min=0)])
    at = positions.numpy()
    found = values.numpy()[at]
    found[at < 0] = -1
    return torch.from_numpy(found)


class Rows:
    """Rows of a tensor, never changed. Others that begin with the same ones may share their memory.

    Args:
        rows: [n, ...], which belong to nobody who writes to them.
        memory: a longer tensor that begins with `rows`, whose other rows are free; by default there are none.

    Attributes:
        rows: the rows.
    """

    def __init__(self, rows: torch.Tensor, memory: torch.Tensor | None = None) -> None:
        self.rows = rows
        self._memory = rows if memory is None else memory

    @classmethod
    def empty(cls, row_shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, n: int = 0) -> Rows:
        """Return no rows, with memory for n."""
        memory = memory_for((n, *row_shape), dtype, device)
        return cls(memory[:0], memory)

    def __len__(self) -> int:
        return self.rows.shape[0]

    def extended(self, more: torch.Tensor) -> Rows:
        """Return these rows and more of them, copied, behind.

        Where the memory has room they are written there, amortised O(len(more)): of all that is made of the same rows
        in this way, only the newest may be kept.
        """
        n_before = len(self)
        n = n_before + len(more)
        memory = self._memory
        if n > len(memory):
            memory = memory_for((max(n, 2 * len(memory)), *more.shape[1:]), self.rows.dtype, self.rows.device)
            copy_to(memory[:n_before], self.rows)
        copy_to(memory[n_before:n], more)
        return Rows(memory[:n], memory)

    def unshared(self) -> Rows:
        """Return the same rows without the free memory behind them: extending them copies them."""
        return Rows(self.rows)
