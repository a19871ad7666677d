"""The data sets of ann-benchmarks, its Hamming tracks as packed codes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fasthash.data.tables import DAMAGE, NumpyArray, hdf5, read_hdf5, whole
from fasthash.errors import (
    check_choice,
    check_codes,
    check_floating,
    check_integer,
    check_matrix,
    check_path,
    check_values,
)
from fasthash.files import replacing
from fasthash.ops.arrays import Array, to_tensor
from fasthash.ops.hamming.hits import Hits

DISTANCES = ("angular", "euclidean", "hamming")
_BLOCK = 2**14


class AnnBenchmark(NamedTuple):
    """What is searched, for what, and what there is to be found.

    Attributes:
        train: what is searched. With distance "hamming" codes as `pack_bits` makes them, uint8
            [n, ceil(dimension / 8)], bit i being the file's column i; else vectors [n, dimension].
        test: the queries, likewise.
        neighbors: the nearest of each query, `Hits(distances, ids)` [q, k] of int64 ids that are rows of `train`.
            Hamming distances are int32 and bits that differ; others as the file has them.
        distance: "angular", "euclidean" or "hamming".
        dimension: how many bits or numbers a row has.
    """

    train: Array
    test: Array
    neighbors: Hits
    distance: str
    dimension: int


def read_ann_benchmark(path: str | os.PathLike[str]) -> AnnBenchmark:
    """Return a data set of ann-benchmarks, such as sift-256-hamming.hdf5 or glove-100-angular.hdf5.

    Args:
        path: of the HDF5 file.

    Returns:
        NumPy arrays; vectors are mapped from the file where they lie there in one piece. Hamming distances are counted
        anew: files of different years have numbers of bits, or shares of all.

    Raises:
        FileNotFoundError: if there is no such file.
        MissingDependencyError: if h5py is not installed.
        TypeError: if `path` is no path.
        ValueError: if the file is damaged or none of ann-benchmarks', or its distance is another, such as "jaccard".
    """
    where = "read_ann_benchmark"
    check_path(where, "path", path)
    try:
        return _read(Path(path))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _read(path: Path) -> AnnBenchmark:
    with path.open("rb"):  # what the system says is said of every format alike
        pass
    with whole(path, "a whole HDF5 file", DAMAGE), hdf5("reading HDF5 files").File(path, "r") as file:
        distance = str(file.attrs.get("distance", "none"))
    if distance not in DISTANCES:
        raise ValueError(f"{path}: expected a distance of {', '.join(DISTANCES)}, got {distance}")
    train, test, ids, distances = (read_hdf5(path, name) for name in ("train", "test", "neighbors", "distances"))
    shapes = ", ".join(str(list(x.shape)) for x in (train, test, ids, distances))
    fit = {x.ndim for x in (train, test, ids)} == {2} and train.shape[1] == test.shape[1] > 0 and len(ids) == len(test)
    if not (fit and ids.shape == distances.shape and ids.dtype.kind in "iu"):
        raise ValueError(f"{path}: expected train, test, neighbors and distances that fit, got {shapes}")
    if ids.size and not (0 <= ids.min() <= ids.max() < len(train)):
        raise ValueError(f"{path}: expected neighbors from 0 to {len(train) - 1}, got {ids.min()} to {ids.max()}")
    ids, dimension = ids.astype(np.int64), train.shape[1]
    if distance != "hamming":
        return AnnBenchmark(train, test, Hits(np.asarray(distances), ids), distance, dimension)
    train, test = (_packed(path, name, x) for name, x in (("train", train), ("test", test)))
    return AnnBenchmark(train, test, Hits(_bits_that_differ(train, test, ids), ids), distance, dimension)


def _packed(path: Path, name: str, bits: NumpyArray) -> NumpyArray:
    codes = np.empty((len(bits), (bits.shape[1] + 7) // 8), np.uint8)
    for rows in _blocks(len(bits)):
        flags = bits[rows] != 0
        if not (flags == bits[rows]).all():
            raise ValueError(f"{path}: expected {name} of 0 and 1, got others")
        codes[rows] = np.packbits(flags, axis=1, bitorder="little")
    return codes


def _bits_that_differ(train: NumpyArray, test: NumpyArray, ids: NumpyArray) -> NumpyArray:
    distances = np.empty(ids.shape, np.int32)
    for query, (code, row) in enumerate(zip(test, ids, strict=True)):
        distances[query] = np.bitwise_count(train[row] ^ code).sum(1, dtype=np.int32)
    return distances


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, _BLOCK):
        yield slice(start, start + _BLOCK)


def write_ann_benchmark(path: str | os.PathLike[str], benchmark: AnnBenchmark) -> None:
    """Write a data set as ann-benchmarks does: in its folder `data`, it runs it by the name of the file.

    Args:
        path: of the HDF5 file, which is written whole or not at all.
        benchmark: NumPy arrays or tensors. Vectors are written as float32, codes bit by bit as bool, as that project's
            algorithms take them.

    Raises:
        MissingDependencyError: if h5py is not installed.
        TypeError: if `path` is no path, `benchmark` is none, or codes are not uint8.
        ValueError: if its fields do not fit each other, or a query has fewer than k neighbours.
    """
    where = "write_ann_benchmark"
    check_path(where, "path", path)
    if not (isinstance(benchmark, AnnBenchmark) and isinstance(benchmark.neighbors, Hits)):
        raise TypeError(f"{where}: expected benchmark to be an AnnBenchmark with Hits, got {type(benchmark).__name__}")
    distance = check_choice(where, "benchmark.distance", benchmark.distance, DISTANCES)
    dimension = check_integer(where, "benchmark.dimension", benchmark.dimension, 1)
    train, test = (_rows(where, f"benchmark.{name}", getattr(benchmark, name), distance, dimension) for name in _ROWS)
    ids, distances = (
        to_tensor(where, f"benchmark.neighbors.{name}", getattr(benchmark.neighbors, name)).cpu().numpy()
        for name in ("ids", "distances")
    )
    if ids.ndim != 2 or ids.shape != distances.shape or len(ids) != len(test) or ids.dtype.kind not in "iu":
        raise ValueError(
            f"{where}: expected benchmark.neighbors of {len(test)} queries, got ids {ids.dtype} {list(ids.shape)}, "
            f"distances {list(distances.shape)}"
        )
    if ids.size and not (0 <= ids.min() <= ids.max() < len(train)):
        bounds = f"from 0 to {len(train) - 1}, got {ids.min()} to {ids.max()}"
        raise ValueError(f"{where}: expected benchmark.neighbors with ids {bounds}")
    h5py = hdf5("writing HDF5 files")
    # HDF5 would lock the file, which `replacing` has locked.
    with replacing(path) as unfinished, h5py.File(unfinished, "w", locking=False) as file:
        kind = "bit" if distance == "hamming" else "float"
        file.attrs.update({"type": "dense", "distance": distance, "dimension": dimension, "point_type": kind})
        for name, rows in zip(_ROWS, (train, test), strict=True):
            dtype = np.dtype(bool) if kind == "bit" else rows.dtype
            written = file.create_dataset(name, (len(rows), dimension), dtype)
            for block in _blocks(len(rows)):
                written[block] = _bits(rows[block], dimension) if kind == "bit" else rows[block]
        file.create_dataset("neighbors", data=ids.astype(np.int64))
        file.create_dataset("distances", data=distances.astype(np.float64))


_ROWS = ("train", "test")


def _rows(where: str, name: str, given: Array, distance: str, dimension: int) -> NumpyArray:
    """Return codes or vectors, checked."""
    x = to_tensor(where, name, given).detach()
    check_values(where, name, x)
    if distance == "hamming":
        check_codes(where, name, x)
    else:
        check_floating(where, name, x)
        x = x.float()
    check_matrix(where, name, x, "dimension")
    width = (dimension + 7) // 8 if distance == "hamming" else dimension
    if x.shape[1] != width:
        raise ValueError(f"{where}: expected {name} of {width} columns for dimension {dimension}, got {x.shape[1]}")
    rows: NumpyArray = x.cpu().numpy()
    return rows


def _bits(codes: NumpyArray, n_bits: int) -> NumpyArray:
    bits: NumpyArray = np.unpackbits(codes, axis=1, count=n_bits, bitorder="little").astype(bool)
    return bits
