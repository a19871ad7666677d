"""Lists of images with 0/1 labels, the hashing literature's train.txt, test.txt and database.txt.

Source: Z. Cao et al., "HashNet: Deep Learning to Hash by Continuation", 2017, whose repository has them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fasthash.data.base import Dataset, ImageFiles, number_names

FILES = "train.txt, test.txt and, where there is one, database.txt; a line is a path and a 0 or 1 for every class"

_SPLITS = ("train", "test", "database")


def read_lists(name: str, folder: Path) -> Dataset | None:
    """Read lists of images; None if `folder` has no train.txt and test.txt.

    An image in several lists is one item. Labels are integers if every image has exactly one class, else indicators.
    Paths are relative to the lists' folder or to the one above it. Leading folders of the machine that a list was made
    on are left out: as few as leave the list's first path with a file.

    Raises:
        FileNotFoundError: if an image is missing.
        ValueError: if a line is not a path and labels, as many as in the line before, or a path comes with two labels.
    """
    paths = {split: folder / f"{split}.txt" for split in _SPLITS if (folder / f"{split}.txt").is_file()}
    if not {"train", "test"} <= paths.keys():
        return None
    positions: dict[str, int] = {}
    rows: list[bytes] = []
    splits = {}
    for split, path in paths.items():
        split_positions = []
        for where, file, row in _lines(path):
            position = positions.setdefault(file, len(rows))
            if position == len(rows):
                if not os.path.isfile(file):
                    raise FileNotFoundError(f"{where}: expected the image {file}, which is not there")
                rows.append(row)
            if len(row) != len(rows[0]):
                raise ValueError(f"{where}: expected {len(rows[0])} labels as in {paths['train']}, got {len(row)}")
            if row != rows[position]:
                raise ValueError(f"{where}: expected the labels that {file} had before, got others")
            split_positions.append(position)
        splits[split] = np.array(split_positions, np.int64)
    labels = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1) == ord("1")
    class_names = number_names(labels)
    if (labels.sum(1) == 1).all():
        labels = labels.argmax(1)
    return Dataset(name, ImageFiles([Path(file) for file in positions]), labels, splits, class_names)


def _lines(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield where a line is, its image's file and its labels as the characters 0 and 1."""
    root, prefix = None, ""
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            image, *labels = line.split() or [""]
            if not image:
                continue
            if len(labels) < 2 or not set(labels) <= {"0", "1"}:  # one could be a class
                raise ValueError(
                    f"{where}: expected a path and labels of 0 and 1, one for each of two or more classes, got "
                    f"{line[:100].strip()!r}"
                )
            if root is None:
                root, prefix = _image_root(where, path.parent, image)
            if not image.startswith(prefix):
                raise ValueError(f"{where}: expected a path that starts with {prefix!r} as in line 1, got {image!r}")
            yield where, os.path.normpath(root / image[len(prefix) :]), "".join(labels).encode()
    if root is None:
        raise ValueError(f"{path}: expected lines of a path and labels, got none")


def _image_root(where: str, folder: Path, image: str) -> tuple[Path, str]:
    """Find the folder that a path is relative to, and what the path must be freed of before."""
    parts = image.split("/")
    for dropped in range(len(parts)):
        kept = "/".join(parts[dropped:])
        for root in (folder, folder.parent):
            if kept and (root / kept).is_file():
                return root, image[: len(image) - len(kept)]
    raise FileNotFoundError(f"{where}: expected the image {image!r} in {folder} or {folder.parent}, where it is not")
