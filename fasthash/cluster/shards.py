"""A shard: an index in a file, whose ids are the file's own or a run, without those that were removed since."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.cluster.folders import Shard
from fasthash.errors import MAX_BITS
from fasthash.files import replacing
from fasthash.index import FlatIndex, MultiIndex, load_index
from fasthash.index.base import Index, with_numbers

Ids = NDArray[np.int64]
Codes = NDArray[np.uint8]
Numbers = NDArray[np.float32]

KINDS: dict[str, type[Index]] = {"flat": FlatIndex, "multi": MultiIndex}
LAYOUTS = {"flat": ("rows", "planes"), "multi": ("fast", "compact")}


class Run(NamedTuple):
    """Ids one after the other, of which a file holds none."""

    first: int
    n: int


class OpenShard:
    """A shard that is searched, mapped from its file. Among equal distances lower ids come first.

    Args:
        folder: of the index.
        shard: what the manifest says of it.
        verify: whether every byte of its files is compared with its checksum.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file is not the one that the manifest means, or is damaged.
    """

    def __init__(self, folder: Path, shard: Shard, verify: bool = False) -> None:
        self.shard = shard
        path = folder / shard.file
        self.index = load_index(path, verify=verify)
        if (len(self.index), digest_of_index(path)) != (shard.n, shard.blake2b):
            raise ValueError(f"expected {shard.n} codes with the manifest's checksum at {path}, got others")
        if shard.removed is not None:
            self.index.remove(self._inner(read_removed(folder, shard)))

    @property
    def ids(self) -> Ids:
        """The ids, ascending, not to be written to."""
        return self._outer(self.index._contents.live_ids.numpy())

    @property
    def codes(self) -> torch.Tensor:
        """The codes in the order of ids, uint8 [n, w], not to be written to."""
        return self.index.codes

    def contains(self, ids: Ids) -> NDArray[np.bool_]:
        """Return which ids are here."""
        low, high = self.shard.ids
        found = (low <= ids) & (ids <= high)
        found[found] = self.index.contains(self._inner(ids[found]))
        return found

    def get(self, ids: Ids) -> Codes:
        """Return the codes of ids that are here."""
        codes: Codes = self.index.get(self._inner(ids))
        return codes

    def search(
        self,
        queries: Any,
        k: int,
        bound: int,
        among: Ids | None,
        threads: int | None,
        bits: int,
        factors: Numbers | None = None,
        offsets: Numbers | None = None,
    ) -> tuple[NDArray[Any], Ids]:
        """Return distances and ids [q, k], as `FlatIndex.search` has them; of a shard of fewer codes fewer columns.

        Codes farther than `bound` need not be found; of projections there is none. Factors and offsets are those of the
        codes here, in the order of ids.
        """
        where = "ShardedIndex.search"
        search = self.index._checked(where, torch.from_numpy(queries), None, self._among(among), threads, bits)
        if factors is not None or offsets is not None:
            search = with_numbers(search, factors, offsets)
        distances, positions = self.index._nearest(search, min(k, self.shard.n_live), bound)
        return distances.numpy(), self._outer(search.contents.ids_at(positions).numpy())

    def radius_search(
        self,
        queries: Any,
        radius: int,
        max_hits: int | None,
        exclude: Ids | None,
        among: Ids | None,
        threads: int | None,
    ) -> tuple[Ids, NDArray[Any], Ids]:
        """Return offsets, distances and ids, as `FlatIndex.radius_search` has them."""
        if exclude is not None:
            low, high = self.shard.ids
            here = (low <= exclude) & (exclude <= high)
            inner = np.full_like(exclude, -1)
            inner[here] = self._inner(exclude[here])
            exclude = inner
        offsets, distances, ids = self.index.radius_search(
            queries,
            min(radius, MAX_BITS),
            max_hits=max_hits,
            exclude=exclude,
            among=self._among(among),
            threads=threads,
        )
        return np.asarray(offsets), np.asarray(distances), self._outer(np.asarray(ids))

    def _among(self, ids: Ids | None) -> Ids | None:
        """Return the index's own ids of those that may be here."""
        if ids is None:
            return None
        low, high = self.shard.ids
        return self._inner(ids[(low <= ids) & (ids <= high)])

    def _inner(self, ids: Ids) -> Ids:
        return ids if self.shard.first_id is None else ids - self.shard.first_id

    def _outer(self, ids: Ids) -> Ids:
        """Return ids of the index as those of the shard; -1 stays."""
        return ids if not self.shard.first_id else np.where(ids < 0, ids, ids + self.shard.first_id)


