"""USPS, handwritten digits of 16 x 16 pixels, as LIBSVM's site and the book's have them.

Source: J. J. Hull, "A Database for Handwritten Text Recognition Research", 1994; the files are those of C.-C. Chang,
C.-J. Lin, "LIBSVM", 2011, and of T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning", 2009.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from fasthash.data.base import Dataset, ReadPart, join_splits

FILES = "usps.bz2, usps.t.bz2, or zip.train.gz, zip.test.gz"

_SIDE = 16


def read_usps(name: str, folder: Path) -> Dataset | None:
    """Read USPS from LIBSVM's files or from the book's; None if neither are in `folder`."""
    for train, test, read in (("usps.bz2", "usps.t.bz2", _read_svmlight), ("zip.train.gz", "zip.test.gz", _read_zip)):
        if (folder / train).is_file():
            if not (folder / test).is_file():
                raise FileNotFoundError(f"{folder}: expected {test} besides {train}, got none")
            return join_splits(
                name, {"train": read(folder / train), "test": read(folder / test)}, tuple(map(str, range(10)))
            )
    return None


def _read_svmlight(path: Path) -> ReadPart:
    """Labels are 1 to 10 for the digits 0 to 9."""
    from sklearn.datasets import load_svmlight_file

    try:
        pixels, labels = load_svmlight_file(path, n_features=_SIDE**2, zero_based=False)
    except (EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path}: expected LIBSVM's format with {_SIDE**2} features, got {error}") from error
    return _split(path, pixels.toarray(), labels - 1)


def _read_zip(path: Path) -> ReadPart:
    """Lines of a digit and its pixels."""
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            rows = np.loadtxt(file, ndmin=2)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{path}: expected lines of numbers, compressed with gzip, got {error}") from error
    if rows.shape[1] != 1 + _SIDE**2:
        raise ValueError(f"{path}: expected {1 + _SIDE**2} numbers a line, got {rows.shape[1]}")
    return _split(path, rows[:, 1:], rows[:, 0])


def _split(path: Path, pixels: np.ndarray, labels: np.ndarray) -> ReadPart:
    if not (np.abs(pixels) <= 1).all():
        raise ValueError(f"{path}: expected pixels from -1 to 1, got {pixels.min()} to {pixels.max()}")
    images = np.rint((pixels + 1) * 127.5).astype(np.uint8).reshape(-1, _SIDE, _SIDE)
    if (labels % 1).any():
        raise ValueError(f"{path}: expected whole numbers as labels, got {labels[labels % 1 != 0][0]}")
    return ReadPart(path, images, labels.astype(np.int64))
