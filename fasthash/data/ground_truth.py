"""The true neighbours of queries, in the files of big-ann-benchmarks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fasthash.data.tables import NumpyArray
from fasthash.errors import check_path
from fasthash.files import replacing
from fasthash.ops.arrays import to_tensor
from fasthash.ops.hamming.hits import Hits, RadiusHits


def read_ground_truth(path: str | os.PathLike[str]) -> Hits:
    """Return the k nearest of each query, as big-ann-benchmarks distributes them.

    The file has the counts of queries and neighbours, uint32, all ids, int32, then all distances, float32.

    Args:
        path: of the file; its extension says nothing, .bin and .ibin being usual.

    Returns:
        `Hits(distances, ids)` of float32 and int64 [q, k], as the file orders them.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if `path` is no path.
        ValueError: if its size is not what its counts say. Ids alone, without distances, are what `read_array` reads.
    """
    q, k, content = _opened("read_ground_truth", path)
    if len(content) != 2 * q * k:
        raise ValueError(
            f"read_ground_truth: {path}: expected ids and distances of {q} queries and {k} neighbours, "
            f"{8 + 8 * q * k} bytes, got {8 + 4 * len(content)}"
        )
    ids, distances = content.reshape(2, q, k)
    return Hits(distances.view("<f4").astype(np.float32), ids.astype(np.int64))


def read_range_ground_truth(path: str | os.PathLike[str]) -> RadiusHits:
    """Return what lies within a radius of each query, as big-ann-benchmarks distributes it.

    The file has the counts of queries and of all hits, int32, how many hits each query has, int32, all ids, int32, then
    all distances, float32.

    Args:
        path: of the file, whose extension says nothing.

    Returns:
        `RadiusHits(offsets, distances, ids)` of int64 [q + 1], float32 and int64 [hits], the hits of a query as the
        file orders them.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if `path` is no path.
        ValueError: if its size or the numbers of hits are not what its counts say.
    """
    where = "read_range_ground_truth"
    q, n_hits, content = _opened(where, path)
    if len(content) != q + 2 * n_hits:
        raise ValueError(
            f"{where}: {path}: expected numbers of hits of {q} queries and {n_hits} ids and distances, "
            f"{8 + 4 * q + 8 * n_hits} bytes, got {8 + 4 * len(content)}"
        )
    counts, ids, distances = np.split(content, [q, q + n_hits])
    if (counts < 0).any() or counts.sum(dtype=np.int64) != n_hits:
        raise ValueError(f"{where}: {path}: expected numbers of hits of sum {n_hits}, got others")
    offsets = np.concatenate([[0], counts.cumsum(dtype=np.int64)])
    return RadiusHits(offsets, distances.view("<f4").astype(np.float32), ids.astype(np.int64))


def _opened(where: str, path: str | os.PathLike[str]) -> tuple[int, int, NumpyArray]:
    """Return the two counts of a file, and the numbers after them, int32."""
    check_path(where, "path", path)
    size = Path(path).stat().st_size
    if size < 8 or size % 4:
        raise ValueError(f"{where}: {path}: expected two counts and numbers of 4 bytes, got a file of {size} bytes")
    first, second = map(int, np.fromfile(path, "<u4", 2))
    return first, second, np.fromfile(path, "<i4", offset=8)


def write_ground_truth(path: str | os.PathLike[str], hits: Hits | RadiusHits) -> None:
    """Write hits as big-ann-benchmarks does: `read_ground_truth` or, within a radius, `read_range_ground_truth`.

    Args:
        path: of the file, which is written whole or not at all.
        hits: of a search, NumPy arrays or tensors. Ids are less than 2^31; where a row of `Hits` ends in id -1, the
            distance that is written is infinite.

    Raises:
        TypeError: if `path` is no path or `hits` are neither.
        ValueError: if the fields of `hits` do not fit each other or the format.
    """
    where = "write_ground_truth"
    check_path(where, "path", path)
    if not isinstance(hits, Hits | RadiusHits):
        raise TypeError(f"{where}: expected hits to be Hits or RadiusHits, got {type(hits).__name__}")
    fields = {name: to_tensor(where, f"hits.{name}", x).cpu().numpy() for name, x in hits._asdict().items()}
    ids, distances = fields["ids"], fields["distances"]
    n_dimensions = 2 if isinstance(hits, Hits) else 1
    if ids.shape != distances.shape or ids.ndim != n_dimensions or ids.dtype.kind not in "iu":
        shapes = ", ".join(f"{name} {x.dtype} {list(x.shape)}" for name, x in fields.items())
        raise ValueError(f"{where}: expected hits as a search returns them, got {shapes}")
    least = -1 if isinstance(hits, Hits) else 0
    if ids.size and not (least <= ids.min() <= ids.max() < 2**31):
        raise ValueError(f"{where}: expected hits with ids from {least} to 2^31 - 1, got {ids.min()} to {ids.max()}")
    if isinstance(hits, Hits):
        head = np.array(ids.shape, "<u4").view("<i4")
    else:
        offsets = fields["offsets"]
        if offsets.ndim != 1 or len(offsets) == 0 or offsets.dtype.kind not in "iu":
            raise ValueError(
                f"{where}: expected hits with offsets of integers [q + 1], got {offsets.dtype} {list(offsets.shape)}"
            )
        counts = np.diff(offsets.astype(np.int64))
        if (counts < 0).any() or list(offsets[[0, -1]]) != [0, len(ids)]:
            raise ValueError(f"{where}: expected hits with offsets from 0 to {len(ids)} that ascend, got others")
        head = np.array([len(counts), len(ids), *counts], "<i4")
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        for x in (head, ids.astype("<i4"), np.where(ids < 0, np.inf, distances).astype("<f4")):
            x.tofile(file)
