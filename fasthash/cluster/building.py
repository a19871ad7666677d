"""Making the shards of an index: of a folder of codes, or of the shards that there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from fasthash.cluster.codes_folder import CodesFolder, open_codes
from fasthash.cluster.folders import MANIFEST, Manifest, Shard, changing, digest_of, new_folder, sweep
from fasthash.cluster.shards import KINDS, Ids, Run, opened_shard, shard_of_file, write_shard
from fasthash.cluster.storage import Place
from fasthash.errors import MAX_BITS, check_integer

_T = TypeVar("_T")
Map = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterator[Any]]
_COMPARED = 2**24  # ids at once


def build_manifest(
    where: str,
    place: Place,
    folder: Path,
    n_shards: int,
    kind: str,
    layout: str,
    n_bits: int | None,
    map_: Map,
    progress: bool,
) -> Manifest:
    """Write an index's shards and then its manifest, as `ShardedIndex.build` does."""
    if n_bits is not None:
        check_integer(where, "n_bits", n_bits, 1, MAX_BITS)
    if place.is_folder(Place(None, os.fspath(folder))):
        raise ValueError(f"{where}: expected folder to be another than codes_folder, got {folder} for both")
    source = open_codes(where, place, n_bits)
    n = sum(source.counts)
    check_integer(where, f"n_shards for {n} codes", n_shards, 1, max(n, 1))
    settings = {"n_bits": source.n_bits, "layout": layout}
    if kind == "multi":
        settings["n_tables"] = "auto"
    job = digest_of(source.digest, n_shards, kind, settings)
    new_folder(folder)
    with changing(folder):
        if (folder / MANIFEST).exists():
            there = Manifest.read(where, folder)
            if there.made_by != job or there.version:
                raise ValueError(f"{where}: expected a folder without another index, got one at {folder}")
            return there
        sweep(folder, None, keep=f"shard-{job}-")
        bounds = [n * i // n_shards for i in range(n_shards + 1)] if n else []
        work = [
            (where, source, start, end, os.fspath(folder / f"shard-{job}-{i:05d}.index"), kind, settings)
            for i, (start, end) in enumerate(pairwise(bounds))
        ]
        shards = _sorted(tqdm(map_(_build_shard, work), "shards", len(work), disable=not progress))
        if not source.numbered:
            _check_unique(where, folder, shards)
        manifest = Manifest(kind, settings, n if source.numbered else None, job, 0, shards)
        manifest.write(folder)
        return manifest


def rebalanced(where: str, folder: Path, manifest: Manifest, n_shards: int, map_: Map, progress: bool) -> Manifest:
    """Write an index's codes to other shards, whose ids follow each other, and return their manifest."""
    n = len(manifest)
    check_integer(where, f"n_shards for {n} codes", n_shards, 1, max(n, 1))
    job = digest_of(manifest.to_json(), n_shards)
    sweep(folder, manifest, keep=f"shard-{job}-")
    if n == 0:
        return manifest
    for _ in map_(_check_shard, [(where, os.fspath(folder), shard) for shard in manifest.shards]):
        pass
    bounds = _bounds([opened_shard(where, folder, shard).ids for shard in manifest.shards], n_shards)
    work = [
        (where, os.fspath(folder), manifest, low, high, f"shard-{job}-{i:05d}.index")
        for i, (low, high) in enumerate(bounds)
    ]
    shards = _sorted(tqdm(map_(_move_shard, work), "shards", len(work), disable=not progress))
    return Manifest(manifest.kind, manifest.settings, manifest.next_id, job, manifest.version, shards)


def _build_shard(
    where: str, source: CodesFolder, start: int, end: int, path: str, kind: str, settings: dict[str, Any]
) -> Shard:
    """Write the shard of codes from a number on to before another, unless it is there."""
    target = Path(path)
    if target.exists():
        return shard_of_file(target, start if source.numbered else None)
    try:
        codes, ids = source.rows(start, end)
        return write_shard(target, kind, settings, codes, ids)
    except ValueError as error:
        raise ValueError(f"{where}: {str(error).removeprefix(f'{KINDS[kind].__name__}.add: ')}") from error


def _check_shard(where: str, folder: str, shard: Shard) -> None:
    """Raise if a shard is damaged: what is moved gets new checksums."""
    opened_shard(where, Path(folder), shard, verify=True)


def _move_shard(where: str, folder: str, manifest: Manifest, low: int, high: int, file: str) -> Shard:
    """Write the shard of the ids from one to another, both included, unless it is there."""
    codes, ids = [], []
    for shard in manifest.shards:
        if shard.ids[0] <= high and low <= shard.ids[1]:
            opened = opened_shard(where, Path(folder), shard)
            theirs = opened.ids
            within = slice(np.searchsorted(theirs, low, "left"), np.searchsorted(theirs, high, "right"))
            if len(theirs[within]):
                ids.append(theirs[within])
                codes.append(opened.get(theirs[within]))
    every = np.concatenate(ids)
    first = int(every.min())
    run = Run(first, len(every)) if int(every.max()) - first == len(every) - 1 else None
    target = Path(folder) / file
    if target.exists():
        return shard_of_file(target, None if run is None else first)
    joined, order = np.concatenate(codes), np.argsort(every)
    return write_shard(target, manifest.kind, dict(manifest.settings), joined[order], run or every[order])


def _sorted(shards: Iterable[Shard]) -> tuple[Shard, ...]:
    return tuple(sorted(shards, key=lambda shard: shard.file))


def _bounds(ids: Sequence[Ids], n_ranges: int) -> list[tuple[int, int]]:
    """Return the least and the greatest id of ranges of one size, given ids that ascend in each of several arrays."""
    ends = [int(end) for each in ids for end in (each[0], each[-1])]
    n = sum(map(len, ids))
    wanted = [n * i // n_ranges for i in range(1, n_ranges)]  # how many ids are below each bound
    low, high = [min(ends)] * len(wanted), [max(ends)] * len(wanted)
    while any(a < b for a, b in zip(low, high, strict=True)):  # by halves: Python's integers do not overflow
        middle = [(a + b) // 2 for a, b in zip(low, high, strict=True)]
        below = sum(np.searchsorted(each, np.array(middle, np.int64), "right") for each in ids)
        for i, count in enumerate(np.asarray(below).tolist()):
            low[i], high[i] = (low[i], middle[i]) if count >= wanted[i] else (middle[i] + 1, high[i])
    firsts = [min(ends), *(bound + 1 for bound in low)]
    return list(zip(firsts, [*low, max(ends)], strict=True))


def _check_unique(where: str, folder: Path, shards: Sequence[Shard]) -> None:
    """Raise a ValueError if an id is in two shards."""
    ids = [opened_shard(where, folder, shard).ids for shard in shards]
    n_ranges = max(1, -(-sum(map(len, ids)) // _COMPARED))
    for low, high in _bounds(ids, n_ranges) if ids else ():
        within = np.sort(
            np.concatenate([x[np.searchsorted(x, low, "left") : np.searchsorted(x, high, "right")] for x in ids])
        )
        repeated = within[1:][within[1:] == within[:-1]]
        if len(repeated):
            raise ValueError(f"{where}: expected ids none twice, got {repeated[0]} again")
