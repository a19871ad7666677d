"""NumPy's .npz."""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from fasthash.data.base import Dataset, ReadPart, join_splits

_CHUNK = 1000  # images decoded at once, so that what is worked on stays in the cache


def read_npz(name: str, path: Path) -> Dataset | None:
    """Read images or features with labels from an .npz file, without pickle.

    Keys: `<split>_images`, `<split>_features` or `<split>_delta` with `<split>_labels` for every split, or `images` or
    `features` with `labels`, and `<split>_positions` for the splits that there are; `class_names` if they have names.
    Other keys are ignored.

    Returns:
        The data set, or None if there is no such file.

    Raises:
        ValueError: if the file is damaged or arrays are missing, or do not fit together.
    """
    if not path.is_file():
        return None
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: expected an .npz archive, got a file that is none or is cut off")
    try:
        file = np.load(path, allow_pickle=False)
    except (NotImplementedError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: expected an .npz archive, got {error}") from error
    with file:
        class_names = tuple(map(str, _array(path, file, "class_names").ravel())) if "class_names" in file else None
        found = [match for key in file if (match := re.fullmatch(r"(?:(\w+)_)?(images|features|delta)", key))]
        splits: dict[str, ReadPart] = {}
        for match in found:
            split = match[1] or ""
            if split in splits:
                raise ValueError(
                    f"{path}: expected one array of items for each split, got {match[0]!r} besides another"
                )
            items = _array(path, file, match[0])
            if match[2] == "delta":
                items = _decode_delta(path, match[0], items)
            elif match[2] == "features" and items.dtype.kind == "f":
                items = items.astype(np.float32, copy=False)
            splits[split] = ReadPart(path, items, _array(path, file, f"{split}_labels".lstrip("_")))
        suffix = "_positions"
        positions = {
            key.removesuffix(suffix): _array(path, file, key) for key in file if "" in splits and key.endswith(suffix)
        }
    if not splits or ("" in splits and len(splits) > 1):
        raise ValueError(
            f"{path}: expected the arrays train_images, train_labels, test_images, test_labels, or images and labels "
            f"(features or delta for images), got {', '.join(file.files)}"
        )
    joined = join_splits(name, splits, class_names)
    if "" not in splits:
        return joined
    try:
        return replace(joined, splits=positions)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _array(path: Path, file: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    if key not in file:
        raise ValueError(f"{path}: expected the array {key!r}, got {', '.join(file.files)}")
    try:
        return np.asarray(file[key])
    except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected a readable array {key!r}, got {error}") from error


def _decode_delta(path: Path, key: str, delta: np.ndarray) -> np.ndarray:
    """Sum differences, uint8 [3, n, h, w] modulo 256, to images [n, h, w, 3]; red and blue are relative to green."""
    if delta.dtype != np.uint8 or delta.ndim != 4 or delta.shape[0] != 3:
        raise ValueError(f"{path}: expected {key} of uint8 [3, n, h, w], got {delta.dtype} {list(delta.shape)}")
    images = np.empty((*delta.shape[1:], 3), np.uint8)
    for start in range(0, len(images), _CHUNK):
        planes = delta[:, start : start + _CHUNK].cumsum(2, dtype=np.uint8).cumsum(3, dtype=np.uint8)
        planes[[0, 2]] += planes[1]
        images[start : start + _CHUNK] = planes.transpose(1, 2, 3, 0)
    return images
