"""What an index holds at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from fasthash.index.positions import Positions, are_live
from fasthash.index.rows import Rows
from fasthash.ops.arrays import Array
from fasthash.ops.hamming.op import mask_bits, mask_flags
from fasthash.ops.packing.op import pack_bits_op

_CPU = torch.device("cpu")
_MOST_REMOVED = 1 / 8  # of all positions; beyond, the codes move together


@dataclass(frozen=True, eq=False)
class Contents:
    """Codes and their ids by position, the order of insertion. Nothing of it changes: what changes it makes another.

    So a search that was given contents finds what was there then, whatever happens meanwhile, and a change is made by
    the one assignment that follows when all is done. Those that follow from another share its memory; of all that
    follow from the same contents by `added`, only the newest may be kept.

    Removed codes stay where they are and are passed over, until they are too many.

    Attributes:
        codes: uint8 [n, w].
        ids: int64 [n] in the memory of the CPU, or None while they are 0, 1, 2, ...
        ids_there: the same on the device of the codes.
        live: bits, 0 where a code was removed, uint8, on the CPU; 1 beyond their end. None if none was.
        n_removed: how many were.
        next_id: the id that the next code gets, or None if ids were given.
        positions: where the ids are.
        arrangement: another object where the same codes are at other positions.
    """

    codes: Rows
    ids: Rows | None = None
    ids_there: Rows | None = None
    live: torch.Tensor | None = None
    n_removed: int = 0
    next_id: int | None = 0
    positions: Positions = field(default_factory=Positions)
    arrangement: object = field(default_factory=object)

    def __len__(self) -> int:
        return len(self.codes) - self.n_removed

    @property
    def device(self) -> torch.device:
        """Where the codes are."""
        return self.codes.rows.device

    def added(self, where: str, codes: torch.Tensor, ids: torch.Tensor | None) -> Contents:
        """Return these and more codes, with these ids, int64 [n] on the CPU, or with those that count on.

        Raises:
            ValueError: if an id is there already, or twice.
        """
        n, next_id = len(self.codes), self.next_id or None
        if ids is None:
            if self.next_id is None:
                raise ValueError(f"{where}: expected ids, as the codes in the index were added with ids, got none")
            next_id = self.next_id + len(codes)
            if self.ids is None:
                return replace(self, codes=self.codes.extended(codes), next_id=next_id)
            ids = torch.arange(self.next_id, next_id)
        with_ids = self._with_ids()
        assert with_ids.ids is not None
        assert with_ids.ids_there is not None
        all_ids = with_ids.ids.extended(ids)
        if (repeated := self.positions.admit(all_ids.rows, n, self.live, where)) >= 0:
            raise ValueError(f"{where}: expected ids that are new, got {int(all_ids.rows[repeated])} again")
        there = all_ids if self.device == _CPU else with_ids.ids_there.extended(ids.to(self.device))
        return replace(with_ids, codes=self.codes.extended(codes), ids=all_ids, ids_there=there, next_id=next_id)

    def _with_ids(self) -> Contents:
        if self.ids is not None:
            return self
        ids = torch.arange(len(self.codes))
        return replace(self, ids=Rows(ids), ids_there=Rows(ids.to(self.device)))

    def removed(self, positions: torch.Tensor) -> Contents:
        """Return these without the codes at distinct live positions, int64 [m] on the CPU."""
        if len(positions) == 0:
            return self
        live = np.full((len(self.codes) + 7) // 8, 255, np.uint8)
        if self.live is not None:
            live[: len(self.live)] = self.live.numpy()
        at = positions.numpy()
        np.bitwise_and.at(live, at >> 3, ~(1 << (at & 7)).astype(np.uint8))
        left = replace(self, live=torch.from_numpy(live), n_removed=self.n_removed + len(positions))
        return left._together() if left.n_removed > _MOST_REMOVED * len(self.codes) else left

    def _together(self) -> Contents:
        """Return the same codes at positions without gaps."""
        codes, ids = (Rows.empty(x.shape[1:], x.dtype, x.device).extended(x) for x in (self.live_codes, self.live_ids))
        there = ids if self.device == _CPU else Rows(ids.rows.to(self.device))
        return Contents(codes, ids, there, next_id=self.next_id)

    def alone(self) -> Contents:
        """Return the same contents for another index to change."""
        ids, there = (None if rows is None else rows.alone() for rows in (self.ids, self.ids_there))
        return replace(self, codes=self.codes.alone(), ids=ids, ids_there=there, positions=Positions())

    @property
    def eligible(self) -> torch.Tensor | None:
        """Bits of the codes that were not removed, uint8 [ceil(n / 8)], on their device; None if none was."""
        if self.live is None:
            return None
        bits = np.full((len(self.codes) + 7) // 8, 255, np.uint8)
        bits[: len(self.live)] = self.live.numpy()
        return torch.from_numpy(bits).to(self.device)

    @property
    def _live_flags(self) -> torch.Tensor:
        eligible = self.eligible
        assert eligible is not None
        return mask_flags(eligible, len(self.codes))

    def n_live(self, n: int) -> int:
        """Return how many of the first n codes were not removed."""
        return n if self.live is None else int(self._live_flags[:n].sum())

    @property
    def live_codes(self) -> torch.Tensor:
        """The codes in order of insertion, uint8 [len, w]; a view, or a copy if some were removed."""
        return self.codes.rows if self.live is None else self.codes.rows[self._live_flags]

    @property
    def live_ids(self) -> torch.Tensor:
        """The ids of `live_codes`, int64 [len] on the CPU."""
        ids = torch.arange(len(self.codes)) if self.ids is None else self.ids.rows
        return ids if self.live is None else ids[self._live_flags.cpu()]

    def find(self, where: str, ids: torch.Tensor) -> torch.Tensor:
        """Return the positions of ids, int64 [m], -1 where one is not here; errors begin with `where`.

        To be asked only of the newest contents, by one thread at a time, as `added` is.
        """
        if self.ids is not None:
            return self.positions.find(self.ids.rows, self.live, ids, where)
        found = (ids >= 0) & (ids < len(self.codes))
        if self.live is not None:
            found &= are_live(self.live, ids.clamp(0, max(0, len(self.codes) - 1)))
        return torch.where(found, ids, -1)

    def ids_at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the ids at positions on the codes' device, -1 for -1."""
        if self.ids_there is None or len(self.codes) == 0:
            return positions
        return torch.where(positions < 0, positions, self.ids_there.rows[positions.clamp(min=0)])

    def ranks(self, positions: torch.Tensor) -> torch.Tensor:
        """Return how many codes that were not removed are before positions; -1 for -1."""
        if self.live is None:
            return positions
        before = self._live_flags.cumsum(0) - 1
        return torch.where(positions < 0, positions, before[positions.clamp(min=0)])

    def mask(self, where: str, mask: Array) -> torch.Tensor:
        """Return a mask of the codes in order of insertion as bits of positions, uint8 [ceil(n / 8)]."""
        bits = mask_bits(where, mask, len(self), self.device)
        if self.live is None:
            return bits
        flags = self._live_flags
        flags[flags.clone()] = mask_flags(bits, len(self))
        packed: torch.Tensor = pack_bits_op(flags[None])[0]
        return packed

    def mask_of(self, positions: torch.Tensor) -> torch.Tensor:
        """Return positions as bits, uint8 [ceil(n / 8)], on the codes' device."""
        flags = torch.zeros(len(self.codes), dtype=torch.bool, device=self.device)
        flags[positions.to(self.device)] = True
        packed: torch.Tensor = pack_bits_op(flags[None])[0]
        return packed
