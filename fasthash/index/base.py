"""What every index has: packed codes, their ids, and the checks of what comes in."""

from __future__ import annotations

import contextlib
import io
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from threading import RLock
from typing import Any, BinaryIO, ClassVar, SupportsIndex
from weakref import WeakValueDictionary

import numpy as np
import torch
from tqdm import tqdm

from fasthash.errors import (
    MAX_BITS,
    check_codes,
    check_device_name,
    check_flag,
    check_floating,
    check_integer,
    check_values,
    dtype_name,
)
from fasthash.index import storage
from fasthash.index.codes import CodeRows, Codes
from fasthash.index.contents import Contents
from fasthash.index.rerank import check_reranking, nearest_candidates, second_distance_of
from fasthash.index.rows import Rows, copied, values_at
from fasthash.index.search import Search
from fasthash.ops.arrays import Array, all_as_given, as_given, to_tensor, typed_if_empty
from fasthash.ops.asymmetric.op import MAX_QUERY_BITS, numbers_of_codes
from fasthash.ops.asymmetric.reference import check_factors
from fasthash.ops.declaration import RefusedError
from fasthash.ops.hamming import Hits, RadiusHits
from fasthash.ops.hamming.hits import check_hits
from fasthash.ops.hamming.op import thread_count
from fasthash.ops.hamming.radius_parts import PART_HITS, Found, Sought, radius_hits, radius_parts
from fasthash.ops.pairs import HammingPairs
from fasthash.ops.pairs.found import Pairs
from fasthash.ops.pairs.op import pairs_of

_CPU = torch.device("cpu")
_FEW = 1 / 8  # of an index
_INTEGERS = (
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64
)  # fmt: skip

_WITH_LOCKS: WeakValueDictionary[int, Index] = WeakValueDictionary()  # by `id`, as a subclass may compare equal


