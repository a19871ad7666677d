"""MIRFLICKR-25000, photographs with the 24 topics that people saw in them, as its authors' archives unpack.

Source: M. J. Huiskes, M. S. Lew, "The MIR Flickr Retrieval Evaluation", 2008.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fasthash.data.base import Dataset, ImageFiles

FILES = "im1.jpg, ... (or in mirflickr/), and a list of numbers for each topic, animals.txt, ..., in annotations/"

_IMAGES = (".", "mirflickr")
_LISTS = ("annotations", "mirflickr25k_annotations_v080", "mirflickr25k_annotations_v080/annotations_v080")
_RELEVANT = "_r1"  # a stricter list of a topic, a part of the other


def read_mirflickr(name: str, folder: Path) -> Dataset | None:
    """Read the images that have a topic, with all their topics; None if `folder` has no first image.

    Raises:
        FileNotFoundError: if there are no lists of topics, or an image is missing.
        ValueError: if a line of one is no number of an image.
    """
    images = next((folder / x for x in _IMAGES if (folder / x / "im1.jpg").is_file()), None)
    if images is None:
        return None
    lists = next((found for x in _LISTS if (found := _lists(folder / x))), None)
    if lists is None:
        raise FileNotFoundError(f"{folder}: expected lists of topics in {' or '.join(_LISTS)}, got none")
    members = [_numbers(path) for path in lists]
    numbers = sorted(set().union(*members))
    files = [f"{images}/im{number}.jpg" for number in numbers]
    missing = next((file for file in files if not os.path.isfile(file)), None)
    if missing is not None:
        raise FileNotFoundError(f"{folder}: expected the image {missing}, which has a topic but is not there")
    labels = np.array([[number in topic for topic in members] for number in numbers], np.bool_)
    return Dataset(name, ImageFiles(files), labels, {}, tuple(path.stem for path in lists))


def _lists(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.txt")) if path.stem.islower() and not path.stem.endswith(_RELEVANT)]


def _numbers(path: Path) -> set[int]:
    lines = path.read_text().split()
    wrong = next((line for line in lines if not (line.isascii() and line.isdigit())), None)
    if wrong is not None or not lines:
        raise ValueError(f"{path}: expected the numbers of images, a line each, got {wrong or 'none'}")
    return set(map(int, lines))
