"""Hits within a radius in parts of bounded size, of each query only so many as are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.errors import MAX_INTEGER

Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # offsets, distances and ids, as `RadiusHits` has them

PART_HITS = 2**20
_LEAST_ROOM = 64  # for the hits of a query


class RadiusSearch(Protocol):
    """A search of some codes for any queries, uint8 [q, w]."""

    @property
    def n_codes(self) -> int:
        """How many codes there are."""

    def nearest(self, queries: torch.Tensor, k: int, max_distance: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and ids as `hamming_topk` does, of codes that are not farther."""

    def within(self, queries: torch.Tensor, radius: int) -> Found:
        """Return offsets, distances and ids as `hamming_radius` does."""


@dataclass(frozen=True)
class Sought:
    """What is searched for.

    Attributes:
        queries: uint8 [q, w].
        radius: the largest distance of a hit.
        max_hits: of a query; of more hits the first come. None is no bound.
        exclude: int64 [q] on the CPU, an id that is no hit of the query, -1 for none. None is none of any query.
    """

    queries: torch.Tensor
    radius: int
    max_hits: int | None
    exclude: torch.Tensor | None


def radius_hits(search: RadiusSearch, sought: Sought) -> Found:
    """Return the hits of all queries; those beyond `max_hits` take no memory but a part's."""
    if sought.max_hits is None:
        found = search.within(sought.queries, sought.radius)
        return found if sought.exclude is None else _without(found, sought.exclude)
    parts = [found for _, found in radius_parts(search, sought, 0, PART_HITS)]
    counts = np.concatenate([np.empty(0, np.int64), *(np.diff(offsets.cpu().numpy()) for offsets, _, _ in parts)])
    distances = np.concatenate([np.empty(0, np.int32), *(part[1].cpu().numpy() for part in parts)])
    ids = np.concatenate([np.empty(0, np.int64), *(part[2].cpu().numpy() for part in parts)])
    return _found(counts, distances, ids, sought.queries.device)


def radius_parts(search: RadiusSearch, sought: Sought, first: int, part_hits: int) -> Iterator[tuple[int, Found]]:
    """Yield the first query of each part, and the hits of this one and of those that follow it up to the next part.

    A part has at most `part_hits` hits, or is one query's. Queries are searched in blocks that have room for as many,
    each query for the same number. A part ends before a query with more hits than that, and the next block gives more.
    """
    n, device = len(sought.queries), sought.queries.device
    most = MAX_INTEGER if sought.max_hits is None else sought.max_hits
    room = _LEAST_ROOM
    while first < n:
        room = min(room, most)
        end = min(n, first + max(1, part_hits // room))
        queries = sought.queries[first:end]
        exclude = None if sought.exclude is None else sought.exclude[first:end]
        if room >= part_hits and sought.max_hits is None:
            found = search.within(queries, sought.radius)
            yield first, found if exclude is None else _without(found, exclude)
            first, room = end, max(_LEAST_ROOM, room // 2)
            continue
        k = min(room + (exclude is not None) + (room < most), max(1, search.n_codes))
        distances, ids = (x.cpu().numpy() for x in search.nearest(queries, k, sought.radius))
        wanted = ids != -1
        if exclude is not None:
            wanted &= ids != exclude.numpy()[:, None]
            if room == most:
                wanted &= wanted.cumsum(1) <= room
        counts = wanted.sum(1)
        more = np.flatnonzero(counts > room)
        n_whole = int(more[0]) if len(more) else end - first
        if n_whole > 0:
            wanted[n_whole:] = False
            yield first, _found(counts[:n_whole], distances[wanted], ids[wanted], device)
        first += n_whole
        room = 8 * room if len(more) else max(_LEAST_ROOM, room // 2, 2 * int(counts.max()))


def _found(
    counts: NDArray[np.int64], distances: NDArray[np.int32], ids: NDArray[np.int64], device: torch.device
) -> Found:
    """Return the hits of queries side by side, of which each has so many."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    offsets_, distances_, ids_ = (torch.from_numpy(x).to(device) for x in (offsets, distances, ids))
    return offsets_, distances_, ids_


def _without(found: Found, exclude: torch.Tensor) -> Found:
    """Return hits without those of each query that it excludes."""
    offsets, distances, ids = (x.cpu().numpy() for x in found)
    queries = np.repeat(np.arange(len(exclude)), np.diff(offsets))
    kept = ids != exclude.numpy()[queries]
    counts = np.bincount(queries[kept], minlength=len(exclude))
    return _found(counts, distances[kept], ids[kept], found[1].device)
