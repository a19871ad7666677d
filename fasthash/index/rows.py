"""Rows that grow by appending, in memory that doubles as it fills."""

from __future__ import annotations

import math

import numpy as np
import torch

from fasthash.index.storage import ALIGNMENT


def _memory(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    # NumPy asks the system for huge pages, without which a search that waits for memory waits longer; but it begins
    # anywhere, and a scan of 64-bit codes takes longer where its vectors lie across cache lines.
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(n_bytes + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return torch.from_numpy(memory[start : start + n_bytes]).view(dtype).view(shape)


def _copy(to: torch.Tensor, rows: torch.Tensor) -> None:
    if to.device.type == "cpu":  # torch's copy waits for all its threads, however few processors are free
        np.copyto(to.numpy(), rows.numpy())
    else:
        to.copy_(rows)


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
    def empty(cls, row_shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Rows:
        """Return no rows."""
        return cls(_memory((0, *row_shape), dtype, device))

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
            memory = _memory((max(n, 2 * len(memory)), *more.shape[1:]), self.rows.dtype, self.rows.device)
            _copy(memory[:n_before], self.rows)
        _copy(memory[n_before:n], more)
        return Rows(memory[:n], memory)

    def alone(self) -> Rows:
        """Return the same rows without the free memory behind them: extending them copies them."""
        return Rows(self.rows)
