"""What shards are asked, and how the answers of several are one: independent of where shards are and how many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fasthash.cluster.merging import TopHits, nearest_of
from fasthash.cluster.shards import Codes, Ids, Numbers, OpenShard
from fasthash.errors import MAX_BITS
from fasthash.ops.arrays import Array

_A = TypeVar("_A")
NearHits = tuple[Ids, NDArray[Any], Ids]


class PartialHits(NamedTuple):
    """The nearest codes among those of the shards that answered.

    Attributes:
        distances: [q, k], as in `fasthash.Hits`.
        ids: int64 [q, k], as in `fasthash.Hits`.
        missing: by the file of each shard that gave no answer, why; empty where the hits are those of all.
    """

    distances: Array
    ids: Array
    missing: dict[str, str]


class PartialRadiusHits(NamedTuple):
    """The codes within a distance among those of the shards that answered.

    Attributes:
        offsets: int64 [q + 1], as in `fasthash.RadiusHits`.
        distances: int32 [offsets[q]], as in `fasthash.RadiusHits`.
        ids: int64 [offsets[q]], as in `fasthash.RadiusHits`.
        missing: by the file of each shard that gave no answer, why; empty where the hits are those of all.
    """

    offsets: Array
    distances: Array
    ids: Array
    missing: dict[str, str]


class Question(Generic[_A]):
    """What a shard is asked."""

    def of(self, shard: OpenShard) -> _A:
        """Return the answer of one shard."""
        raise NotImplementedError

    def of_all(self, shards: Iterable[OpenShard]) -> _A | None:
        """Return the answer of shards, one after the other; None of none."""
        answers = [self.of(shard) for shard in shards]
        return self.merged(answers) if answers else None

    def merged(self, answers: Sequence[_A]) -> _A:
        """Return several answers, at least one, in any order, as one."""
        raise NotImplementedError

    def padded(self, answer: _A | None) -> _A:
        """Return the answer as users get it; None is that of no shard."""
        raise NotImplementedError


@dataclass(frozen=True)
class Nearest(Question[TopHits]):
    """The k nearest codes: distances and ids [q, up to k]."""

    queries: Any
    k: int
    among: Ids | None
    threads: int | None
    bits: int

    def of_all(self, shards: Iterable[OpenShard]) -> TopHits | None:
        """Search; the k-th distance in 1, 2, 4, ... shards bounds the search of those that follow."""
        bound, found = MAX_BITS, []
        for i, shard in enumerate(shards, 1):
            found.append(shard.search(self.queries, self.k, bound, self.among, self.threads, self.bits))
            if i & (i - 1) == 0:
                found = [self.merged(found)]
                distances = found[0][0]
                if distances.shape[1] == self.k and distances.dtype.kind == "i" and len(distances):
                    bound = min(bound, int(distances[:, -1].max()))
        return self.merged(found) if found else None

    def merged(self, answers: Sequence[TopHits]) -> TopHits:
        """Select."""
        return nearest_of(answers, self.k)

    def padded(self, answer: TopHits | None) -> TopHits:
        """Fill up to k columns."""
        floats = np.asarray(self.queries).dtype.kind == "f"
        none = np.float32(np.inf) if floats else np.int32(2**31 - 1)
        distances, ids = answer or (np.empty((len(self.queries), 0), type(none)), np.empty((len(self.queries), 0), int))
        missing = ((0, 0), (0, self.k - ids.shape[1]))
        return np.pad(distances, missing, constant_values=none), np.pad(ids, missing, constant_values=-1)


@dataclass(frozen=True, kw_only=True)
class NearestByNumbers(Nearest):
    """The same with factors and offsets of the codes' scores: by the file of each shard those of its codes, or None."""

    numbers: Mapping[str, tuple[Numbers | None, Numbers | None]]

    def of(self, shard: OpenShard) -> TopHits:
        """Search."""
        numbers = self.numbers[shard.shard.file]
        return shard.search(self.queries, self.k, MAX_BITS, self.among, self.threads, self.bits, *numbers)

    def of_all(self, shards: Iterable[OpenShard]) -> TopHits | None:
        """Search one after the other: scores bound no search."""
        return Question.of_all(self, shards)