def _renew_locks() -> None:
    """Free what threads held that a fork did not copy; contents are whole at every moment."""
    for index in list(_WITH_LOCKS.values()):
        index._make_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class Index(ABC):
    """Packed codes with ids; a subclass says how they are searched.

    Args:
        n_bits: length of the codes, 1 to 4,096.
        device: where the codes are kept and searched.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ("n_bits",)  # the arguments of the class that `save` writes, attributes too
    _NOT_COPIED: ClassVar[tuple[str, ...]] = ("_contents", "_lock")  # attributes that `__getstate__` leaves out

    def __init__(self, n_bits: int, *, device: str | torch.device = "cpu") -> None:
        self.n_bits = check_integer(type(self).__name__, "n_bits", n_bits, 1, MAX_BITS)
        self.device = check_search_device(type(self).__name__, device)
        self._contents = self._empty()
        self._make_locks()

    def _commit(self, contents: Contents) -> None:
        """Make a change, all of which is done."""
        self._contents = contents

    def _make_locks(self) -> None:
        self._lock = RLock()  # held while contents are changed, and while their `positions` are asked
        _WITH_LOCKS[id(self)] = self

    def _exclusive(self, where: str) -> RLock:
        """Return the lock, for a `with` statement, unless this is called in the midst of what holds it."""
        return refuse_reentry(where, self._lock)

    @property
    def _width(self) -> int:
        return (self.n_bits + 7) // 8

    def _empty(self) -> Contents:
        return Contents(self._kind_of_codes.empty(self._width, self.device))

    @property
    def _kind_of_codes(self) -> type[Codes]:
        return CodeRows

    @property
    def _cpu_only(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._contents)

    def __contains__(self, id: SupportsIndex) -> bool:
        i = operator.index(id)
        return -(2**63) <= i < 2**63 and bool(self._find(type(self).__name__, torch.tensor([i], device="cpu"))[0] >= 0)

    def __iter__(self) -> Iterator[int]:
        for ids, _ in self._contents.blocks(4096):  # which as Python integers take five times the memory
            yield from ids.tolist()

    @property
    def codes(self) -> torch.Tensor:
        """The codes, uint8 [len(index), ceil(n_bits / 8)], in order of insertion, not to be written to.

        A view of the index's own memory: a write ends the process where that is mapped from a file, and changes the
        bytes that an index is of. Codes of planes are a copy, and after removals all are, until so many were removed
        that the index moved the others together.
        """
        return self._contents.live_codes

    @property
    def ids(self) -> torch.Tensor:
        """The ids of `codes`, int64 [len(index)]; a copy."""
        return self._contents.copied_ids.to(self.device)

    def reset(self) -> None:
        """Remove every code, and number those that are added from 0."""
        with self._exclusive(f"{type(self).__name__}.reset"):
            self._commit(self._empty())

    def add(self, codes: Array, ids: Array | None = None) -> None:
        """Add a copy of codes.

        Amortised O(n): memory doubles as it fills, and while it does the old one and the new one are there. Ids that do
        not ascend need a table, see `fasthash/index/README.md`.

        Args:
            codes: uint8 [n, ceil(n_bits / 8)]; bits beyond `n_bits` are 0.
            ids: integers [n] that fit int64, none twice, none in the index, none -1, which stands for no hit. By
                default codes are numbered in order of insertion, none of whose numbers is used again before `reset`. An
                index has ids of one kind or the other.

        Raises:
            TypeError: if `codes` is not uint8, or `ids` not integers.
            ValueError: if shapes do not fit or an id may not be used. The index is unchanged.
        """
        self._add(f"{type(self).__name__}.add", codes, ids)

    def _add(self, where: str, codes: Array, ids: Array | None) -> None:
        c, i = self._check_added(where, codes, ids)
        with self._exclusive(where):
            self._commit(self._with(where, c, i))

    def _with(self, where: str, codes: torch.Tensor, ids: torch.Tensor | None) -> Contents:
        """Return the contents and more codes, which are checked."""
        if ids is not None and self._contents.next_id:
            raise ValueError(f"{where}: expected no ids, as the codes in the index were added without, got ids")
        return self._contents.added(where, codes, ids)

    def upsert(self, codes: Array, ids: Array) -> int:
        """Add a copy of codes in the place of those that have their ids, if any.

        All are inserted last, the new ones and those that replace others.

        Args:
            codes: uint8 [n, ceil(n_bits / 8)]; bits beyond `n_bits` are 0.
            ids: integers [n] that fit int64, none twice, none -1; in an index that numbers its codes, of codes in it.

        Returns:
            How many codes were replaced.

        Raises:
            TypeError: if `codes` is not uint8, or `ids` not integers.
            ValueError: if shapes do not fit or an id may not be used. The index is unchanged.
        """
        where = f"{type(self).__name__}.upsert"
        if ids is None:
            raise TypeError(f"{where}: expected ids, got None")
        c, i = self._check_added(where, codes, ids)
        assert i is not None
        ordered = np.sort(i.numpy())
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(repeated):
            raise ValueError(f"{where}: expected ids none twice, got {repeated[0]} again")
        with self._exclusive(where):
            contents = self._contents
            positions = contents.find(where, i)
            if contents.next_id:
                _check_found(where, i, positions)
            known = _found(positions)
            self._commit(contents.upserted(where, known, c, i))
        return len(known)

    def remove(self, ids: Array, *, ignore_missing: bool = False) -> int:
        """Remove codes; the others keep their ids and their order.

        Amortised O(len(ids) + len(index) / 64). Removed codes stay in memory, passed over, until they are an eighth of
        all; then the others are copied together.

        Args:
            ids: integers [m], or a set of them.
            ignore_missing: whether ids that are not in the index are passed over.

        Returns:
            How many codes were removed.

        Raises:
            TypeError: if `ids` is not integers.
            ValueError: if an id is not in the index, unless these are ignored. The index is unchanged.
        """
        where = f"{type(self).__name__}.remove"
        check_flag(where, "ignore_missing", ignore_missing)
        i = self._check_ids(where, listed(ids))
        with self._exclusive(where):
            positions = self._contents.find(where, i)
            if not ignore_missing:
                _check_found(where, i, positions)
            known = _found(positions)
            self._commit(self._contents.removed(known))
        return len(known)

    def merge(self, other: Index) -> None:
        """Add a copy of the codes of another index, which stays as it is.

        Where both number their codes, these are numbered on, as `add` does; where both were given ids, they are kept.

        Raises:
            TypeError: if `other` is no index.
            ValueError: if it has codes of another length, ids of the other kind, or one that is here, too. The index is
                unchanged.
        """
        where = f"{type(self).__name__}.merge"
        if not isinstance(other, Index):
            raise TypeError(f"{where}: expected other to be an index of fasthash, got {type(other).__name__}")
        if other.n_bits != self.n_bits:
            raise ValueError(f"{where}: expected other with codes of {self.n_bits} bits, got {other.n_bits}")
        theirs = other._contents
        if len(theirs) > 0:
            self._add(where, theirs.live_codes, None if theirs.next_id is not None else theirs.live_ids)

    def contains(self, ids: Array) -> Array:
        """Return which ids are in the index, bool [m], a tensor if `ids` is one, else a NumPy array.

        Raises:
            TypeError: if `ids` is not integers [m].
        """
        where = f"{type(self).__name__}.contains"
        positions = self._find(where, self._check_ids(where, ids))
        return as_given(torch.from_numpy(positions.numpy() >= 0), ids)

    def get(self, ids: Array) -> Array:
        """Return the codes of ids.

        Args:
            ids: integers [m].

        Returns:
            uint8 [m, ceil(n_bits / 8)], a tensor if `ids` is one, else a NumPy array.

        Raises:
            TypeError: if `ids` is not integers.
            ValueError: if an id is not in the index.
        """
        where = f"{type(self).__name__}.get"
        i = self._check_ids(where, ids)
        with self._exclusive(where):
            contents = self._contents
            positions = contents.find(where, i)
        _check_found(where, i, positions)
        return as_given(contents.codes.at(positions), ids)

    def batches(self, size: int = 65_536) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield ids [m] and codes [m, ceil(n_bits / 8)], copies, in order of insertion, 1 to `size` at a time."""
        blocks = self._contents.blocks(check_integer(f"{type(self).__name__}.batches", "size", size, 1))
        return ((copied(ids), copied(codes)) for ids, codes in blocks)

    def _find(self, where: str, ids: torch.Tensor) -> torch.Tensor:
        with self._exclusive(where):
            return self._contents.find(where, ids)

    def _check_added(self, where: str, codes: Array, ids: Array | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        c = self._check_codes(where, "codes", codes).to(self.device)
        if ids is None:
            return c, None
        i = self._check_ids(where, ids)
        if len(i) != len(c):
            raise ValueError(f"{where}: expected ids of shape {[len(c)]} for {len(c)} codes, got {list(i.shape)}")
        if (i.numpy() == -1).any():
            raise ValueError(f"{where}: expected ids other than -1, which stands for no hit, got -1")
        return c, i

    def search(
        self,
        queries: Array,
        k: int,
        *,
        mask: Array | None = None,
        among: Array | None = None,
        threads: int | None = None,
        rerank: Array | str | Callable[[Array], Array] | None = None,
        rerank_queries: Array | None = None,
        metric: str = "inner_product",
        factor: int = 10,
        bits: int = 4,
        factors: Array | None = None,
        offsets: Array | None = None,
    ) -> Hits:
        """Find the k nearest codes of every query, or of its nearest codes the k that a second distance finds nearest.

        Args:
            queries: codes, uint8 [q, ceil(n_bits / 8)], whose bits beyond `n_bits` are 0: the distance is Hamming's. Or
                projections, floating-point [q, n_bits], a hasher's `transform`, which find more for somewhat more time:
                the distance is the negative score of `fasthash.asymmetric_topk`, the inner product with the codes as
                vectors of -1 and +1 that it is near to.
            k: how many hits a query gets, at least 1.
            mask: the eligible codes in order of insertion, as in `fasthash.hamming_topk`.
            among: the ids of the eligible codes instead, integers [m] or a set; those that are not in the index are
                passed over. Where they are less than an eighth of the index, no others are looked at.
            threads: as in `fasthash.hamming_topk`.
            rerank: what the `factor * k` nearest codes are ordered by. An array: the vectors that
                the codes stand for, floating-point or int8 [len(index), d] in order of insertion, of which only the
                candidates' are read, from a memory-mapped file for instance. "asymmetric": the codes themselves, as
                vectors of -1 and +1, d being n_bits. A function: it gets a copy of the ids of the candidates, int64
                [q, c] with -1 where there are fewer, and returns their distances, floating-point [q, c].
            rerank_queries: floating-point [q, d], compared with vectors or codes: the queries' embeddings or, for
                "asymmetric", their projections (a hasher's `transform`).
            metric: "inner_product", of which the distance is the negative, or "l2", of which it is the square.
            factor: how many times k candidates are taken, at least 1. Where `factor * k` reaches len(index), the hits
                are exact in the second distance.
            bits: of a number of projections, 1 to 8, as in `fasthash.asymmetric_topk`.
            factors: of the codes' scores for projections, float32 [len(index)] in order of insertion, as in
                `fasthash.asymmetric_topk`: their vectors' norms, say, for the inner product. Default: 1.
            offsets: likewise, what is added to them. Default: 0.

        Returns:
            `Hits(distances, ids)` of shape [q, k], tensors if `queries` is one, else NumPy arrays. Where fewer than k
            codes are eligible, rows end in id -1 and distance 2^31 - 1, or infinity where distances are floating-point,
            of projections or reranked. Reranked, they are those of `rerank`, ascending, NaN counting as infinity; ties
            are in the order of the first distance.

        Raises:
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes, widths, k or bits do not fit, or a projection, factor or offset is not finite.
        """
        where = f"{type(self).__name__}.search"
        k = check_integer(where, "k", k, 1)
        factor = check_reranking(where, rerank, rerank_queries, metric, factor)
        bits = check_integer(where, "bits", bits, 1, MAX_QUERY_BITS)
        search = self._checked(where, self._check_queries(where, queries), mask, among, threads, bits)
        contents = search.contents
        check_hits(where, k, search.queries)
        if factors is not None or offsets is not None:
            search = with_numbers(search, factors, offsets)
        if rerank is None:
            distances, positions = self._nearest(search, k)
            return Hits(*all_as_given((distances, contents.ids_at(positions)), queries))
        second_distance = second_distance_of(
            where, rerank, rerank_queries, metric, contents, self.n_bits, queries, len(search.queries)
        )
        _, positions = self._nearest(search, max(k, min(k * factor, len(contents))))
        distances, positions = nearest_candidates(second_distance, positions, k)
        return Hits(*all_as_given((distances, contents.ids_at(positions)), queries))

    def radius_search(
        self,
        queries: Array,
        radius: int,
        *,
        max_hits: int | None = None,
        exclude: Array | None = None,
        mask: Array | None = None,
        among: Array | None = None,
        threads: int | None = None,
    ) -> RadiusHits:
        """Find every code at most `radius` bits from each query, or the nearest of them.

        Args:
            queries: uint8 [q, ceil(n_bits / 8)]; bits beyond `n_bits` are 0.
            radius: the largest distance that counts as a hit, at least 0.
            max_hits: how many hits a query gets at most, at least 1: the nearest, at equal distances those that were
                inserted first. Hits beyond these take no memory, whatever their number.
            exclude: for each query an id that is no hit of it, integers [q], -1 for none: the own one of a query whose
                code is in the index.
            mask: as in `search`.
            among: as in `search`.
            threads: as in `fasthash.hamming_topk`.

        Returns:
            `RadiusHits(offsets, distances, ids)`, tensors if `queries` is one, else NumPy arrays.

        Raises:
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes, widths or the radius do not fit.
        """
        where = f"{type(self).__name__}.radius_search"
        search, sought = self._radius_search(where, queries, radius, max_hits, exclude, mask, among, threads)
        return RadiusHits(*all_as_given(radius_hits(search, sought), queries))

    def iter_radius_search(
        self,
        queries: Array,
        radius: int,
        *,
        max_hits: int | None = None,
        exclude: Array | None = None,
        mask: Array | None = None,
        among: Array | None = None,
        first: int = 0,
        part_hits: int = PART_HITS,
        progress: bool = False,
        threads: int | None = None,
    ) -> Iterator[tuple[int, RadiusHits]]:
        """Find what `radius_search` does in parts of bounded size, which take turns with what is done with them.

        All parts are of what the index held when the first was begun. A run that was ended goes on with `first`, the
        number of the first query that it has no hits of, if the index is the same.

        Args:
            queries: uint8 [q, ceil(n_bits / 8)]; bits beyond `n_bits` are 0; not to be changed meanwhile.
            radius: see `radius_search`.
            max_hits: see `radius_search`.
            exclude: see `radius_search`.
            mask: as in `search`.
            among: as in `search`.
            first: of which query on hits are sought, 0 to q.
            part_hits: how many hits a part has at most, at least 1; more only if they are all of one query.
            progress: whether to show a progress bar.
            threads: as in `fasthash.hamming_topk`.

        Returns:
            An iterator of `(first, hits)`: the number of the first query of a part, and the `RadiusHits` of this one
            and of the `len(hits.offsets) - 2` that follow it, with or without hits. Beside them a search takes some 60
            bytes for each of `part_hits`.

        Raises:
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes, widths or numbers do not fit.
        """
        where = f"{type(self).__name__}.iter_radius_search"
        search, sought = self._radius_search(where, queries, radius, max_hits, exclude, mask, among, threads)
        start = check_integer(where, "first", first, 0, len(sought.queries))
        most = check_integer(where, "part_hits", part_hits, 1)
        check_flag(where, "progress", progress)

        def parts() -> Iterator[tuple[int, RadiusHits]]:
            with tqdm(total=len(sought.queries), unit="query", initial=start, disable=not progress) as bar:
                for begin, found in radius_parts(search, sought, start, most):
                    bar.update(len(found[0]) - 1)
                    yield begin, RadiusHits(*all_as_given(found, queries))

        return parts()

    def _radius_search(
        self,
        where: str,
        queries: Array,
        radius: int,
        max_hits: int | None,
        exclude: Array | None,
        mask: Array | None,
        among: Array | None,
        threads: int | None,
    ) -> tuple[_IdSearch, Sought]:
        """Return a search, and what is sought, checked."""
        bound = min(check_integer(where, "radius", radius, 0), MAX_BITS)
        most = None if max_hits is None else check_integer(where, "max_hits", max_hits, 1)
        codes = self._check_codes(where, "queries", queries)
        search = self._checked(where, codes, mask, among, threads)
        own = None if exclude is None else self._check_ids(where, exclude, "exclude")
        if own is not None and len(own) != (q := len(search.queries)):
            raise ValueError(f"{where}: expected exclude of shape {[q]}, an id a query, got {list(own.shape)}")
        return _IdSearch(self, search), Sought(search.queries, bound, most, own)

    def hamming_pairs(
        self,
        radius: int,
        *,
        mask: Array | None = None,
        copies: str = "first",
        max_pairs: int | None = None,
        progress: bool = False,
        threads: int | None = None,
    ) -> HammingPairs:
        """Find every pair of codes at most `radius` bits apart, exactly and once, as `fasthash.hamming_pairs` does.

        Where the index is; codes that lie as bit planes are copied for it.

        Args:
            radius: the largest distance of a pair, at least 0.
            mask: which codes take part, in order of insertion, as in `search`.
            copies: "first" pairs a code that equals earlier ones with the first of them alone; "all" with any.
            max_pairs: how many pairs there may be; more are an error.
            progress: whether to show a progress bar.
            threads: as in `fasthash.hamming_topk`.

        Returns:
            `HammingPairs(i, j, distances)`, NumPy arrays: the ids of a code and of one that was inserted later, sorted
            by their places in the order of insertion.

        Raises:
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes or the radius do not fit, or there are more pairs than `max_pairs`.
        """
        where = f"{type(self).__name__}.hamming_pairs"
        contents = self._contents
        bits = contents.eligible if mask is None else contents.mask(where, self._to_mask(where, mask))
        found = _pairs(where, contents, bits, radius, 0, copies, max_pairs, progress, threads)
        return HammingPairs(*(x.numpy() for x in found))

    def add_and_pair(
        self,
        codes: Array,
        radius: int,
        ids: Array | None = None,
        *,
        max_pairs: int | None = None,
        progress: bool = False,
        threads: int | None = None,
    ) -> HammingPairs:
        """Add a copy of codes, and find the pairs at most `radius` bits apart that they make, with earlier ones too.

        All codes that were added so, and none removed, the calls have found what `hamming_pairs(radius)` finds of all
        of them: a code that equals an earlier one is paired with the first of its equals alone. A call lists the codes
        that are there and compares with the new ones. Other changes, and what looks up ids, wait for it.

        Args:
            codes: as in `add`.
            radius: the largest distance of a pair, at least 0.
            ids: as in `add`.
            max_pairs: how many pairs there may be; more are an error.
            progress: whether to show a progress bar.
            threads: as in `fasthash.hamming_topk`.

        Returns:
            `HammingPairs(i, j, distances)`, tensors if `codes` is one, else NumPy arrays: the ids of a code and of a
            new one that comes behind it, sorted by their places in the order of insertion.

        Raises:
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes or numbers do not fit, an id may not be used, or there are more pairs than
                `max_pairs`. The index is unchanged, and also if the search is interrupted.
        """
        where = f"{type(self).__name__}.add_and_pair"
        c, i = self._check_added(where, codes, ids)
        with self._exclusive(where):
            before = len(self._contents.codes)
            contents = self._with(where, c, i)
            found = _pairs(where, contents, contents.eligible, radius, before, "first", max_pairs, progress, threads)
            self._commit(contents)
        return HammingPairs(*all_as_given(found, codes))

    def _checked(
        self,
        where: str,
        queries: torch.Tensor,
        mask: Array | None,
        among: Array | None,
        threads: int | None,
        bits: int = 1,
    ) -> Search:
        q = queries.to(self.device)
        n_threads = thread_count(where, threads)
        if among is None:
            contents = self._contents
            eligible = contents.eligible if mask is None else contents.mask(where, self._to_mask(where, mask))
            return Search(where, contents, q, n_threads, mask=eligible, bits=bits)
        if mask is not None:
            raise ValueError(f"{where}: expected mask or among, got both")
        i = self._check_ids(where, listed(among), "among")
        with self._exclusive(where):
            contents = self._contents
            positions = contents.find(where, i)
        positions = _found(positions)
        if len(positions) < _FEW * len(contents):
            return Search(where, contents, q, n_threads, few=positions.to(contents.device), bits=bits)
        return Search(where, contents, q, n_threads, mask=contents.mask_of(positions), bits=bits)

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the index to a file, which `fasthash.load_index` reads.

        A file that is there is replaced in one step when the new one is on the disk, also if this index is mapped from
        it; whatever interrupts, the old file or the new one is there. `fasthash/index/README.md` describes the format.

        Args:
            file: a path, or a file that is open for writing bytes, which need not be able to seek.

        Raises:
            TypeError: if this is of a subclass that cannot be made from its `SETTINGS`, or JSON cannot hold them, or
                `file` is neither.
        """
        where = f"{type(self).__name__}.save"
        if not isinstance(file, (str, os.PathLike)) and (not hasattr(file, "write") or isinstance(file, io.TextIOBase)):
            raise TypeError(
                f"{where}: expected file to be a path, or open for writing bytes, got {type(file).__name__}"
            )
        storage.write(where, file, *self._described(where))

    def to_bytes(self) -> bytes:
        """Return what `save` writes; `fasthash.index.from_bytes` reads it.

        Raises:
            TypeError: as `save` does.
        """
        where = f"{type(self).__name__}.to_bytes"
        file = io.BytesIO()
        storage.write(where, file, *self._described(where))
        return file.getvalue()

    def _described(self, where: str) -> tuple[str, dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
        """Return what a file of this index holds: its kind, settings and arrays."""
        settings = {name: getattr(self, name) for name in self.SETTINGS}
        try:
            signature(type(self)).bind(**settings)
        except TypeError as error:
            raise TypeError(
                f"{where}: expected a class that can be made from its SETTINGS, {', '.join(settings)}, got "
                f"{type(self).__name__}: {error}"
            ) from None
        next_id, arrays = _stored(self._contents)
        return storage_name(type(self)), {**settings, "next_id": next_id}, arrays

    @classmethod
    def _from_state(cls, settings: dict[str, Any], tensors: dict[str, torch.Tensor], device: torch.device) -> Index:
        """Return the index of a file; a TypeError, KeyError or ValueError says what is wrong with it."""
        if "next_id" not in settings or not settings.keys() <= {*cls.SETTINGS, "next_id"}:
            raise ValueError(f"its settings are {', '.join(settings)}")
        index = cls(**{name: value for name, value in settings.items() if name != "next_id"})
        if index._cpu_only and device.type != "cpu":
            raise ValueError(f"it searches on the CPU, not on {device}")
        index.device = device
        index._contents = index._restored(settings["next_id"], tensors)
        return index

    def _restored(self, next_id: int | None, tensors: dict[str, torch.Tensor]) -> Contents:
        """Return the contents that `_stored` describes."""
        kind = self._kind_of_codes
        ids = tensors.get("ids")
        if tensors.keys() - {"ids"} != {kind.SECTION}:
            raise ValueError(f"its sections are {', '.join(tensors)}")
        if ids is not None and (ids.dtype != torch.int64 or ids.ndim != 1):
            raise ValueError(f"ids are {dtype_name(ids)} {list(ids.shape)}")
        given_ids = next_id is None and ids is not None
        if not given_ids and not (type(next_id) is int and (0 if ids is None else len(ids)) <= next_id < 2**63):
            raise ValueError(f"next_id is {next_id}")
        n = int(next_id or 0) if ids is None else len(ids)
        codes = kind.of_file(tensors[kind.SECTION].to(self.device), n, self._width)
        if ids is None:
            return Contents(codes, next_id=next_id)
        return Contents(codes, Rows(ids), Rows(ids.to(self.device)), next_id=next_id)

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in self._attributes().items() if name not in self._NOT_COPIED}
        return {**own, "_stored": _stored(self._contents)}

    def _attributes(self) -> dict[str, Any]:
        """Return every attribute, those in slots of a subclass too."""
        found: Any = super().__getstate__()
        return {**found[0], **found[1]} if isinstance(found, tuple) else found

    def __setstate__(self, state: dict[str, Any]) -> None:
        next_id, arrays = state["_stored"]
        for name in state.keys() - {"_stored"}:
            setattr(self, name, state[name])
        tensors = {name: to_tensor(type(self).__name__, name, x) for name, x in arrays.items()}
        self._contents = self._restored(next_id, tensors)
        self._make_locks()

    def __copy__(self) -> Index:
        other = type(self).__new__(type(self))
        for name, value in self._attributes().items():
            setattr(other, name, value)
        other._contents = self._contents.unshared()
        other._make_locks()
        return other

    @abstractmethod
    def _nearest(self, search: Search, k: int, max_distance: int = MAX_BITS) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and positions of the k nearest that are not farther, as `fasthash.hamming_topk` has them."""

    @abstractmethod
    def _within(self, search: Search, radius: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return offsets, distances and positions, as `fasthash.hamming_radius` has them."""

    def _check_queries(self, where: str, queries: Array) -> torch.Tensor:
        """Return codes or projections, checked."""
        q = to_tensor(where, "queries", queries)
        if not q.is_floating_point():
            return self._check_codes(where, "queries", q)
        check_values(where, "queries", q)
        check_floating(where, "queries", q)
        if q.ndim != 2 or q.shape[1] != self.n_bits:
            raise ValueError(
                f"{where}: expected queries of shape [q, {self.n_bits}] where they are projections, got {list(q.shape)}"
            )
        q = q.detach()
        values = (q.float() if q.dtype == torch.bfloat16 else q).cpu().numpy()
        if not (finite := np.isfinite(values)).all():
            row, column = np.argwhere(~finite)[0]
            raise ValueError(
                f"{where}: expected queries to be finite, got {values[row, column]} in row {row}, column {column}"
            )
        return q

    def _check_codes(self, where: str, name: str, codes: Array) -> torch.Tensor:
        c = to_tensor(where, name, codes)
        check_values(where, name, c)
        if c.dtype != torch.uint8 or c.ndim != 2 or c.shape[1] != self._width:
            check_codes(where, name, c)
            raise ValueError(
                f"{where}: expected {name} of {self._width} bytes a row ({self.n_bits} bits), got {c.shape[1]}"
            )
        if self.n_bits % 8 and len(c) and c[:, -1].cpu().numpy().max() >> self.n_bits % 8:
            raise ValueError(f"{where}: expected {name} whose bits beyond the first {self.n_bits} are 0, got others")
        return c

    def _check_ids(self, where: str, ids: Array, name: str = "ids") -> torch.Tensor:
        """Return ids as int64 [n] in the memory of the CPU."""
        if isinstance(ids, (list, tuple, range)):
            return _of_list(where, name, ids)
        i = to_tensor(where, name, ids)
        check_values(where, name, i)
        if i.dtype not in _INTEGERS:
            raise TypeError(f"{where}: expected {name} of an integer dtype, got {dtype_name(i)}")
        if i.ndim != 1:
            hint = "; pass [id] for a single one" if i.ndim == 0 else ""
            raise ValueError(f"{where}: expected {name} of shape [n], got {list(i.shape)}{hint}")
        converted = np.ascontiguousarray(i.cpu().numpy(), dtype=np.int64)
        if i.dtype == torch.uint64 and (converted < 0).any():
            too_large = int(converted[converted < 0][0]) + 2**64
            raise ValueError(f"{where}: expected {name} below 2^63, got {too_large}; pass {name}.view(np.int64)")
        return torch.from_numpy(converted)

    def _to_mask(self, where: str, mask: Array) -> torch.Tensor:
        m = to_tensor(where, "mask", typed_if_empty(mask, np.bool_))
        check_values(where, "mask", m)
        return m.to(self.device)


@dataclass(frozen=True, eq=False)
class _IdSearch:
    """The search of an index for other queries, whose hits are ids."""

    index: Index
    search: Search

    @property
    def n_codes(self) -> int:
        """How many codes the index held."""
        return len(self.search.contents)

    def nearest(self, queries: torch.Tensor, k: int, max_distance: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and ids [q, k]."""
        distances, positions = self.index._nearest(replace(self.search, queries=queries), k, max_distance)
        return distances, self.search.contents.ids_at(positions)

    def within(self, queries: torch.Tensor, radius: int) -> Found:
        """Return offsets, distances and ids."""
        offsets, distances, positions = self.index._within(replace(self.search, queries=queries), radius)
        return offsets, distances, self.search.contents.ids_at(positions)


def _pairs(
    where: str,
    contents: Contents,
    eligible: torch.Tensor | None,
    radius: int,
    since: int,
    copies: str,
    max_pairs: int | None,
    progress: bool,
    threads: int | None,
) -> Pairs:
    """Return pairs of ids whose later code is at the position `since` or behind it."""
    codes = contents.codes.rows
    bits = None if eligible is None else eligible.to(codes.device)
    found = pairs_of(where, codes, radius, None, bits, since, copies, max_pairs, progress, threads)
    i, j, distances = (x.cpu() for x in found)
    if contents.ids is not None:
        i, j = values_at(contents.ids.rows, i), values_at(contents.ids.rows, j)
    return i, j, distances


def listed(ids: Any) -> Any:
    """Return ids whose order says nothing as a list, and others as they are."""
    return list(ids) if isinstance(ids, (set, frozenset)) else ids


def _of_list(where: str, name: str, ids: Sequence[Any]) -> torch.Tensor:
    """Return Python's integers as int64 [n]; NumPy would make some floating-point that are large."""
    with contextlib.suppress(TypeError, ValueError, RuntimeError):  # what is none is named below
        array = np.asarray(ids) if len(ids) else np.empty(0, np.int64)
        if array.dtype == np.int64 and array.ndim == 1:
            return torch.from_numpy(array)
    numbers = [check_integer(where, f"{name}[{i}]", value, -(2**63)) for i, value in enumerate(ids)]
    return torch.tensor(numbers, dtype=torch.int64, device="cpu")


def check_search_device(where: str, value: str | torch.device) -> torch.device:
    """Return the device that an index can be on, or raise a TypeError or ValueError."""
    device = check_device_name(where, "device", value)
    check_values(where, "device", torch.empty(0, device=device))
    return device


def is_ours(lock: RLock) -> bool:
    """Return whether this thread has a lock."""
    return bool(lock._is_owned())  # type: ignore[attr-defined]


def refuse_reentry(where: str, lock: RLock) -> RLock:
    """Return a lock, or raise a RuntimeError if this thread has it: what is called here would undo what holds it."""
    if is_ours(lock):
        raise RuntimeError(
            f"{where}: expected no call for this index under way in this thread, got one, which a signal handler or a "
            f"finalizer interrupted"
        )
    return lock


def _check_found(where: str, ids: torch.Tensor, positions: torch.Tensor) -> None:
    missing = ids.numpy()[positions.numpy() < 0]
    if len(missing):
        raise ValueError(f"{where}: expected ids in the index, got {missing[0]}, which is not")


def numbers_of(
    where: str, queries: torch.Tensor, factors: Array | None, offsets: Array | None, n: int, device: torch.device
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return the factors and offsets of n codes on a device, checked, for queries that are projections."""
    if not queries.is_floating_point():
        raise ValueError(
            f"{where}: expected factors and offsets only with floating-point queries, got {dtype_name(queries)} queries"
        )
    f, o = (
        None if y is None else to_tensor(where, name, y).to(device)
        for name, y in (("factors", factors), ("offsets", offsets))
    )
    f, o = numbers_of_codes(where, f, o, n, device)
    try:
        check_factors(f, o)
    except RefusedError as refused:
        raise ValueError(f"{where}: {refused}") from None
    return f, o


def with_numbers(search: Search, factors: Array | None, offsets: Array | None) -> Search:
    """Return a search for projections with the codes' factors and offsets."""
    contents = search.contents
    numbers = numbers_of(search.where, search.queries, factors, offsets, len(contents), contents.device)
    f, o = (None if y is None else contents.by_position(y) for y in numbers)
    return replace(search, factors=f, offsets=o)


def _found(positions: torch.Tensor) -> torch.Tensor:
    """Return positions without -1, ascending, each once."""
    ordered = np.sort(positions.numpy())  # which np.unique is many times slower than
    first = int(ordered.searchsorted(0))
    is_new = np.diff(ordered[first:], prepend=-1) > 0
    return torch.from_numpy(ordered[first:][is_new])


def _stored(contents: Contents) -> tuple[int | None, dict[str, np.ndarray[Any, Any]]]:
    """Return the id that the next code gets, and the arrays that a file or a pickle of an index has."""
    contents = contents.compacted()
    arrays = {contents.codes.SECTION: contents.codes.for_file().cpu().numpy()}
    if contents.ids is not None:
        arrays["ids"] = contents.ids.rows.numpy()
    return contents.next_id, arrays


def storage_name(cls: type[Index]) -> str:
    """Return the name by which files know a class: with its module, unless it is fasthash's own."""
    return cls.__name__ if cls.__module__.startswith("fasthash.") else f"{cls.__module__}:{cls.__qualname__}"
