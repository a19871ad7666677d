"""Arrays in files: NumPy's, tables, and those of the benchmarks of nearest neighbours."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from fasthash.data.tables import (
    NumpyArray,
    chosen_of,
    read_arrow,
    read_csv,
    read_hdf5,
    read_parquet,
    read_txt,
    whole,
)
from fasthash.errors import check_path

_NAMED = re.compile(r"(?s)(.*\.(?:npz|parquet|arrow|feather|h5|hdf5|csv)):(.+)")


def read_array(place: str | os.PathLike[str]) -> NumpyArray:
    """Return the array of a file, of one dimension or more; `fasthash/data/README.md` lists the formats.

    Args:
        place: a path, whose extension is the format; or "file.npz:name" or "file.h5:group/name" of
            an array among several, "file.parquet:name", "file.arrow:name" or "file.csv:name" of a column.

    Returns:
        The array; mapped from the file and read-only of .npy, .fvecs, .fbin and their kin, and of .arrow and .h5 where
        it lies there in one piece. Of hexadecimal hashes, which `fasthash.from_hashes` takes, the digits, str [n].

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if `place` is no path.
        MissingDependencyError: if it is a Parquet or Arrow file and pyarrow is not installed, or HDF5 and h5py is not.
        ValueError: if the format is none of these, or the file is damaged, cut off, or has no such array.
    """
    check_path("read_array", "place", place)
    try:
        return _read(*located(place))
    except ValueError as error:
        raise ValueError(f"read_array: {error}") from error


def _read(path: Path, name: str | None) -> NumpyArray:
    if path.suffix not in READERS:
        raise ValueError(f"{path}: expected a file in {', '.join(READERS)}, got {path.suffix or 'no extension'}")
    with path.open("rb"):  # what the system says is said of every format alike
        array = READERS[path.suffix](path, name)
    if array.ndim == 0:
        raise ValueError(f"{path}: expected an array of at least one dimension, got a single {array.dtype}")
    return array


def located(place: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Return the file of what `read_array` takes, and which of its arrays, None where that is not said."""
    named = None if Path(place).exists() else _NAMED.fullmatch(os.fspath(place))
    return (Path(place), None) if named is None else (Path(named[1]), named[2])


def _read_npy(path: Path, name: str | None) -> NumpyArray:
    with path.open("rb") as file:
        magic = file.read(6)
    if magic != b"\x93NUMPY":
        raise ValueError(f"{path}: expected an array written by numpy.save, got a file that begins with {magic!r}")
    with whole(path, "a whole array written by numpy.save"):
        array: NumpyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _read_npz(path: Path, name: str | None) -> NumpyArray:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: expected an .npz archive, got a file that is none or is cut off")
    with whole(path, "a whole .npz archive"):
        file = np.load(path, allow_pickle=False)
    with file:
        chosen = chosen_of(path, name, file.files)
        with whole(path, f"a whole array {chosen!r}"):
            return np.asarray(file[chosen])


def _read_vecs(dtype: str, path: Path, name: str | None) -> NumpyArray:
    """Return what INRIA's formats hold: rows of a length, int32, and as many numbers."""
    size, itemsize = path.stat().st_size, np.dtype(dtype).itemsize
    d = int(np.fromfile(path, "<i4", 1)[0]) if size >= 4 else 0
    n, rest = divmod(size, 4 + d * itemsize) if d > 0 else (0, size)
    if rest:
        raise ValueError(f"{path}: expected rows of {d} numbers and their count, got a file of {size} bytes")
    if n == 0:
        return np.empty((0, 0), dtype)
    rows = np.memmap(path, np.uint8, "r", shape=(n, 4 + d * itemsize))
    last = int(rows[-1, :4].copy().view("<i4")[0])
    if last != d:
        raise ValueError(f"{path}: expected rows of {d} numbers, got a last one of {last}")
    return rows.view(dtype)[:, 4 // itemsize :]


def _read_bin(dtype: str, path: Path, name: str | None) -> NumpyArray:
    """Return what the formats of big-ann-benchmarks hold: rows and columns, uint32, and as many numbers."""
    size = path.stat().st_size
    if size < 8:
        raise ValueError(f"{path}: expected the counts of rows and columns, got a file of {size} bytes")
    n, d = map(int, np.fromfile(path, "<u4", 2))
    described = 8 + n * d * np.dtype(dtype).itemsize
    if size != described:
        raise ValueError(f"{path}: expected {described} bytes, as its counts {n} and {d} say, got {size}")
    return np.memmap(path, dtype, "r", 8, (n, d)) if n * d else np.empty((n, d), dtype)


READERS: dict[str, Callable[[Path, str | None], NumpyArray]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".csv": read_csv,
    ".txt": read_txt,
    ".fvecs": partial(_read_vecs, "<f4"),
    ".bvecs": partial(_read_vecs, "|u1"),
    ".ivecs": partial(_read_vecs, "<i4"),
    ".fbin": partial(_read_bin, "<f4"),
    ".u8bin": partial(_read_bin, "|u1"),
    ".i8bin": partial(_read_bin, "|i1"),
    ".ibin": partial(_read_bin, "<i4"),
}
"""By extension what reads a file, given which of its arrays is meant, or None."""
