"""What an index holds at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.index.codes import Codes
from fasthash.index.positions import Positions, are_live
from fasthash.index.rows import Rows, copied, rows_at, values_at
from fasthash.ops.arrays import Array
from fasthash.ops.hamming.op import mask_bits

_CPU = torch.device("cpu")
_MOST_REMOVED = 1 / 8  # of all positions; beyond, the codes move together
_BLOCK = 16_384  # how many positions are looked at together


class _Extensible(Protocol):
    def extended(self, more: torch.Tensor) -> Self: ...


_T = TypeVar("_T", bound=_Extensible)


@dataclass(frozen=True, eq=False)
class Contents:
    """Codes and their ids by position, the order of insertion. Nothing of it changes: what changes it makes another.

    So a search that was given contents finds what was there then, whatever happens meanwhile, and a change is made by
    the one assignment that follows when all is done. Those that follow from another share its memory; of all that
    follow from the same contents by `added` or `upserted`, only the newest may be kept.

    Removed codes stay where they are and are passed over, until they are too many. On the CPU all of this is done by
    NumPy: threads of torch do not survive a fork, nor a thread that is in torch the end of the process.

    Attributes:
        codes: by position.
        ids: int64 [n] in the memory of the CPU, or None while they are 0, 1, 2, ...
        device_ids: the same on the device of the codes.
        live: bits, 0 where a code was removed, uint8 [ceil(n / 8)], on the CPU; 1 beyond the n-th. None if none was.
        n_removed: how many were.
        next_id: the id that the next code gets, or None if ids were given.
        positions: where the ids are.
        arrangement: another object where the same codes are at other positions.
    """

    codes: Codes
    ids: Rows | None = None
    device_ids: Rows | None = None
    live: Rows | None = None
    n_removed: int = 0
    next_id: int | None = 0
    positions: Positions = field(default_factory=Positions)
    arrangement: object = field(default_factory=object)

    def __len__(self) -> int:
        return len(self.codes) - self.n_removed

    @property
    def device(self) -> torch.device:
        """Where the codes are."""
        return self.codes.device

    def added(self, where: str, codes: torch.Tensor, ids: torch.Tensor | None) -> Contents:
        """Return these and more codes, with these ids, int64 [m] on the CPU, or with those that count on.

        Raises:
            ValueError: if an id is there already, or twice.
        """
        return self._extended(where, codes, ids, self)

    def upserted(self, where: str, positions: torch.Tensor, codes: torch.Tensor, ids: torch.Tensor) -> Contents:
        """Return these without the codes at distinct live positions, and with others, as `added` has them."""
        return self.removed(positions)._extended(where, codes, ids, self)

    def _extended(self, where: str, codes: torch.Tensor, ids: torch.Tensor | None, kept: Contents) -> Contents:
        """Return these and more codes; `kept` are the contents that there still are should this break off."""
        if len(codes) == 0:
            return self
        n, next_id = len(self.codes), self.next_id or None
        if ids is None:
            if self.next_id is None:
                raise ValueError(f"{where}: expected ids, as the codes in the index were added with ids, got none")
            next_id = self.next_id + len(codes)
            if self.ids is None:
                return self._with(codes, next_id=next_id)
            ids = _counted(self.next_id, next_id)
        before = Rows(_counted(0, n)) if self.ids is None else self.ids
        all_ids = before.extended(ids)
        positions = self.positions.extended(all_ids.rows, n, self.live_bits, kept.live_bits, where)
        device_ids = all_ids
        if self.device != _CPU:
            there = Rows(before.rows.to(self.device)) if self.device_ids is None else self.device_ids
            device_ids = there.extended(ids.to(self.device))
        return self._with(codes, ids=all_ids, device_ids=device_ids, next_id=next_id, positions=positions)

    def _with(self, codes: torch.Tensor, **changed: Any) -> Contents:
        live = self.live
        if live is not None:
            n_bytes = (len(self.codes) + len(codes) + 7) // 8 - len(live)
            live = live.extended(torch.from_numpy(np.full(n_bytes, 255, np.uint8)))
        return replace(self, codes=self.codes.extended(codes), live=live, **changed)

    def removed(self, positions: torch.Tensor) -> Contents:
        """Return these without the codes at distinct live positions, int64 [m] on the CPU."""
        if len(positions) == 0:
            return self
        all_live = np.full((len(self.codes) + 7) // 8, 255, np.uint8)
        live = all_live if self.live is None else self.live.rows.numpy().copy()
        at = positions.numpy()
        np.bitwise_and.at(live, at >> 3, ~(1 << (at & 7)).astype(np.uint8))
        left = replace(self, live=Rows(torch.from_numpy(live)), n_removed=self.n_removed + len(positions))
        return left.compacted() if left.n_removed > _MOST_REMOVED * len(self.codes) else left

    def compacted(self) -> Contents:
        """Return the same codes at positions without gaps."""
        if self.live is None:
            return self
        ids = Rows(self.live_ids)
        device_ids = ids if self.device == _CPU else Rows(ids.rows.to(self.device))
        codes = self._extended_by_live(
            type(self.codes).empty(self.codes.width, self.device, len(self)), self.codes.between
        )
        return Contents(codes, ids, device_ids, next_id=self.next_id)

    def unshared(self) -> Contents:
        """Return the same contents for another index to change."""
        ids, device_ids, live = (
            None if rows is None else rows.unshared() for rows in (self.ids, self.device_ids, self.live)
        )
        return replace(
            self, codes=self.codes.unshared(), ids=ids, device_ids=device_ids, live=live, positions=Positions()
        )

    @property
    def live_bits(self) -> torch.Tensor | None:
        """`live` as it is, uint8 [ceil(n / 8)] on the CPU."""
        return None if self.live is None else self.live.rows

    @property
    def eligible(self) -> torch.Tensor | None:
        """Bits of the codes that were not removed, uint8 [ceil(n / 8)], on their device; None if none was."""
        return None if self.live is None else self.live.rows.to(self.device)

    def n_live(self, n: int) -> int:
        """Return how many of the first n codes were not removed."""
        if self.live is None:
            return n
        bits = self.live.rows.numpy()
        whole, rest = divmod(n, 8)
        return int(np.bitwise_count(bits[:whole]).sum(dtype=np.int64)) + int(self._live_flags(n - rest, n).sum())

    @property
    def live_codes(self) -> torch.Tensor:
        """The codes in order of insertion, uint8 [len, w]; a view if none was removed and they lie so, else a copy."""
        if self.live is None:
            return self.codes.rows
        width = self.codes.between(0, 0).shape[1]
        return self._extended_by_live(
            Rows.empty((width,), torch.uint8, self.device, len(self)), self.codes.between
        ).rows

    @property
    def live_ids(self) -> torch.Tensor:
        """The ids of `live_codes`, int64 [len] on the CPU; a view if they were given and none was removed."""
        if self.live is None:
            return self._ids_between(0, len(self.codes))
        return self._extended_by_live(Rows.empty((), torch.int64, _CPU, len(self)), self._ids_between).rows

    @property
    def copied_ids(self) -> torch.Tensor:
        """`live_ids`, in memory of their own."""
        ids = self.live_ids
        return copied(ids) if self.live is None and self.ids is not None else ids

    def blocks(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield ids and codes on the codes' device in order of insertion, 1 to `size` at a time."""
        for start, end in _ranges(len(self.codes), size):
            ids, codes = (
                self._live_between(between, start, end) for between in (self._ids_between, self.codes.between)
            )
            if len(codes) > 0:
                yield ids.to(self.device), codes

    def _ids_between(self, start: int, end: int) -> torch.Tensor:
        return _counted(start, end) if self.ids is None else self.ids.rows[start:end]

    def _extended_by_live(self, nothing: _T, between: Callable[[int, int], torch.Tensor]) -> _T:
        """Return what is between positions, without what was removed."""
        result = nothing
        for start, end in _ranges(len(self.codes), _BLOCK):
            result = result.extended(self._live_between(between, start, end))
        return result

    def _live_between(self, between: Callable[[int, int], torch.Tensor], start: int, end: int) -> torch.Tensor:
        rows = between(start, end)
        return (
            rows if self.live is None else rows_at(rows, torch.from_numpy(np.flatnonzero(self._live_flags(start, end))))
        )

    def _live_flags(self, start: int, end: int) -> NDArray[np.bool_]:
        """Return which of positions were not removed, bool [end - start]."""
        assert self.live is not None
        flags = np.unpackbits(self.live.rows.numpy()[start >> 3 : (end + 7) >> 3], bitorder="little").view(np.bool_)
        return flags[start & 7 :][: end - start]

    def find(self, where: str, ids: torch.Tensor) -> torch.Tensor:
        """Return the positions of ids, int64 [m], -1 where one is not here; errors begin with `where`.

        To be asked only of the newest contents, by one thread at a time, as `added` is.
        """
        if self.ids is not None:
            return self.positions.find(self.ids.rows, self.live_bits, ids, where)
        sought = ids.numpy()
        found = (sought >= 0) & (sought < len(self.codes))
        if self.live is not None:
            found[found] = are_live(self.live.rows.numpy(), sought[found])
        return torch.from_numpy(np.where(found, sought, -1))

    def ids_at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the ids at positions on the codes' device, -1 for -1."""
        return positions if self.device_ids is None else values_at(self.device_ids.rows, positions)

    def ranks(self, positions: torch.Tensor) -> torch.Tensor:
        """Return how many codes that were not removed are before positions; -1 for -1."""
        if self.live is None:
            return positions
        bits, at = self.live.rows.numpy(), positions.cpu().numpy()
        before = np.zeros(len(bits) + 1, np.int64)
        np.cumsum(np.bitwise_count(bits), out=before[1:])
        within = np.bitwise_count(bits[at >> 3] & ((1 << (at & 7)) - 1).astype(np.uint8))
        return torch.from_numpy(np.where(at < 0, -1, before[at >> 3] + within)).to(positions.device)

    def mask(self, where: str, mask: Array) -> torch.Tensor:
        """Return a mask of the codes in order of insertion as bits of positions, uint8 [ceil(n / 8)]."""
        bits = mask_bits(where, mask, len(self), self.device)
        if self.live is None:
            return bits
        of_live, eligible, n = bits.cpu().numpy(), np.empty(len(self.live), np.uint8), 0
        for start, end in _ranges(len(self.codes), _BLOCK):
            flags = self._live_flags(start, end)
            n_flags = int(flags.sum())
            these = np.unpackbits(of_live[n >> 3 : (n + n_flags + 7) >> 3], bitorder="little")
            flags[flags.copy()] = these[n & 7 :][:n_flags]
            eligible[start >> 3 : (end + 7) >> 3] = np.packbits(flags, bitorder="little")
            n += n_flags
        return torch.from_numpy(eligible).to(self.device)

    def by_position(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return a number a code in order of insertion, [len], by position, [n], 0 where a code was removed."""
        if self.live is None:
            return numbers
        there = np.zeros(len(self.codes), numbers.cpu().numpy().dtype)
        there[self._live_flags(0, len(self.codes))] = numbers.cpu().numpy()
        return torch.from_numpy(there).to(self.device)

    def mask_of(self, positions: torch.Tensor) -> torch.Tensor:
        """Return positions on the CPU as bits, uint8 [ceil(n / 8)], on the codes' device."""
        flags = np.zeros(len(self.codes), np.bool_)
        flags[positions.numpy()] = True
        return torch.from_numpy(np.packbits(flags, bitorder="little")).to(self.device)


def _ranges(n: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where each range of up to `size` positions begins and ends."""
    for start in range(0, n, size):
        yield start, min(start + size, n)


def _counted(start: int, end: int) -> torch.Tensor:
    return torch.from_numpy(np.arange(start, end))
