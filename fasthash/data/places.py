"""Places365-Standard, scenes of 365 classes, as its authors' archives unpack.

Source: B. Zhou et al., "Places: A 10 Million Image Database for Scene Recognition", 2017.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fasthash.data.base import Dataset, ImageFiles

FILES = "places365_train_standard.txt, categories_places365.txt and data_256/ or data_large/ (lists in a folder or not)"

_LISTS = (".", "filelist_places365-standard")
_IMAGES = ("data_256", "data_large", "data_256_standard", "data_large_standard")


def read_places(name: str, folder: Path) -> Dataset | None:
    """Read the training images, 1.8 millions; None if `folder` has no list of them.

    Raises:
        FileNotFoundError: if the names of the classes or an image are missing.
        ValueError: if a line is not a path and a class.
    """
    lists = next((folder / x for x in _LISTS if (folder / x / "places365_train_standard.txt").is_file()), None)
    if lists is None:
        return None
    names = [path.removeprefix("/") for path, _ in _lines(lists / "categories_places365.txt")]
    images = next((folder / x for x in _IMAGES if (folder / x).is_dir()), None)
    if images is None:
        raise FileNotFoundError(f"{folder}: expected the images in {' or '.join(_IMAGES)}, got none of these folders")
    listed = lists / "places365_train_standard.txt"
    files, labels = [], []
    for number, (path, label) in enumerate(_lines(listed), 1):
        file = f"{images}/{path.removeprefix('/')}"
        if label >= len(names):
            raise ValueError(f"{listed}, line {number}: expected a class below {len(names)}, got {label}")
        if not os.path.isfile(file):
            raise FileNotFoundError(f"{listed}, line {number}: expected the image {file}, which is not there")
        files.append(file)
        labels.append(label)
    return Dataset(name, ImageFiles(files), np.array(labels, np.int64), {"train": np.arange(len(files))}, tuple(names))


def _lines(path: Path) -> list[tuple[str, int]]:
    """Return the paths and the numbers of a list."""
    lines = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        image, _, label = line.rpartition(" ")
        if not image or not label.isascii() or not label.isdigit():
            raise ValueError(f"{path}, line {number}: expected a path and a class, got {line[:100]!r}")
        lines.append((image, int(label)))
    if not lines:
        raise ValueError(f"{path}: expected lines of a path and a class, got none")
    return lines
