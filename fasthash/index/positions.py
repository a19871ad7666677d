"""Where each id is."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.ops.id_map import find_ids, insert_ids, most_ids, new_table


class _Table:
    def __init__(self, n_ids: int) -> None:
        self.slots = new_table(n_ids)
        self.n_inside = 0  # ids that may be in it


class Positions:
    """The positions of ids, which is what `find` and `extended` are given anew: ids in the order of their positions.

    While ids ascend, as those that count up do, they are found by binary search, and nothing is kept beside them. Else
    there is a hash table, made when it is first needed, of 11.3 to 22.7 bytes an id. `live` is which positions count,
    as bits, uint8 [ceil(n / 8)].

    Those that follow by `extended` share the table while it has room; of all that follow from the same, only the newest
    may be kept. Not to be called by several threads at once.
    """

    def __init__(self, table: _Table | None = None) -> None:
        self._table = table
        self._ascending = None if table is None else False  # whether the ids do; None before the first call

    def find(self, ids: torch.Tensor, live: torch.Tensor | None, sought: torch.Tensor, where: str) -> torch.Tensor:
        """Return the live position of each id, int64 [m], -1 where there is none; errors begin with `where`."""
        if not self._ascend(ids):
            if self._table is None:
                self._table = _table_of(ids, len(ids), len(ids), live, where)
            return find_ids(self._table.slots, ids, live, sought)
        all_ids, these = ids.numpy(), sought.numpy()
        if len(ids) == 0:
            return torch.from_numpy(np.full_like(these, -1))
        positions = np.minimum(all_ids.searchsorted(these), len(ids) - 1)
        found = all_ids[positions] == these
        if live is not None:
            found &= are_live(live.numpy(), positions)
        return torch.from_numpy(np.where(found, positions, -1))

    def extended(
        self, ids: torch.Tensor, first: int, live: torch.Tensor | None, kept: torch.Tensor | None, where: str
    ) -> Positions:
        """Return the positions of more ids, those from position `first` on, which are all live.

        Should the change that this belongs to break off, these positions are as good as before, with the bits `kept`.

        Raises:
            ValueError: if an id is that of another live position.
        """
        if self._ascend(ids[:first]) and _are_ascending(ids[max(0, first - 1) :]):
            return self
        table, n_new = self._table, len(ids) - first
        if table is None or table.n_inside + n_new > most_ids(table.slots):
            table, kept = _table_of(ids, first, len(ids), live, where), live
        table.n_inside += n_new
        if (repeated := insert_ids(table.slots, ids, first, live, kept)) >= 0:
            raise ValueError(f"{where}: expected ids that are new, got {int(ids[repeated])} again")
        return self if table is self._table else Positions(table)

    def _ascend(self, ids: torch.Tensor) -> bool:
        if self._ascending is None:
            self._ascending = _are_ascending(ids)
        return self._ascending


def _are_ascending(ids: torch.Tensor) -> bool:
    i = ids.numpy()
    return bool((i[1:] > i[:-1]).all())


def _table_of(ids: torch.Tensor, n: int, n_expected: int, live: torch.Tensor | None, where: str) -> _Table:
    """Return a table of the first n ids with room for as many as expected, and for some that are refused."""
    table = _Table(n_expected + n_expected // 16)
    if (repeated := insert_ids(table.slots, ids[:n], 0, live, live)) >= 0:
        raise ValueError(f"{where}: expected an index whose ids are distinct, got {int(ids[repeated])} twice")
    table.n_inside = n
    return table


def are_live(live: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the bits of positions, bool [m]."""
    bits: NDArray[np.bool_] = (live[positions >> 3] >> (positions & 7).astype(np.uint8) & 1).astype(np.bool_)
    return bits
