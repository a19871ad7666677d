"""Exact search in less than linear time by multi-index hashing."""

from __future__ import annotations

from itertools import takewhile
from threading import Lock
from typing import Any, NamedTuple, SupportsIndex

import torch

from fasthash.errors import check_choice, check_integer
from fasthash.index.base import Index
from fasthash.ops.arrays import Array, all_as_given
from fasthash.ops.hamming.op import radius_op, thread_count, topk_op
from fasthash.ops.multi_index import MAX_CODES, Tables, build_tables, cost_of_build, cost_of_scan


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
        code_bytes: the memory of the codes.
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

    Tables are built by the first search that is worth it and again when enough codes were added since, or by `build`.

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

    _tables: Tables | None
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
        self._lock = Lock()

    def __repr__(self) -> str:
        found = self.stats()
        return (
            f"MultiIndex(n_bits={self.n_bits}, n_tables={self.n_tables!r}, layout={self.layout!r}): {len(self)} codes, "
            f"{found.n_indexed} of them in {found.n_tables} tables"
        )

    def reset(self) -> None:
        """Remove every code."""
        super().reset()
        self._drop_tables()

    def remove(self, ids: Array) -> None:
        """Remove codes; the others keep their ids and their order. The tables must then be built anew.

        Args:
            ids: int64 [m].

        Raises:
            TypeError: if `ids` is not int64.
            ValueError: if an id is not in the index. The index is unchanged.
        """
        super().remove(ids)
        self._drop_tables()

    def build(self, *, threads: int | None = None) -> None:
        """Put every code into the tables now, rather than when a search finds it worth its time.

        Args:
            threads: as in `fasthash.hamming_topk`; there is work for one a table.

        Raises:
            ValueError: if `threads` does not fit, or there are 2^32 codes or more.
        """
        n_threads = thread_count("MultiIndex.build", threads)
        if len(self) > MAX_CODES:
            raise ValueError(f"MultiIndex.build: expected at most {MAX_CODES} codes, got {len(self)}")
        with self._lock:
            if self._tables is None or self._tables.n_codes < len(self):
                self._build(n_threads)

    def stats(self) -> MultiIndexStats:
        """Return what the index consists of at the moment."""
        tables, code_bytes = self._tables, self.codes.numel()
        if tables is None:
            return MultiIndexStats(0, (), 0, len(self), 0, code_bytes, ())
        keys, n = tuple(tables.keys), tables.n_codes
        probes = takewhile(lambda probes: probes < n, (round(tables.probes(r)) for r in range(self.n_bits + 1)))
        return MultiIndexStats(len(keys), keys, n, len(self) - n, tables.memory, code_bytes, tuple(probes))

    @classmethod
    def _from_state(cls, settings: dict[str, Any], tensors: dict[str, torch.Tensor], device: torch.device) -> Index:
        if device.type != "cpu":
            raise ValueError(f"it searches on the CPU, not on {device}")
        return super()._from_state(settings, tensors, device)

    def search_bounded(
        self, queries: Array, k: int, max_candidates: int, *, mask: Array | None = None, threads: int | None = None
    ) -> BoundedHits:
        """Find near codes of every query with bounded work, and tell which rows are exact.

        Args:
            queries: uint8 [q, ceil(n_bits / 8)].
            k: how many hits a query gets, at least 1.
            max_candidates: how many buckets and entries of the tables a query may look at, at least 1. Codes that wait
                for the tables are compared in any case.
            mask: the eligible codes in order of insertion, as in `fasthash.hamming_topk`.
            threads: as in `fasthash.hamming_topk`.

        Returns:
            `BoundedHits(distances, ids, complete)`, the first two as `search` returns them, `complete` of shape [q].

        Raises:
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes, widths, k or max_candidates do not fit.
        """
        where = "MultiIndex.search_bounded"
        bound = check_integer(where, "max_candidates", max_candidates, 1)
        q = self._check_codes(where, "queries", queries)
        k = check_integer(where, "k", k, 1)
        bits = None if mask is None else self._mask_bits(where, mask)
        n_threads = thread_count(where, threads)
        codes, tables = self.codes, self._tables_for(q.shape[0], n_threads, wanted=True)
        if tables is None:
            distances, positions = topk_op(q, codes, k, bits, n_threads, where=where)
            complete = torch.ones(q.shape[0], dtype=torch.bool)
        else:
            distances, positions, complete = tables.topk_bounded(q, codes, k, bits, n_threads, bound)
        return BoundedHits(*all_as_given((distances, self._ids_at(positions), complete), queries))

    def _nearest(
        self, where: str, queries: torch.Tensor, k: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        codes, tables = self._codes.rows, self._tables_for(queries.shape[0], threads)
        if tables is not None:
            return tables.topk(queries, codes, k, mask, threads)
        found: tuple[torch.Tensor, torch.Tensor] = topk_op(queries, codes, k, mask, threads, where=where)
        return found

    def _within(
        self, where: str, queries: torch.Tensor, radius: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        codes, tables = self._codes.rows, self._tables_for(queries.shape[0], threads)
        if tables is not None:
            return tables.radius(queries, codes, radius, mask, threads)
        found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = radius_op(
            queries, codes, radius, mask, threads, where=where
        )
        return found

    def _tables_for(self, n_queries: int, threads: int, wanted: bool = False) -> Tables | None:
        """Return the tables for a search, built before it if the scans for want of them have cost as much as that."""
        n = self._codes.rows.shape[0]
        if (tables := self._tables) is not None and tables.n_codes == n:
            return tables
        with self._lock:
            n_waiting = n - (self._tables.n_codes if self._tables is not None else 0)
            if n_waiting == 0 or n > MAX_CODES:
                return self._tables
            self._scanned += cost_of_scan(n_waiting, self._width, n_queries, threads)
            fast = self.layout == "fast"
            worth = self._scanned > cost_of_build(n, self._width, self.n_bits, self._n_tables, fast, threads)
            if worth or (wanted and self._tables is None):
                self._build(threads)
            return self._tables

    def _build(self, threads: int) -> None:
        self._tables = build_tables(self.codes, self.n_bits, self._n_tables, self.layout == "fast", threads)
        self._scanned = 0.0

    def _drop_tables(self) -> None:
        self._tables = None
        self._scanned = 0.0
