"""Folders of images, a folder a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fasthash.data.base import Dataset, ImageFiles

FILES = "<class>/*.jpg, or train/<class>/*.jpg, test/<class>/*.jpg (any image format; images/<class> as well)"

_SPLITS = ("train", "val", "valid", "validation", "test", "query", "gallery", "database")
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_NAMED = 5  # folders in an error


def read_image_folder(name: str, folder: Path) -> Dataset | None:
    """Read folders of images, in sorted order; None if `folder` has none.

    If every folder in `folder` is named as a split, the classes are one level below. Images in folders of a class are
    of that class, as long as some class has images of its own.

    Raises:
        ValueError: if a class has no images, or all images are in folders of what would be the classes.
    """
    folders = _folders(folder)
    if [path.name for path in folders] == ["images"]:
        return read_image_folder(name, folders[0])
    split_folders = folders if folders and all(path.name in _SPLITS for path in folders) else []
    class_folders = [path for parent in split_folders or [folder] for path in _folders(parent)]
    images = [_images(path) for path in class_folders]
    if not any(images):
        return None
    if not all(images):
        empty = next(path for path, files in zip(class_folders, images, strict=True) if not files)
        raise ValueError(f"{empty}: expected images ({', '.join(_SUFFIXES)}), as in the other classes, got none")
    if not any(file.parent == path for path, files in zip(class_folders, images, strict=True) for file in files):
        got = [str(path.relative_to(folder)) for path in class_folders]
        raise ValueError(
            f"{folder}: expected a folder of images for each class, or such folders in parts of the names "
            f"{', '.join(_SPLITS)}, got folders with images only further below: {', '.join(got[:_NAMED])}"
            f"{', ...' if len(got) > _NAMED else ''}, the first {images[0][0].relative_to(folder)}"
        )
    class_names = sorted({path.name for path in class_folders})
    counts = [len(files) for files in images]
    labels = np.repeat([class_names.index(path.name) for path in class_folders], counts)
    origins = np.repeat([split_folders.index(path.parent) if split_folders else 0 for path in class_folders], counts)
    return Dataset(
        name,
        ImageFiles([file for files in images for file in files]),
        labels,
        {path.name: np.flatnonzero(origins == i) for i, path in enumerate(split_folders)},
        tuple(class_names),
    )


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.name[0] != ".")
