"""Arrays to the files of the benchmarks of nearest neighbours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fasthash.data.tables import NumpyArray
from fasthash.errors import check_matrix, check_path, check_values, dtype_name
from fasthash.files import replacing
from fasthash.ops.arrays import Array, to_tensor

_BLOCK_BYTES = 2**24


def write_array(path: str | os.PathLike[str], array: Array) -> None:
    """Write an array to a file that `read_array` reads, and the tools of the benchmarks; whole or not at all.

    Args:
        path: whose extension is the format: .fvecs and .fbin of float32, .bvecs and .u8bin of uint8, .i8bin of int8,
            .ivecs and .ibin of int32.
        array: of the format's dtype, [n, d]; for .fvecs and its kin d is at least 1. Written part by part: it may be
            mapped from a file and larger than memory.

    Raises:
        TypeError: if `path` is no path, or `array` is not of the format's dtype.
        ValueError: if the format is none of these, or the shape does not fit.
    """
    where = "write_array"
    check_path(where, "path", path)
    extension = Path(path).suffix
    if extension not in WRITERS:
        raise ValueError(f"{where}: expected path to end in {', '.join(WRITERS)}, got {extension or 'no extension'}")
    dtype, write = WRITERS[extension]
    x = to_tensor(where, "array", array).detach()
    if dtype_name(x) != dtype:
        raise TypeError(f"{where}: expected array of dtype {dtype} for {extension}, got {dtype_name(x)}")
    check_values(where, "array", x)
    check_matrix(where, "array", x, "d")
    n, d = x.shape
    least, most = (1, 2**31) if write is _write_vecs else (0, 2**32)
    if not (least <= d < most and n < 2**32):
        raise ValueError(f"{where}: expected array with {least} to {most - 1} columns for {extension}, got {[n, d]}")
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        write(file, x.cpu().numpy())


def _write_vecs(file: BinaryIO, x: NumpyArray) -> None:
    count = np.array([x.shape[1]], "<i4").view(np.uint8)
    for rows in _blocks(x):
        np.hstack([np.broadcast_to(count, (len(rows), 4)), rows.view(np.uint8)]).tofile(file)


def _write_bin(file: BinaryIO, x: NumpyArray) -> None:
    np.array(x.shape, "<u4").tofile(file)
    for rows in _blocks(x):
        rows.tofile(file)


def _blocks(x: NumpyArray) -> Iterator[NumpyArray]:
    """Yield rows, little-endian and contiguous."""
    size = max(1, _BLOCK_BYTES // max(1, x.shape[1] * x.itemsize))
    for start in range(0, len(x), size):
        yield np.ascontiguousarray(x[start : start + size], x.dtype.newbyteorder("<"))


WRITERS: dict[str, tuple[str, Callable[[BinaryIO, NumpyArray], None]]] = {
    ".fvecs": ("float32", _write_vecs),
    ".bvecs": ("uint8", _write_vecs),
    ".ivecs": ("int32", _write_vecs),
    ".fbin": ("float32", _write_bin),
    ".u8bin": ("uint8", _write_bin),
    ".i8bin": ("int8", _write_bin),
    ".ibin": ("int32", _write_bin),
}
"""By extension the dtype of a format and what writes it."""
