"""The nearest of all that many shards found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fasthash.errors import MAX_BITS
from fasthash.ops.hamming.hits import NO_DISTANCE

TopHits = tuple[NDArray[Any], NDArray[np.int64]]

_DISTANCES = MAX_BITS + 2  # of codes, and that of no hit
_FEW_COLUMNS = 8  # of a part are looked at first


def nearest_of(parts: Sequence[TopHits], k: int) -> TopHits:
    """Return the k least of each row by distance, then id, -1 last, among the columns of several parts, sorted.

    The first column of every part bounds the k-th distance: k parts that begin below a distance have k hits below it.
    So most columns of many parts are never read.

    Args:
        parts: distances [q, m] and ids, int64 [q, m], of any m; rows ascend by distance, then id.
        k: at least 1.

    Returns:
        Distances and ids [q, up to k].
    """
    if len(parts) == 1:
        return parts[0][0][:, :k], parts[0][1][:, :k]
    parts = [part for part in parts if part[0].shape[1]] or list(parts[:1])
    n_queries = len(parts[0][0])
    if n_queries == 0 or len(parts) < k:
        distances, ids = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
        return _least(distances, ids, k)
    first = np.stack([distances[:, 0] for distances, _ in parts])
    bound = np.partition(first, k - 1, axis=0)[k - 1]
    near = [_up_to(bound, *part) for part in parts]
    rows, distances, ids = (np.concatenate(columns) for columns in zip(*near, strict=True))
    order = _order(n_queries, rows, distances, ids)
    counts = np.bincount(rows, minlength=n_queries)
    chosen = order[(np.cumsum(counts) - counts)[:, None] + np.arange(k)]
    return distances[chosen], ids[chosen]


def _up_to(
    bound: NDArray[Any], distances: NDArray[Any], ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
    """Return rows, distances and ids of those up to the bound of their row [q]."""
    rows = np.flatnonzero(distances[:, 0] <= bound)
    limits = bound[rows, None]
    within = distances[rows, :_FEW_COLUMNS] <= limits
    if distances.shape[1] > _FEW_COLUMNS and within[:, -1].any():
        within = distances[rows] <= limits
    at, columns = np.nonzero(within)
    rows = rows[at]
    return rows, distances[rows, columns], ids[rows, columns]


def _least(distances: NDArray[Any], ids: NDArray[np.int64], k: int) -> TopHits:
    """Return the k least of each row."""
    packing = _Packing.of(1, distances, ids)
    if packing is None:
        order = np.lexsort((ids, ids == -1, distances), axis=1)[:, :k]
        return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)
    keys = packing.keys(np.int64(0), distances, ids)
    keys.sort(axis=1)
    return packing.unpacked(keys[:, :k])


def _order(n_rows: int, rows: NDArray[np.int64], distances: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order by row, then distance, then id."""
    packing = _Packing.of(n_rows, distances, ids)
    if packing is None:
        return np.lexsort((ids, ids == -1, distances, rows))
    return np.argsort(packing.keys(rows, distances, ids))


class _Packing(NamedTuple):
    """How a row, a distance of codes and an id are one number, which sorts in a fifth of the time of three."""

    least_id: int
    n_ids: int

    @classmethod
    def of(cls, n_rows: int, distances: NDArray[Any], ids: NDArray[np.int64]) -> _Packing | None:
        """Return it, or None where 63 bits are too few or distances are not of codes."""
        if distances.dtype != np.int32 or ids.size == 0:
            return None
        packing = cls(int(ids.min()), int(ids.max()) - int(ids.min()) + 1)
        return packing if n_rows * _DISTANCES * packing.n_ids < 2**63 else None

    def keys(
        self, rows: NDArray[np.int64] | np.int64, distances: NDArray[np.int32], ids: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the numbers; that no hit has no distance is beyond all distances."""
        keys: NDArray[np.int64] = rows * _DISTANCES + np.minimum(distances, _DISTANCES - 1)
        keys *= self.n_ids
        keys += ids - self.least_id
        return keys

    def unpacked(self, keys: NDArray[np.int64]) -> TopHits:
        """Return distances and ids of numbers whose row is 0."""
        distances, ids = np.divmod(keys, self.n_ids)
        distances[distances == _DISTANCES - 1] = NO_DISTANCE
        return distances.astype(np.int32), ids + self.least_id
