"""Arrays in files, as the commands take them."""

from __future__ import annotations

import os
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NumpyArray = NDArray[Any]

_DAMAGE = (  # what NumPy raises where a header is not one
    *(EOFError, MemoryError, OverflowError, RecursionError, SyntaxError, TypeError, ValueError),
    tokenize.TokenError,
)


def read_array(path: str | os.PathLike[str]) -> NumpyArray:
    """Return the array of a .npy file, of at least one dimension, mapped from the file and read-only.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another kind, damaged or cut off.
    """
    file = Path(path)
    if file.suffix not in _READERS:
        raise ValueError(f"{file}: expected a file in {', '.join(_READERS)}, got {file.suffix or 'no extension'}")
    array = _READERS[file.suffix](file)
    if array.ndim == 0:
        raise ValueError(f"{file}: expected an array of at least one dimension, got a single {array.dtype}")
    return array


def _read_npy(path: Path) -> NumpyArray:
    with path.open("rb") as file:
        magic = file.read(6)
    if magic != b"\x93NUMPY":
        raise ValueError(f"{path}: expected an array written by numpy.save, got a file that begins with {magic!r}")
    try:
        array: NumpyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        raise ValueError(f"{path}: expected a whole array written by numpy.save, got {error}") from error
    return array


_READERS: dict[str, Callable[[Path], NumpyArray]] = {".npy": _read_npy}
