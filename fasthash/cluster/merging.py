"""The nearest of all that many shards found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TopHits = tuple[NDArray[Any], NDArray[np.int64]]

_FEW_COLUMNS = 8  # of a part are looked at first


def nearest_of(parts: Sequence[TopHits], k: int) -> TopHits:
    """Return the k least of each row by distance, then id, among the columns of several parts, sorted.

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
        order = np.lexsort((ids, distances), axis=1)[:, :k]
        return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)
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


def _order(n_rows: int, rows: NDArray[np.int64], distances: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order by row, then distance, then id."""
    least, most = int(ids.min()), int(ids.max())
    if distances.dtype.kind == "i" and n_rows * (int(distances.max()) + 1) * (most - least + 1) < 2**63:
        # One number instead of three, which sorts in a fifth of the time.
        keys = (rows * (int(distances.max()) + 1) + distances) * (most - least + 1) + (ids - least)
        return np.argsort(keys)
    return np.lexsort((ids, distances, rows))
