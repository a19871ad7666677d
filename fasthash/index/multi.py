"""Exact search in less than linear time by multi-index hashing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from threading import RLock
from typing import Any, NamedTuple, SupportsIndex, TypeVar

import numpy as np
import torch

from fasthash.errors import MAX_BITS, check_choice, check_integer, memory_error
from fasthash.index.base import Index, is_ours, refuse_reentry
from fasthash.index.contents import Contents
from fasthash.index.search import Search
from fasthash.ops.arrays import Array, all_as_given
from fasthash.ops.hamming.hits import check_hits
from fasthash.ops.hamming.op import thread_count
from fasthash.ops.multi_index import MAX_CODES, Tables, build_tables, cost_of_build, cost_of_scan

_T = TypeVar("_T")


class BoundedHits(NamedTuple):
    """The nearest codes that a bounded search met.

    Attributes:
        distances: int32 [q, k], as in `Hits`.
        ids: int64 [q, k], as in `Hits`.
        complete: bool [q], False where the bound cut the search short; elsewhere the hits are exact.
    """

    distances: Array
    ids: Array
    complete: Array


class MultiIndexStats(NamedTuple):
    """What an index consists of.

    Attributes:
        n_tables: how many tables there are, 0 before the first is built.
        keys: for each table the first bit of its key and how many bits the key has.
        n_indexed: how many codes are in the tables.
        n_waiting: how many codes are not, and are compared with every query.
        table_bytes: the memory of the tables.
        code_bytes: the memory of the codes, and of removed ones that are passed over.
        probes: how many buckets a search looks up before it has every code within radius 0, 1, 2, ...; as far as these
            are fewer than codes.
    """

    n_tables: int
    keys: tuple[tuple[int, int], ...]
    n_indexed: int
    n_waiting: int
    table_bytes: int
    code_bytes: int
    probes: tuple[int, ...]


class MultiIndex(Index):
    """An index that looks up parts of a query instead of comparing it with every code, exactly all the same.

    It answers as `FlatIndex` does, faster by as much as the hits are near. Where looking up would cost more than
    comparing, for uniform codes or a large k say, it compares. It searches on the CPU.

    Tables are built by the first search that is worth it and again when enough codes were added since, or so many
    removed that the others were moved; or by `build`. Copies by `pickle` and `copy.deepcopy` begin without.

    Args:
        n_bits: length of the codes, 1 to 4,096.
        n_tables: into how many parts codes are cut, 1 to n_bits; "auto" is about n_bits / log2(len(index)).
        layout: "fast" keeps eight bytes of a code beside each entry, for codes of up to 128 bits, in up to 5 times the
            memory of the codes; "compact" keeps ids alone, in up to twice that memory. Both hold for "auto" and codes
            of at least 32 bits.

    Source:
        M. Norouzi, A. Punjani, D. J. Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing", 2012.
    """

    SETTINGS = ("n_bits", "n_tables", "layout")
    _NOT_COPIED = (*Index._NOT_COPIED, "_build_lock", "_building", "_tables", "_scanned")

    _tables: tuple[object, Tables] | None  # and the arrangement of the contents that they are of
    _scanned: float  # the nanoseconds that scans of codes outside the tables have cost

    def __init__(self, n_bits: int, n_tables: SupportsIndex | str = "auto", *, layout: str = "fast") -> None:
        super().__init__(n_bits)
        if isinstance(n_tables, str):
            check_choice("MultiIndex", "n_tables", n_tables, ["auto"])
            self._n_tables = 0
        else:
            self._n_tables = check_integer("MultiIndex", "n_tables", n_tables, 1, self.n_bits)
        self.n_tables = self._n_tables or "auto"
        self.layout = check_choice("MultiIndex", "layout", layout, ["fast", "compact"])
        self._tables = None
        self._scanned = 0.0

    def _make_locks(self) -> None:
        super()._make_locks()
        self._build_lock = RLock()
        self._building = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._tables = None
        self._scanned = 0.0

    def __repr__(self) -> str:
        found = self.stats()
        return (
            f"MultiIndex(n_bits={self.n_bits}, n_tables={self.n_tables!r}, layout={self.layout!r}): {len(self)} codes, "
            f"{found.n_indexed} of them in {found.n_tables} tables"
        )

    def build(self, *, threads: int | None = None) -> None:
        """Put every code into the tables now, rather than when a search finds it worth its time.

        Args:
            threads: as in `fasthash.hamming_topk`; there is work for one a table.

        Raises:
            ValueError: if `threads` does not fit, or there are 2^32 codes or more.
        """
        n_threads = thread_count("MultiIndex.build", threads)
        if (n := len(self._contents.codes)) > MAX_CODES:
            raise ValueError(f"MultiIndex.build: expected at most {MAX_CODES} codes, got {n}")
        with refuse_reentry("MultiIndex.build", self._build_lock):
            tables = self._tables_of(self._contents)
            if tables is None or tables.n_codes < len(self._contents.codes):
                self._build(n_threads)

    def stats(self) -> MultiIndexStats:
        """Return what the index consists of at the moment."""
        contents = self._contents
        tables, code_bytes = self._tables_of(contents), contents.codes.rows.numel()
        if tables is None:
            return MultiIndexStats(0, (), 0, len(contents), 0, code_bytes, ())
        keys, n, n_indexed = tuple(tables.keys), tables.n_codes, contents.n_live(tables.n_codes)
        probes = takewhile(lambda probes: probes < n, (round(tables.probes(r)) for r in range(self.n_bits + 1)))
        n_waiting = len(contents) - n_indexed
        return MultiIndexStats(len(keys), keys, n_indexed, n_waiting, tables.memory, code_bytes, tuple(probes))

    @property
    def _cpu_only(self) -> bool:
        return True

    def search_bounded(
        self,
        queries: Array,
        k: int,
        max_candidates: int,
        *,
        mask: Array | None = None,
        among: Array | None = None,
        threads: int | None = None,
    ) -> BoundedHits:
        """Find near codes of every query with bounded work, and tell which rows are exact.

        Args:
            queries: uint8 [q, ceil(n_bits / 8)].
            k: how many hits a query gets, at least 1.
            max_candidates: how many buckets and entries of the tables a query may look at, at least 1. Codes that wait
                for the tables are compared in any case.
            mask: as in `search`.
            among: as in `search`.
            threads: as in `fasthash.hamming_topk`.

        Returns:
            `BoundedHits(distances, ids, complete)`, the first two as `search` returns them, `complete` of shape [q].

        Raises:
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes, widths, k or max_candidates do not fit.
        """
        where = "MultiIndex.search_bounded"
        bound = check_integer(where, "max_candidates", max_candidates, 1)
        k = check_integer(where, "k", k, 1)
        search = self._checked(where, self._check_codes(where, "queries", queries), mask, among, threads)
        check_hits(where, k, search.queries)
        tables = self._tables_for(search, wanted=True)
        if tables is None:
            distances, positions = search.nearest(k)
            complete = torch.from_numpy(np.ones(len(search.queries), np.bool_))
        else:
            distances, positions, complete = _by(tables.topk_bounded, search, k, bound)
        return BoundedHits(*all_as_given((distances, search.contents.ids_at(positions), complete), queries))

    def _nearest(self, search: Search, k: int, max_distance: int = MAX_BITS) -> tuple[torch.Tensor, torch.Tensor]:
        tables = None if search.is_asymmetric else self._tables_for(search)
        return search.nearest(k, max_distance) if tables is None else _by(tables.topk, search, k, max_distance)

    def _within(self, search: Search, radius: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        tables = self._tables_for(search)
        return search.within(radius) if tables is None else _by(tables.radius, search, radius)

    def _tables_of(self, contents: Contents) -> Tables | None:
        """Return the tables if they are of these codes, or of the first of them."""
        arrangement, tables = self._tables or (None, None)
        fit = tables is not None and arrangement is contents.arrangement and tables.n_codes <= len(contents.codes)
        return tables if fit else None

    def _tables_for(self, search: Search, wanted: bool = False) -> Tables | None:
        """Return the tables for a search, built before it if the scans for want of them have cost as much as that.

        While another thread builds, there are those that there were, unless some are `wanted`. There are none where few
        codes are looked at.
        """
        if search.few is not None:
            return None
        contents = search.contents
        tables = self._tables_of(contents)
        n = len(contents.codes)
        if n > MAX_CODES or (tables is not None and tables.n_codes == n):
            return tables
        if not wanted and (self._building or is_ours(self._build_lock)):
            return tables
        with refuse_reentry(search.where, self._build_lock):
            tables = self._tables_of(contents)
            if self._is_worth_building(search, tables) or (wanted and tables is None):
                self._build(search.threads)
            return self._tables_of(contents)

    def _is_worth_building(self, search: Search, tables: Tables | None) -> bool:
        """Return whether the scans, that of this search among them, have cost what a build costs."""
        n, threads = len(search.contents.codes), search.threads
        n_waiting = n - (tables.n_codes if tables is not None else 0)
        if n_waiting == 0:
            return False
        self._scanned += cost_of_scan(n_waiting, self._width, len(search.queries), threads)
        fast = self.layout == "fast"
        return self._scanned > cost_of_build(n, self._width, self.n_bits, self._n_tables, fast, threads)

    def _build(self, threads: int) -> None:
        try:
            self._building = True
            contents = self._contents
            tables = build_tables(contents.codes.rows, self.n_bits, self._n_tables, self.layout == "fast", threads)
            self._tables = (contents.arrangement, tables)
            self._scanned = 0.0
        finally:
            self._building = False

    def _commit(self, contents: Contents) -> None:
        super()._commit(contents)
        if self._tables is not None and self._tables[0] is not contents.arrangement:
            self._tables = None
            self._scanned = 0.0


def _by(method: Callable[..., _T], search: Search, sought: int, *more: int) -> _T:
    """Return what a method of tables finds."""
    try:
        return method(search.queries, search.contents.codes.rows, sought, search.mask, search.threads, *more)
    except (MemoryError, RuntimeError) as error:
        raise memory_error(search.where, error) or error from None