def opened_shard(where: str, folder: Path, shard: Shard, verify: bool = False) -> OpenShard:
    """Return an `OpenShard`; errors begin with `where`."""
    try:
        return OpenShard(folder, shard, verify)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{where}: expected a file of the index at {error.filename}, got none") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def n_below(shard: Shard, ids: Ids) -> Ids | None:
    """Return how many codes of a shard have lower ids than each, or None if only its files tell."""
    low, high = shard.ids
    if shard.first_id is not None and shard.removed is None:
        return np.where(ids > high, shard.n, np.clip(ids, low, high) - low)
    if ((low < ids) & (ids <= high)).any():
        return None
    return np.where(ids > high, shard.n_live, 0)


def rows_of(shards: Sequence[Shard], ids_of: Callable[[Shard], Ids]) -> Iterator[tuple[Shard, slice | Ids]]:
    """Yield each shard and where its codes are in the order of all ids; those of overlapping ranges are sorted."""
    ordered = sorted(shards, key=lambda shard: shard.ids)
    first, start = 0, 0
    for end in range(1, len(ordered) + 1):
        if end < len(ordered) and ordered[end].ids[0] <= max(shard.ids[1] for shard in ordered[start:end]):
            continue
        together = ordered[start:end]
        n = sum(shard.n_live for shard in together)
        if len(together) == 1:
            yield together[0], slice(first, first + n)
        else:
            ids = np.concatenate([ids_of(shard) for shard in together])
            rows = np.empty(n, np.int64)
            rows[np.argsort(ids)] = np.arange(first, first + n)
            bounds = np.cumsum([shard.n_live for shard in together])[:-1]
            yield from zip(together, np.split(rows, bounds), strict=True)
        first, start = first + n, end


def new_index(kind: str, settings: dict[str, Any]) -> Index:
    """Return an empty index as shards have."""
    return KINDS[kind](**settings)


def write_shard(path: Path, kind: str, settings: dict[str, Any], codes: Codes, ids: Ids | Run) -> Shard:
    """Write codes to the file of a shard, in the order of their ids.

    Args:
        path: of the file, which is written whole or not at all.
        kind: a key of `KINDS`.
        settings: of the index.
        codes: uint8 [n, w], at least one.
        ids: of each, each once.

    Raises:
        ValueError: if the codes are not such as the index takes.
    """
    index = new_index(kind, settings)
    if isinstance(ids, Run):
        index.add(codes)
    elif (ids[1:] > ids[:-1]).all():
        index.add(codes, ids)
    else:
        order = np.argsort(ids)
        index.add(codes[order], ids[order])
    index.save(path)
    return shard_of_file(path, ids.first if isinstance(ids, Run) else None)


def shard_of_file(path: Path, first_id: int | None) -> Shard:
    """Return what a manifest says of a whole file that `write_shard` wrote."""
    index = load_index(path)
    n = len(index)
    if first_id is not None:
        ends = first_id, first_id + n - 1
    else:
        ids = index._contents.live_ids.numpy()
        ends = int(ids[0]), int(ids[-1])
    return Shard(path.name, n, first_id, ends, digest_of_index(path))


def digest_of_index(path: Path) -> str:
    """Return the digest of an index file's header."""
    with path.open("rb") as file:
        file.seek(16)
        return file.read(16).hex()


def write_removed(path: Path, ids: Ids) -> str:
    """Write the ids that were removed from a shard, ascending, and return the digest of the file."""
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, ids)
    return _digest_of_file(path)


def read_removed(folder: Path, shard: Shard) -> Ids:
    """Return the ids that were removed from a shard."""
    if shard.removed is None:
        return np.empty(0, np.int64)
    path = folder / shard.removed
    if _digest_of_file(path) != shard.removed_blake2b:
        raise ValueError(f"expected the ids that the manifest means at {path}, got others")
    ids: Ids = np.load(path, allow_pickle=False)
    return ids


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
