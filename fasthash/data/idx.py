"""idx, the format of MNIST and of sets made in its image.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import itertools
import math
import zlib
from pathlib import Path

import numpy as np

from fasthash.data.base import Dataset, ReadPart, join_splits
from fasthash.errors import check_path

FILES = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-... (or .idx3-ubyte; each may end in .gz)"

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_CLASS_NAMES = {
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
}


def read_idx(path: str | Path) -> np.ndarray:
    """Read an idx file, compressed with gzip or not.

    Returns:
        The array, of one of the format's six dtypes (uint8, int8, int16, int32, float32, float64), in native order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not idx, or shorter or longer than its header says.
    """
    check_path("read_idx", "path", path)
    data = Path(path).read_bytes()
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: expected a whole gzip file, got {error}") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _DTYPES:
        raise ValueError(f"{path}: expected idx (0, 0, a dtype from 8 to 14, dimensions), got the bytes {data[:4]!r}")
    dtype, ndim = np.dtype(_DTYPES[data[2]]), data[3]
    start = 4 + 4 * ndim
    shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4)]
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise ValueError(f"{path}: expected {expected} bytes, as its header of shape {shape} says, got {len(data)}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def read_idx_folder(name: str, folder: Path) -> Dataset | None:
    """Read images and labels under MNIST's file names; None if they are not in `folder`."""
    if _find(folder, "train-images", 3) is None:
        return None
    splits = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        _, images = _read_part(folder, f"{prefix}-images", 3)
        path, labels = _read_part(folder, f"{prefix}-labels", 1)
        splits[split] = ReadPart(path, images, labels)
    return join_splits(name, splits, _CLASS_NAMES.get(name))


def _read_part(folder: Path, stem: str, ndim: int) -> tuple[Path, np.ndarray]:
    path = _find(folder, stem, ndim)
    if path is None:
        raise FileNotFoundError(f"{folder}: expected {stem}-idx{ndim}-ubyte besides train-images-idx3-ubyte, got none")
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != ndim:
        raise ValueError(f"{path}: expected uint8 of {ndim} dimensions, got {array.dtype} of {array.ndim} dimensions")
    return path, array


def _find(folder: Path, stem: str, ndim: int) -> Path | None:
    names = (f"{stem}{separator}idx{ndim}-ubyte{end}" for separator, end in itertools.product("-.", ("", ".gz")))
    return next((folder / name for name in names if (folder / name).is_file()), None)
