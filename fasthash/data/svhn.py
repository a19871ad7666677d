"""SVHN's cropped digits.

Source: Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from fasthash.data.base import Dataset, ReadPart, join_splits

FILES = "train_32x32.mat, test_32x32.mat"


def read_svhn(name: str, folder: Path) -> Dataset | None:
    """Read SVHN's training and test sets, not the extra one; None if they are not in `folder`."""
    train, test = folder / "train_32x32.mat", folder / "test_32x32.mat"
    if not train.is_file():
        return None
    if not test.is_file():
        raise FileNotFoundError(f"{folder}: expected {test.name} besides {train.name}, got none")
    return join_splits(name, {"train": _read_mat(train), "test": _read_mat(test)}, tuple(map(str, range(10))))


def _read_mat(path: Path) -> ReadPart:
    """Pixels are [32, 32, 3, n]; the label of the digit 0 is 10."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        arrays = loadmat(path, variable_names=("X", "y"))
    except (
        *(MatReadError, EOFError, OSError, struct.error, zlib.error),
        *(IndexError, NotImplementedError, TypeError, ValueError),
    ) as error:
        raise ValueError(f"{path}: expected a MATLAB file of version 5, got {error}") from error
    pixels, labels = arrays.get("X"), arrays.get("y")
    if pixels is None or labels is None or pixels.dtype != np.uint8 or pixels.shape[:-1] != (32, 32, 3):
        got = {name: f"{array.dtype} {list(array.shape)}" for name, array in arrays.items() if name in ("X", "y")}
        raise ValueError(f"{path}: expected X of uint8 [32, 32, 3, n] and y of [n, 1], got {got}")
    classes = labels.ravel().astype(np.int64)
    if len(classes) and not (classes.min() >= 1 and classes.max() <= 10):
        raise ValueError(f"{path}: expected labels from 1 to 10, got {classes.min()} to {classes.max()}")
    return ReadPart(path, np.ascontiguousarray(pixels.transpose(3, 0, 1, 2)), classes % 10)