@dataclass(frozen=True)
class Within(Question[NearHits]):
    """The codes within a radius: offsets, distances and ids."""

    queries: Any
    radius: int
    max_hits: int | None
    exclude: Ids | None
    among: Ids | None
    threads: int | None

    def of(self, shard: OpenShard) -> NearHits:
        """Search."""
        return shard.radius_search(self.queries, self.radius, self.max_hits, self.exclude, self.among, self.threads)

    def merged(self, answers: Sequence[NearHits]) -> NearHits:
        """Order by query, distance and id."""
        if len(answers) == 1:
            return answers[0]
        n_queries = len(self.queries)
        queries = np.concatenate([np.repeat(np.arange(n_queries), np.diff(offsets)) for offsets, _, _ in answers])
        distances, ids = (np.concatenate([answer[i] for answer in answers]) for i in (1, 2))
        order = np.lexsort((ids, distances, queries))
        counts = np.bincount(queries, minlength=n_queries)
        if self.max_hits is not None:
            rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
            order = order[rank < self.max_hits]
            counts = np.minimum(counts, self.max_hits)
        return np.concatenate([[0], np.cumsum(counts)]), distances[order], ids[order]

    def padded(self, answer: NearHits | None) -> NearHits:
        """Return hits."""
        if answer is not None:
            return answer
        return np.zeros(len(self.queries) + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.int64)


@dataclass(frozen=True)
class Contains(Question[NDArray[np.bool_]]):
    """Which ids there are."""

    ids: Ids

    def of(self, shard: OpenShard) -> NDArray[np.bool_]:
        """Look up."""
        return shard.contains(self.ids)

    def merged(self, answers: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """Return which are anywhere."""
        found: NDArray[np.bool_] = np.logical_or.reduce(answers)
        return found

    def padded(self, answer: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """Return none where there are no shards."""
        return np.zeros(len(self.ids), np.bool_) if answer is None else answer


@dataclass(frozen=True)
class Codings(Question[tuple[NDArray[np.bool_], Codes]]):
    """The codes of ids, and which of these there are."""

    ids: Ids
    width: int

    def of(self, shard: OpenShard) -> tuple[NDArray[np.bool_], Codes]:
        """Look up."""
        found = shard.contains(self.ids)
        codes = np.zeros((len(self.ids), self.width), np.uint8)
        codes[found] = shard.get(self.ids[found])
        return found, codes

    def merged(self, answers: Sequence[tuple[NDArray[np.bool_], Codes]]) -> tuple[NDArray[np.bool_], Codes]:
        """Return what is anywhere; each id is in one shard."""
        found, codes = zip(*answers, strict=True)
        return np.logical_or.reduce(found), np.bitwise_or.reduce(codes)

    def padded(self, answer: tuple[NDArray[np.bool_], Codes] | None) -> tuple[NDArray[np.bool_], Codes]:
        """Return none where there are no shards."""
        return answer or (np.zeros(len(self.ids), np.bool_), np.zeros((len(self.ids), self.width), np.uint8))


@dataclass(frozen=True)
class Below(Question[dict[str, Ids]]):
    """How many codes of each shard, by its file, have lower ids than each."""

    ids: Ids

    def of(self, shard: OpenShard) -> dict[str, Ids]:
        """Count."""
        return {shard.shard.file: np.searchsorted(shard.ids, self.ids)}

    def merged(self, answers: Sequence[dict[str, Ids]]) -> dict[str, Ids]:
        """Return those of all."""
        return {file: counts for answer in answers for file, counts in answer.items()}

    def padded(self, answer: dict[str, Ids] | None) -> dict[str, Ids]:
        """Return what there is."""
        return answer or {}
