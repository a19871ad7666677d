"""Pairs by the compiled core."""

from __future__ import annotations

import numpy as np
import torch

from fasthash import _core
from fasthash.ops.pairs.found import Pairs


class CompiledSearch:
    """The core's search."""

    def __init__(self, search: _core.PairSearch) -> None:
        self._search = search

    @property
    def first(self) -> int:
        """The pass's first code."""
        return self._search.first

    @property
    def end(self) -> int:
        """Up to which code the pass goes."""
        return self._search.end

    @property
    def share_done(self) -> float:
        """How much of the pass is done."""
        return self._search.share_done

    @property
    def n_parts(self) -> int:
        """Into how many parts codes are cut; -1 for a scan."""
        return self._search.n_parts

    def step(self) -> bool:
        """Search a table, or scan some rows."""
        return self._search.step()

    def take(self) -> Pairs:
        """Return the pass's pairs, and begin the next."""
        i, j, distances = map(torch.from_numpy, self._search.take())
        return i, j, distances


def pair_search(
    codes: torch.Tensor,
    others: torch.Tensor | None,
    mask: torch.Tensor | None,
    radius: int,
    since: int,
    first: int,
    capacity: int,
    threads: int,
    isa: str = "",
    n_parts: int = 0,
) -> CompiledSearch:
    """Return a search the cheapest way, or by tables of so many parts, or with -1 by the scan."""
    other_rows = None if others is None else np.ascontiguousarray(others.numpy())
    rows, bits = np.ascontiguousarray(codes.numpy()), None if mask is None else np.ascontiguousarray(mask.numpy())
    return CompiledSearch(
        _core.PairSearch(rows, other_rows, bits, radius, since, first, capacity, n_parts, threads, isa)
    )
