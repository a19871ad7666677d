"""An index in shards: files in a folder and a manifest, searched as one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial as partial_of
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch

from fasthash.cluster.building import build_manifest, rebalanced
from fasthash.cluster.engine import Engine, engine_of
from fasthash.cluster.folders import Manifest, Shard, changing, sweep
from fasthash.cluster.pairs import PairFiles, write_pairs
from fasthash.cluster.questions import (
    Below,
    Codings,
    Contains,
    Nearest,
    NearestByNumbers,
    PartialHits,
    PartialRadiusHits,
    Question,
    Within,
)
from fasthash.cluster.reranking import FoundCodes
from fasthash.cluster.shards import (
    KINDS,
    LAYOUTS,
    Codes,
    Ids,
    OpenShard,
    Run,
    n_below,
    new_index,
    opened_shard,
    read_removed,
    rows_of,
    write_removed,
    write_shard,
)
from fasthash.cluster.storage import local_path, place_of
from fasthash.errors import check_choice, check_flag, check_integer, naming_memory
from fasthash.index.base import listed, numbers_of
from fasthash.index.rerank import check_reranking, nearest_candidates, second_distance_of
from fasthash.ops.arrays import Array, all_as_given, as_given
from fasthash.ops.asymmetric.op import MAX_QUERY_BITS
from fasthash.ops.hamming import Hits, RadiusHits
from fasthash.ops.hamming.hits import check_hits
from fasthash.ops.hamming.op import thread_count

_A = TypeVar("_A")
_MOST_REMOVED = 1 / 8  # of a shard, which is then written anew


class ShardedIndex:
    """Codes with ids in files of a folder, the shards, which are searched as one index.

    Answers are those of a `FlatIndex` to which all codes were added in the order of their ids: equal distances are
    ordered by id, whatever the number of shards. `build` makes one, `open` opens one that is there.

    A change (`add`, `upsert`, `remove`, `rebalance`) writes new files, then replaces the manifest: a process killed at
    any instant leaves the index as it was or as it was to be, and files that the next change deletes. Changes of
    several processes wait for each other. Another object that has the folder open goes on with the index of the moment
    when it was opened or last refreshed, whose files are there until the change after the next.

    Every method may be called from any thread.
    """

    def __init__(self, folder: Path, manifest: Manifest, engine: Engine) -> None:
        self.folder = folder
        self.manifest = manifest
        self._engine = engine
        self._template = new_index(manifest.kind, dict(manifest.settings))

    @classmethod
    def build(
        cls,
        codes_folder: str | os.PathLike[str],
        folder: str | os.PathLike[str],
        *,
        n_shards: int,
        kind: str = "flat",
        layout: str | None = None,
        n_bits: int | None = None,
        engine: str = "local",
        filesystem: Any = None,
        progress: bool = False,
    ) -> ShardedIndex:
        """Make an index of a folder of codes, in shards of one size.

        A build that was ended goes on where it was, called again in the same way; it ends with the manifest.

        Memory is that of a shard, three times, for each that is made at once: one, or on Ray one a processor.

        Args:
            codes_folder: what `encode_files` wrote; or .npy files of packed codes, uint8 [n, ceil(n_bits / 8)], that
                are numbered in the order of their names. A path or a URI.
            folder: of the index, not `codes_folder`; made if it is not there; where all machines find it by the same
                path.
            n_shards: how many files, at least 1; no more than there are codes.
            kind: "flat" compares with every code, as `FlatIndex`; "multi" looks codes up, as `MultiIndex`.
            layout: of the codes, "rows" or "planes", as in `FlatIndex`; or of the tables, "fast" or "compact", as in
                `MultiIndex`. By default the first.
            n_bits: length of the codes; by default what `encode_files` wrote, or all bits of .npy files.
            engine: "local" makes one shard after the other, "ray" several at once; the index is opened with it.
            filesystem: of pyarrow or fsspec, for `codes_folder`.
            progress: whether to show a progress bar.

        Raises:
            FileNotFoundError: if there are no codes, or the encoding has not ended.
            ImportError: if Ray is asked for and missing, or pyarrow, for Parquet files and other machines' storage.
            TypeError: if an argument is of another type.
            ValueError: if an argument does not fit, codes are damaged, an id is there twice, or another index is in
                `folder`. What is in `folder` stays.
        """
        where = "ShardedIndex.build"
        check_integer(where, "n_shards", n_shards, 1)
        check_choice(where, "kind", kind, list(KINDS))
        layout = LAYOUTS[kind][0] if layout is None else check_choice(where, "layout", layout, LAYOUTS[kind])
        check_flag(where, "progress", progress)
        path = local_path(where, "folder", folder)
        source = place_of(where, "codes_folder", codes_folder, filesystem)
        held = engine_of(where, path, engine)
        manifest = build_manifest(where, source, path, n_shards, kind, layout, n_bits, held.map, progress)
        return cls(path, manifest, held)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        engine: str = "local",
        replicas: int = 1,
        actors: int | None = None,
        threads: int | None = None,
        timeout: float = 60.0,
        verify: bool = False,
    ) -> ShardedIndex:
        """Open an index that `build` made.

        Shards are mapped when they are first asked; until then no file but the manifest is read.

        Args:
            folder: of the index.
            engine: "local" maps the files into this process; "ray" has actors that map them, wherever Ray starts them.
            replicas: how many actors, on different nodes while there are as many, have each shard.
            actors: among how many the shards are shared out, before replicas; by default as many as Ray has nodes.
            threads: of a search; by default all that this process may use, or of an actor those of its node, shared
                with the other actors there.
            timeout: for how many seconds a shard whose actors are gone is waited for, while they are replaced; one
                whose actor is new for 60 s at least.
            verify: whether to read all files now, in this process, and compare their checksums.

        Raises:
            FileNotFoundError: if there is no manifest, or with `verify` no file of a shard.
            ImportError: if Ray is asked for and missing.
            TypeError: if an argument is of another type.
            ValueError: if the manifest is damaged, or with `verify` a file is, or an argument does not fit.
        """
        where = "ShardedIndex.open"
        path = local_path(where, "folder", folder)
        check_flag(where, "verify", verify)
        manifest = Manifest.read(where, path)
        check_choice(where, "kind in the manifest", manifest.kind, list(KINDS))
        if verify:
            for shard in manifest.shards:
                opened_shard(where, path, shard, verify=True)
        return cls(path, manifest, engine_of(where, path, engine, replicas, actors, threads, timeout))

    @property
    def n_bits(self) -> int:
        """Length of the codes."""
        return self.manifest.n_bits

    def __len__(self) -> int:
        return len(self.manifest)

    def __repr__(self) -> str:
        return (
            f"ShardedIndex({str(self.folder)!r}): {len(self)} codes of {self.n_bits} bits in "
            f"{len(self.manifest.shards)} shards, {self.manifest.kind}, {self._engine!r}"
        )

    def __enter__(self) -> ShardedIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the actors, if there are some."""
        self._engine.close()

    def refresh(self) -> None:
        """Take the index as others have changed it.

        Raises:
            FileNotFoundError: if there is no manifest any more.
            ValueError: if it is damaged.
        """
        self.manifest = Manifest.read("ShardedIndex.refresh", self.folder)

    @naming_memory("ShardedIndex.search")
    def search(
        self,
        queries: Array,
        k: int,
        *,
        among: Array | None = None,
        threads: int | None = None,
        rerank: Array | str | Callable[[Array], Array] | None = None,
        rerank_queries: Array | None = None,
        metric: str = "inner_product",
        factor: int = 10,
        bits: int = 4,
        factors: Array | None = None,
        offsets: Array | None = None,
        partial: bool = False,
    ) -> Hits | PartialHits:
        """Find the k nearest codes of every query, or of its nearest codes the k that a second distance finds nearest.

        Reranking happens in this process, once for the nearest of all shards: vectors are read and functions called
        here. It asks the shards a second time, for the candidates' codes, or for their places among all ids where these
        were given or removed.

        Args:
            queries: codes, uint8 [q, ceil(n_bits / 8)]; or projections, floating-point [q, n_bits], as in
                `FlatIndex.search`.
            k: how many hits a query gets, at least 1.
            among: the ids of the eligible codes, integers [m] or a set; those that are not in the index are passed
                over.
            threads: in each process that searches; by default what `open` said.
            rerank: as in `FlatIndex.search`: vectors [len(index), d] in the order of the codes' ids, "asymmetric", or a
                function.
            rerank_queries: as in `FlatIndex.search`.
            metric: "inner_product" or "l2", as in `FlatIndex.search`.
            factor: how many times k candidates are taken, at least 1.
            bits: of a number of projections, 1 to 8, as in `fasthash.asymmetric_topk`.
            factors: of the codes' scores for projections, float32 [len(index)] in the order of their ids, as in
                `fasthash.asymmetric_topk`. Each search sends them to wherever the shards are, 4 bytes a code; where the
                shards' ranges of ids overlap it also reads and sorts all ids of these, until `rebalance`.
            offsets: likewise, what is added to them.
            partial: whether to return what there is where shards give no answer, and which these are. Vectors, factors
                and offsets are still those of all codes.

        Returns:
            `Hits(distances, ids)`, or with `partial` `PartialHits(distances, ids, missing)`, of shape [q, k], tensors
            if `queries` is one, else NumPy arrays; reranked or not as in `FlatIndex.search`.

        Raises:
            OSError: if a shard gives no answer, unless `partial`; even so if only it tells what belongs to a code.
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes, widths, k or bits do not fit, or a projection, factor or offset is not finite.
        """
        where = "ShardedIndex.search"
        k = check_integer(where, "k", k, 1)
        factor = check_reranking(where, rerank, rerank_queries, metric, factor)
        bits = check_integer(where, "bits", bits, 1, MAX_QUERY_BITS)
        q = self._template._check_queries(where, queries)
        check_hits(where, k, q)
        manifest, n_wanted, second_distance = self.manifest, k, None
        weighted = factors is not None or offsets is not None
        numbers = numbers_of(where, q, factors, offsets, len(manifest), torch.device("cpu")) if weighted else ()
        if rerank is not None:
            candidates = FoundCodes(
                len(manifest), partial_of(self._codes, where, manifest), partial_of(self._ranks, where, manifest)
            )
            second_distance = second_distance_of(
                where, rerank, rerank_queries, metric, candidates, self.n_bits, queries, len(q)
            )
            n_wanted = max(k, min(k * factor, len(manifest)))
        asked = _numpy(q), n_wanted, self._among(where, among), self._threads(where, threads), bits
        question = Nearest(*asked)
        if weighted:
            question = NearestByNumbers(*asked, numbers=self._by_shard(where, manifest, numbers))
        found, missing = self._ask(where, question, partial, manifest)
        distances, ids = map(torch.from_numpy, found)
        if second_distance is not None:
            distances, positions = nearest_candidates(second_distance, candidates.hold(ids), k)
            ids = candidates.ids_at(positions)
        distances, ids = all_as_given((distances, ids), queries)
        return PartialHits(distances, ids, missing) if partial else Hits(distances, ids)

    @naming_memory("ShardedIndex.radius_search")
    def radius_search(
        self,
        queries: Array,
        radius: int,
        *,
        max_hits: int | None = None,
        exclude: Array | None = None,
        among: Array | None = None,
        threads: int | None = None,
        partial: bool = False,
    ) -> RadiusHits | PartialRadiusHits:
        """Find every code at most `radius` bits from each query, or the nearest of them.

        Args:
            queries: uint8 [q, ceil(n_bits / 8)]; bits beyond `n_bits` are 0.
            radius: the largest distance that counts as a hit, at least 0.
            max_hits: how many hits a query gets at most, at least 1: the nearest, at equal distances the lowest ids.
            exclude: for each query an id that is no hit of it, integers [q], -1 for none.
            among: as in `search`.
            threads: as in `search`.
            partial: as in `search`.

        Returns:
            `RadiusHits(offsets, distances, ids)`, or with `partial` `PartialRadiusHits(..., missing)`, tensors if
            `queries` is one, else NumPy arrays.

        Raises:
            OSError: if a shard gives no answer, unless `partial`.
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes, widths or numbers do not fit.
        """
        where = "ShardedIndex.radius_search"
        radius = check_integer(where, "radius", radius, 0)
        most = None if max_hits is None else check_integer(where, "max_hits", max_hits, 1)
        q = self._template._check_codes(where, "queries", queries)
        own = None if exclude is None else self._template._check_ids(where, exclude, "exclude").numpy()
        if own is not None and len(own) != len(q):
            raise ValueError(f"{where}: expected exclude of shape {[len(q)]}, an id a query, got {list(own.shape)}")
        question = Within(_numpy(q), radius, most, own, self._among(where, among), self._threads(where, threads))
        found, missing = self._ask(where, question, partial)
        offsets, distances, ids = all_as_given(tuple(map(torch.from_numpy, found)), queries)
        return PartialRadiusHits(offsets, distances, ids, missing) if partial else RadiusHits(offsets, distances, ids)

    def contains(self, ids: Array) -> Array:
        """Return which ids are in the index, bool [m], a tensor if `ids` is one, else a NumPy array.

        Raises:
            OSError: if a shard gives no answer.
            TypeError: if `ids` is not integers [m].
        """
        where = "ShardedIndex.contains"
        found, _ = self._ask(where, Contains(self._template._check_ids(where, ids).numpy()))
        return as_given(torch.from_numpy(found), ids)

    def get(self, ids: Array) -> Array:
        """Return the codes of ids, uint8 [m, ceil(n_bits / 8)], a tensor if `ids` is one, else a NumPy array.

        Raises:
            OSError: if a shard gives no answer.
            TypeError: if `ids` is not integers [m].
            ValueError: if an id is not in the index.
        """
        where = "ShardedIndex.get"
        i = self._template._check_ids(where, ids).numpy()
        (found, codes), _ = self._ask(where, Codings(i, self._template._width))
        _check_found(where, i, found)
        return as_given(torch.from_numpy(codes), ids)

    def pairs(
        self,
        radius: int,
        folder: str | os.PathLike[str],
        *,
        part_pairs: int = 2**22,
        threads: int | None = None,
        progress: bool = False,
    ) -> PairFiles:
        """Write every pair of codes at most `radius` bits apart, exactly and once, to Parquet files.

        As `fasthash.hamming_pairs` has them: of equal codes the one of the lowest id is paired with the others at
        distance 0, and these with no other code. Every shard is compared with itself and with every later one, each
        comparison a file; a run that was ended goes on after the files that are there.

        Memory of a comparison is that of `fasthash.hamming_pairs` for two shards and `part_pairs`, and 16 bytes for
        each code that equals another.

        Args:
            radius: the largest distance of a pair, at least 0.
            folder: for the files, made if it is not there; where all machines find it by the same path.
            part_pairs: how many pairs are in memory at once, see `fasthash.iter_hamming_pairs`.
            threads: of a comparison; by default all that this process may use, on Ray one.
            progress: whether to show a progress bar.

        Returns:
            `PairFiles(n_pairs, files)`: files of the columns `i`, `j` and `distance`, of ids i < j, in no order.

        Raises:
            FileNotFoundError: if a file of the index is missing.
            ImportError: if pyarrow is missing.
            TypeError: if an argument is of another type.
            ValueError: if a number does not fit, a shard is damaged, or the folder has pairs of another search, or
                damaged ones.
        """
        where = "ShardedIndex.pairs"
        radius = check_integer(where, "radius", radius, 0)
        most = check_integer(where, "part_pairs", part_pairs, 1)
        check_flag(where, "progress", progress)
        if threads is not None:
            thread_count(where, threads)
        out = local_path(where, "folder", folder)
        return write_pairs(where, self.folder, self.manifest, radius, out, most, threads, self._engine.map, progress)

    def add(self, codes: Array, ids: Array | None = None) -> None:
        """Add codes, as a new shard.

        Args:
            codes: uint8 [n, ceil(n_bits / 8)]; bits beyond `n_bits` are 0.
            ids: integers [n] that fit int64, none twice, none in the index, none -1. An index whose codes are numbered
                takes none, and numbers these on.

        Raises:
            OSError: if a shard gives no answer.
            TypeError: if `codes` is not uint8, or `ids` not integers.
            ValueError: if shapes do not fit or an id may not be used. The index is unchanged.
        """
        where = "ShardedIndex.add"
        c, given = self._template._check_added(where, codes, ids)
        i = None if given is None else given.numpy()
        if i is not None:
            _check_once(where, i)
        with changing(self.folder):
            manifest = self._newest(where)
            if (i is None) != (manifest.next_id is not None):
                was, got = ("without", "ids") if i is not None else ("with", "none")
                raise ValueError(
                    f"{where}: expected {'no ids' if i is not None else 'ids'}, as the codes in the index "
                    f"were added {was}, got {got}"
                )
            if len(c) == 0:
                return
            if i is not None:
                known, _ = self._ask(where, Contains(i))
                if known.any():
                    raise ValueError(f"{where}: expected ids that are not in the index, got {i[known][0]}, which is")
            own = Run(manifest.next_id, len(c)) if manifest.next_id is not None else i
            assert own is not None
            shard = self._new_shard(_numpy(c), own)
            next_id = None if manifest.next_id is None else manifest.next_id + len(c)
            self._commit(replace(manifest, shards=(*manifest.shards, shard), next_id=next_id))

    def upsert(self, codes: Array, ids: Array) -> int:
        """Add codes, as a new shard, in the place of those that have their ids, if any, in one change.

        Args:
            codes: uint8 [n, ceil(n_bits / 8)]; bits beyond `n_bits` are 0.
            ids: integers [n] that fit int64, none twice, none -1; in an index whose codes are numbered, of codes in it.

        Returns:
            How many codes were replaced.

        Raises:
            OSError: if a shard gives no answer.
            TypeError: if `codes` is not uint8, or `ids` not integers.
            ValueError: if shapes do not fit or an id may not be used. The index is unchanged.
        """
        where = "ShardedIndex.upsert"
        if ids is None:
            raise TypeError(f"{where}: expected ids, got None")
        c, given = self._template._check_added(where, codes, ids)
        assert given is not None
        i = given.numpy()
        _check_once(where, i)
        with changing(self.folder):
            manifest = self._newest(where)
            if len(c) == 0:
                return 0
            if manifest.next_id is not None:
                found, _ = self._ask(where, Contains(i))
                _check_found(where, i, found)
            kept, n_replaced = self._without(where, manifest, np.sort(i))
            self._commit(replace(manifest, shards=(*kept, self._new_shard(_numpy(c), i))))
        return n_replaced

    def remove(self, ids: Array, *, ignore_missing: bool = False) -> int:
        """Remove codes; the others keep their ids.

        A shard's removed ids are written beside it, or, once they are more than an eighth, the shard anew without them.

        Args:
            ids: integers [m], or a set of them.
            ignore_missing: whether ids that are not in the index are passed over.

        Returns:
            How many codes were removed.

        Raises:
            OSError: if a shard gives no answer.
            TypeError: if `ids` is not integers.
            ValueError: if an id is not in the index, unless these are ignored. The index is unchanged.
        """
        where = "ShardedIndex.remove"
        check_flag(where, "ignore_missing", ignore_missing)
        i = np.unique(self._template._check_ids(where, listed(ids)).numpy())
        with changing(self.folder):
            manifest = self._newest(where)
            if not ignore_missing:
                found, _ = self._ask(where, Contains(i))
                _check_found(where, i, found)
            kept, n_removed = self._without(where, manifest, i)
            if n_removed:
                self._commit(replace(manifest, shards=kept))
        return n_removed

    def rebalance(self, n_shards: int, *, progress: bool = False) -> None:
        """Write the index anew in shards of one size, whose ranges of ids follow each other.

        A rebalancing that was ended goes on where it was, called again in the same way. Memory is that of a shard,
        three times, for each that is made at once.

        Args:
            n_shards: how many, at least 1; no more than there are codes.
            progress: whether to show a progress bar.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if `n_shards` does not fit, or a shard is damaged: all their bytes are compared with their
                checksums. The index is unchanged.
        """
        where = "ShardedIndex.rebalance"
        check_integer(where, "n_shards", n_shards, 1)
        check_flag(where, "progress", progress)
        with changing(self.folder):
            manifest = Manifest.read(where, self.folder)
            self._commit(rebalanced(where, self.folder, manifest, n_shards, self._engine.map, progress))

    def _newest(self, where: str) -> Manifest:
        """Return the manifest to change, once what it does not name is swept; to be called within `changing`."""
        self.manifest = Manifest.read(where, self.folder)
        sweep(self.folder, self.manifest)
        return self.manifest

    def _commit(self, manifest: Manifest) -> None:
        """Make a change, all of whose files are written."""
        manifest = replace(manifest, version=manifest.version + 1)
        manifest.write(self.folder)
        self.manifest = manifest

    def _new_shard(self, codes: Codes, ids: Ids | Run) -> Shard:
        """Write a shard under a new name."""
        path = self.folder / f"shard-{secrets.token_hex(8)}.index"
        return write_shard(path, self.manifest.kind, dict(self.manifest.settings), codes, ids)

    def _without(self, where: str, manifest: Manifest, ids: Ids) -> tuple[tuple[Shard, ...], int]:
        """Return the shards without ids, which ascend, and how many these were, with all files written."""
        changed = [self._shard_without(where, manifest, shard, ids) for shard in manifest.shards]
        return tuple(shard for shard, _ in changed if shard is not None), sum(n for _, n in changed)

    def _shard_without(self, where: str, manifest: Manifest, shard: Shard, ids: Ids) -> tuple[Shard | None, int]:
        """Return a shard without ids, None if nothing is left, and how many these were, with all files written."""
        low, high = shard.ids
        here = ids[(low <= ids) & (ids <= high)]
        if len(here) == 0:
            return shard, 0
        opened = self._opened(where, manifest, shard)
        here = here[opened.contains(here)]
        if len(here) in (0, shard.n_live):
            return (shard, 0) if len(here) == 0 else (None, len(here))
        removed = np.sort(np.concatenate([read_removed(self.folder, shard), here]))
        if len(removed) > _MOST_REMOVED * shard.n:
            opened = self._opened(where, manifest, shard, verify=True)  # as the new file's checksum is of what is read
            kept = ~np.isin(opened.ids, here, assume_unique=True)
            return self._new_shard(opened.codes.numpy()[kept], opened.ids[kept]), len(here)
        name = f"removed-{secrets.token_hex(8)}.npy"
        digest = write_removed(self.folder / name, removed)
        return shard._replace(removed=name, n_removed=len(removed), removed_blake2b=digest), len(here)

    def _opened(self, where: str, manifest: Manifest, shard: Shard, verify: bool = False) -> OpenShard:
        """Return a shard, opened here, or raise as where it gives no answer."""
        try:
            return OpenShard(self.folder, shard, verify)
        except (OSError, ValueError) as error:
            raise _unanswered(where, manifest, {shard.file: str(error)}) from error

    def _among(self, where: str, ids: Array | None) -> Ids | None:
        if ids is None:
            return None
        return np.asarray(self._template._check_ids(where, listed(ids), "among").numpy())

    def _threads(self, where: str, threads: int | None) -> int | None:
        return self._engine.threads if threads is None else thread_count(where, threads)

    def _by_shard(
        self, where: str, manifest: Manifest, numbers: Sequence[torch.Tensor | None]
    ) -> dict[str, tuple[Any, ...]]:
        """Return, by the file of each shard, what its codes have of arrays in the order of ids."""
        arrays = [None if x is None else x.numpy() for x in numbers]
        return {
            shard.file: tuple(None if x is None else x[rows] for x in arrays)
            for shard, rows in rows_of(manifest.shards, lambda shard: self._opened(where, manifest, shard).ids)
        }

    def _codes(self, where: str, manifest: Manifest, ids: Ids) -> Codes:
        """Return the codes of ids that a search found."""
        (found, codes), missing = self._ask(where, Codings(ids, self._template._width), True, manifest)
        if not found.all():
            raise _unanswered(where, manifest, missing)
        return codes

    def _ranks(self, where: str, manifest: Manifest, ids: Ids) -> Ids:
        """Return how many codes have lower ids than each; shards are asked where the manifest does not tell."""
        told = {shard.file: n for shard in manifest.shards if (n := n_below(shard, ids)) is not None}
        if len(told) < len(manifest.shards):
            more, missing = self._ask(where, Below(ids), True, manifest)
            told |= more
            if missing := {file: reason for file, reason in missing.items() if file not in told}:
                raise _unanswered(where, manifest, missing)
        return sum(told.values(), np.zeros(len(ids), np.int64))

    def _ask(
        self, where: str, question: Question[_A], partial: bool = False, manifest: Manifest | None = None
    ) -> tuple[_A, dict[str, str]]:
        """Return the answer of all shards, of a manifest if one is given, and with `partial` which gave none."""
        check_flag(where, "partial", partial)
        manifest = self.manifest if manifest is None else manifest
        answered = self._engine.ask(manifest.shards, question)
        answer, missing = answered
        if missing and not partial:
            raise _unanswered(where, manifest, missing)
        return question.padded(answer), missing


def _unanswered(where: str, manifest: Manifest, missing: Mapping[str, str]) -> OSError:
    file, reason = next(iter(missing.items()))
    return OSError(
        f"{where}: expected an answer of all {len(manifest.shards)} shards, got none of {len(missing)}, {file} for "
        f"one: {reason}"
    )


def _numpy(x: torch.Tensor) -> Any:
    """Return a tensor as NumPy has it."""
    return np.ascontiguousarray((x.float() if x.dtype == torch.bfloat16 else x).cpu().numpy())


def _check_once(where: str, ids: Ids) -> None:
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise ValueError(f"{where}: expected ids none twice, got {repeated[0]} again")


def _check_found(where: str, ids: Ids, found: Any) -> None:
    if not found.all():
        raise ValueError(f"{where}: expected ids in the index, got {ids[~found][0]}, which is not")
