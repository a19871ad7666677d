"""Where each id is."""

from __future__ import annotations

import torch

from fasthash.ops.id_map import find_ids, insert_ids, most_ids, new_table


class Positions:
    """The positions of ids, which is what `find` and `admit` are given anew: ids in the order of their positions.

    While ids ascend, as those that count up do, they are found by binary search, and nothing is kept beside them. Else
    there is a hash table, made when it is first needed, of 10.7 to 21.3 bytes an id.

    Between calls ids may be appended, no more. `live` is which positions count, as bits; those beyond them do. Not to
    be called by several threads at once.
    """

    def __init__(self) -> None:
        self._ascending: bool | None = None  # whether the ids seen so far do; None before the first call
        self._table: tuple[torch.Tensor, int] | None = None  # and how many ids may be in it

    def find(self, ids: torch.Tensor, live: torch.Tensor | None, sought: torch.Tensor, where: str) -> torch.Tensor:
        """Return the live position of each id, int64 [m], -1 where there is none; errors begin with `where`."""
        if not self._ascend(ids):
            if self._table is None:
                self._table = (_table_of(ids, len(ids), live, where), len(ids))
            return find_ids(self._table[0], ids, live, sought)
        if len(ids) == 0:
            return torch.full_like(sought, -1)
        positions = torch.searchsorted(ids, sought).clamp_(max=len(ids) - 1)
        found = ids[positions] == sought
        if live is not None:
            found &= are_live(live, positions)
        return torch.where(found, positions, -1)

    def admit(self, ids: torch.Tensor, first: int, live: torch.Tensor | None, where: str) -> int:
        """Take ids from position `first` on; or return the first position whose id another live one has, else -1."""
        if self._ascend(ids[:first]):
            tail = ids[max(0, first - 1) :]
            if bool((tail[1:] > tail[:-1]).all()):
                return -1
            self._ascending = False
        n_new = len(ids) - first
        table, n_inside = self._table or (None, 0)
        if table is None or n_inside + n_new > most_ids(table):
            table, n_inside = _table_of(ids, first, live, where), first
        self._table = (table, n_inside + n_new)
        return insert_ids(table, ids, first, live)

    def _ascend(self, ids: torch.Tensor) -> bool:
        if self._ascending is None:
            self._ascending = bool((ids[1:] > ids[:-1]).all())
        return self._ascending


def _table_of(ids: torch.Tensor, n: int, live: torch.Tensor | None, where: str) -> torch.Tensor:
    """Return a table of the first n ids with room for all."""
    table = new_table(len(ids))
    if (repeated := insert_ids(table, ids[:n], 0, live)) >= 0:
        raise ValueError(f"{where}: expected an index whose ids are distinct, got {int(ids[repeated])} twice")
    return table


def are_live(live: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the bits of positions, bool [m], which are True beyond the end of `live`."""
    at = positions >> 3
    bits = live[at.clamp(max=len(live) - 1)].bitwise_right_shift((positions & 7).to(torch.uint8))
    return (bits & 1).bool() | (at >= len(live))
