"""From ids to the positions that have them."""

from __future__ import annotations

import numpy as np
import torch

from fasthash.ops.registry import Kernel, choose, cpu_kernels

KERNELS = {
    "reference": Kernel("fasthash.ops.id_map.reference", ("cpu",)),
    **cpu_kernels("fasthash.ops.id_map.kernel_cpu"),
}

_EMPTY = -1
_FULLEST = 0.75


def new_table(n_ids: int) -> torch.Tensor:
    """Return an empty table with room for so many ids.

    Returns:
        int64 [a power of two], of 8 / 0.75 to twice as many bytes an id. A slot holds the position of an id in its low
        40 bits, in the others a part of the id's hash, or is -1.
    """
    n_slots = 2
    while n_slots * _FULLEST < n_ids:
        n_slots *= 2
    # NumPy asks the system for huge pages, which spare a lookup of where memory is at nearly every id.
    return torch.from_numpy(np.full(n_slots, _EMPTY))


def most_ids(table: torch.Tensor) -> int:
    """Return how many ids may have been inserted in a table, the repeated ones among them."""
    return int(len(table) * _FULLEST)


def insert_ids(
    table: torch.Tensor,
    ids: torch.Tensor,
    first: int,
    live: torch.Tensor | None = None,
    kept: torch.Tensor | None = None,
    *,
    kernel: str | None = None,
    where: str = "id_map",
) -> int:
    """Put the live ones of positions from `first` on into a table, until one's id is found to be another live one's.

    Args:
        table: of `new_table`, with the positions before `first` in it; changed. Positions that were inserted, but are
            not among `ids` or had another id then, do no harm.
        ids: int64 [n], contiguous.
        first: from 0 to n.
        live: which positions count, as bits, uint8; all beyond them do.
        kept: which positions `find_ids` may still be asked for, whatever `live` says of them, as bits; all beyond them
            and by default all. An id takes the slot that it had at another position.
        kernel: a name from `fasthash.ops.id_map.KERNELS`; by default the best one.
        where: what errors begin with.

    Returns:
        A position from `first` on whose id another live one has, or -1.
    """
    insert = choose(KERNELS, ids.device, kernel, where).function("insert_ids")
    repeated: int = insert(table, ids, first, live, kept)
    return repeated


def find_ids(
    table: torch.Tensor,
    ids: torch.Tensor,
    live: torch.Tensor | None,
    sought: torch.Tensor,
    threads: int = 0,
    *,
    kernel: str | None = None,
    where: str = "id_map",
) -> torch.Tensor:
    """Return the live position of each id.

    Args:
        table: with the positions of `ids` in it, and maybe later ones.
        ids: int64 [n], contiguous, the live ones distinct.
        live: as in `insert_ids`; None for all.
        sought: int64 [m], contiguous.
        threads: 0 by default.
        kernel: a name from `fasthash.ops.id_map.KERNELS`; by default the best one.
        where: what errors begin with.

    Returns:
        int64 [m], -1 where an id has no live position.
    """
    find = choose(KERNELS, ids.device, kernel, where).function("find_ids")
    positions: torch.Tensor = find(table, ids, live, sought, threads)
    return positions
