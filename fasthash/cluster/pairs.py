"""All pairs of near codes of an index in shards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from fasthash.cluster.building import Map
from fasthash.cluster.folders import Manifest, Shard, digest_of, new_folder
from fasthash.cluster.shards import Ids, OpenShard, opened_shard
from fasthash.cluster.sources import footer_of
from fasthash.cluster.storage import Place, check_arrow
from fasthash.files import replacing
from fasthash.ops.pairs import hamming_pairs, iter_hamming_pairs

_SEARCHED = "pairs.json"


class PairFiles(NamedTuple):
    """Pairs in Parquet files.

    Attributes:
        n_pairs: how many.
        files: with the columns `i` and `j`, int64, and `distance`, int32.
    """

    n_pairs: int
    files: list[Path]


def write_pairs(
    where: str,
    folder: Path,
    manifest: Manifest,
    radius: int,
    out: Path,
    part_pairs: int,
    threads: int | None,
    map_: Map,
    progress: bool,
) -> PairFiles:
    """Write all pairs, as `ShardedIndex.pairs` does."""
    check_arrow(where)
    searched = {"index": digest_of(manifest.to_json()), "radius": radius}
    new_folder(out)
    if not (out / _SEARCHED).exists():
        if any(out.glob("*.parquet")):
            raise ValueError(f"{where}: expected a folder without Parquet files, got some at {out}")
        with replacing(out / _SEARCHED) as path:
            path.write_text(json.dumps(searched))
    elif (there := _searched(where, out / _SEARCHED)) != searched:
        raise ValueError(f"{where}: expected pairs of the same search at {out}, got those of {there}")
    shards, n = manifest.shards, len(manifest.shards)
    every = [(a, b) for a in range(n) for b in range(a, n)]
    with tqdm(total=2 * len(every), unit="comparison", disable=not progress) as bar:
        equal = _copies(where, folder, shards, every, map_, threads, bar)
        work = [(where, os.fspath(folder), shards[a], shards[b], radius, equal[a], equal[b], part_pairs, threads,
                 os.fspath(out / f"pairs-{a:05d}-{b:05d}.parquet")) for a, b in every]  # fmt: skip
        counts = []
        for count in map_(_write_comparison, work):
            counts.append(count)
            bar.update()
    return PairFiles(sum(counts), [Path(each[-1]) for each in work])


def _searched(where: str, path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{where}: expected what was searched at {path}, got no JSON: {error}") from None


class _Copies(NamedTuple):
    """Codes of a shard that equal one of a lower id in the index, and the lowest such id."""

    ids: Ids
    originals: Ids


def _copies(
    where: str,
    folder: Path,
    shards: tuple[Shard, ...],
    every: list[tuple[int, int]],
    map_: Map,
    threads: int | None,
    bar: Any,
) -> list[_Copies]:
    """Return the copies in each shard.

    Shards first tell of their own copies. Of two shards the codes that are no copies in their own are compared; each
    code that is found takes the lowest id that it is found with, and then its shard's own copies that of their first.
    """
    own: dict[int, _Copies] = {}
    met: list[list[tuple[Ids, Ids]]] = [[] for _ in shards]
    for a, ids, originals in map_(
        _own_copies, [(where, os.fspath(folder), a, shard, threads) for a, shard in enumerate(shards)]
    ):
        own[a] = _Copies(ids, originals)
        bar.update()
    across = [
        (where, os.fspath(folder), a, b, shards[a], shards[b], own[a], own[b], threads) for a, b in every if a < b
    ]
    for a, b, ids_a, ids_b in map_(_copies_across, across):
        swap = ids_a > ids_b
        met[a].append((ids_a[swap], ids_b[swap]))
        met[b].append((ids_b[~swap], ids_a[~swap]))
        bar.update()
    return [_joined(own[a], met[a]) for a in range(len(shards))]


def _joined(own: _Copies, met: list[tuple[Ids, Ids]]) -> _Copies:
    """Return a shard's own copies, and those of other shards' codes, each with the lowest id."""
    ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in met)])
    originals = np.concatenate([np.empty(0, np.int64), *(originals for _, originals in met)])
    order = np.lexsort((originals, ids))
    ids, at = np.unique(ids[order], return_index=True)
    originals = originals[order][at]
    theirs = own.originals.copy()  # a copy of one that is a copy of another shard's is of that, too
    place = np.searchsorted(ids, theirs)
    known = place < len(ids)
    known[known] = ids[place[known]] == theirs[known]
    theirs[known] = originals[place[known]]
    return _Copies(np.concatenate([own.ids, ids]), np.concatenate([theirs, originals]))


def _own_copies(where: str, folder: str, a: int, shard: Shard, threads: int | None) -> tuple[int, Ids, Ids]:
    opened = opened_shard(where, Path(folder), shard)
    found = hamming_pairs(opened.codes, 0, threads=threads)
    ids = opened.ids
    return a, ids[found.j], ids[found.i]


def _copies_across(
    where: str,
    folder: str,
    a: int,
    b: int,
    shard_a: Shard,
    shard_b: Shard,
    own_a: _Copies,
    own_b: _Copies,
    threads: int | None,
) -> tuple[int, int, Ids, Ids]:
    (codes_a, ids_a), (codes_b, ids_b) = (
        _without(opened_shard(where, Path(folder), shard), own.ids)
        for shard, own in ((shard_a, own_a), (shard_b, own_b))
    )
    found = hamming_pairs(codes_a, 0, others=codes_b, threads=threads)
    return a, b, ids_a[found.i], ids_b[found.j]


def _without(opened: OpenShard, ids: Ids) -> tuple[torch.Tensor, Ids]:
    """Return codes and ids of a shard but those of some ids."""
    codes, every = opened.codes, opened.ids
    if len(ids) == 0:
        return codes, every
    kept = np.flatnonzero(~np.isin(every, ids, assume_unique=True))
    return torch.from_numpy(codes.numpy()[kept]), every[kept]


def _write_comparison(
    where: str,
    folder: str,
    shard_a: Shard,
    shard_b: Shard,
    radius: int,
    equal_a: _Copies,
    equal_b: _Copies,
    part_pairs: int,
    threads: int | None,
    path: str,
) -> int:
    """Write the pairs of two shards, or of one, unless they are there, and return how many there are."""
    import pyarrow as arrow
    from pyarrow import parquet

    target = Path(path)
    if target.exists():
        return int(footer_of(where, Place(None, path))[0].num_rows)
    schema, n_pairs = arrow.schema([("i", arrow.int64()), ("j", arrow.int64()), ("distance", arrow.int32())]), 0
    with replacing(target) as unfinished, parquet.ParquetWriter(unfinished, schema) as writer:
        for i, j, distances in _compared(
            where, folder, shard_a, shard_b, radius, equal_a, equal_b, part_pairs, threads
        ):
            low, high = np.minimum(i, j), np.maximum(i, j)
            writer.write_table(arrow.table([low, high, distances], schema=schema))
            n_pairs += len(i)
    return n_pairs


def _compared(
    where: str,
    folder: str,
    shard_a: Shard,
    shard_b: Shard,
    radius: int,
    equal_a: _Copies,
    equal_b: _Copies,
    part_pairs: int,
    threads: int | None,
) -> Iterator[tuple[Ids, Ids, NDArray[np.int32]]]:
    codes_a, ids_a = _without(opened_shard(where, Path(folder), shard_a), equal_a.ids)
    if shard_a == shard_b:
        yield equal_a.originals, equal_a.ids, np.zeros(len(equal_a.ids), np.int32)
        codes_b, ids_b = None, ids_a
    else:
        codes_b, ids_b = _without(opened_shard(where, Path(folder), shard_b), equal_b.ids)
    if radius == 0:
        return
    for found in iter_hamming_pairs(codes_a, radius, others=codes_b, part_pairs=part_pairs, threads=threads):
        i, j, distances = (np.asarray(x) for x in found)
        yield ids_a[i], ids_b[j], distances
