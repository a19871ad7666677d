"""What a reader returns."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex

import numpy as np

from fasthash.errors import MAX_INTEGER, MissingDependencyError, check_integer, check_label_shape

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_UNNAMED_CLASSES = 1000  # as many may be numbered without an item each


class ImageFiles:
    """Images that stay in their files until they are asked for; needs Pillow (the extra "images").

    Args:
        paths: the files, in the order of the items.

    `len(files)` is the number of images; `files[i]` decodes one to uint8 [h, w, 3], 16 bits of gray v to the nearest of
    v / 257, or raises a ValueError that names the file.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        if isinstance(paths, str) or not isinstance(paths, Sequence):
            raise TypeError(f"ImageFiles: expected paths to be a list of them, got {type(paths).__name__}")
        for i, path in enumerate(paths):
            if not isinstance(path, (str, Path)):
                raise TypeError(f"ImageFiles: expected paths of strings or Paths, got {type(path).__name__} at {i}")
        try:
            import PIL.Image  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError("reading image files", "Pillow", "images") from error
        self.paths = tuple(map(Path, paths))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: SupportsIndex) -> np.ndarray:
        path = self.paths[check_integer("ImageFiles", "i", i, -MAX_INTEGER)]
        try:
            return np.array(read_picture(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def read_picture(path: Path) -> Picture:
    """Return the picture in a file in RGB; 16 bits of gray become the nearest 8.

    Raises:
        ValueError: that leaves it to the caller to name the file, if Pillow cannot decode it, or gray values are of
            more than 16 bits or not integers.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode not in ("F", "I") and not image.mode.startswith("I;16"):
                return image.convert("RGB")
            grays = np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"expected an image that Pillow can decode, got {error}") from error
    if grays.dtype.kind == "f" or grays.min() < 0 or grays.max() > 65535:
        raise ValueError(
            f"expected an image of 8 or 16 bits a colour, got gray values of {grays.dtype.name} "
            f"from {grays.min()} to {grays.max()}"
        )
    return Image.fromarray(((grays.astype(np.int32) + 128) // 257).astype(np.uint8)).convert("RGB")


class ReadPart(NamedTuple):
    """A part of a data set as it was read, and the file that it was read from."""

    path: Path
    items: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Items with labels.

    Attributes:
        name: what the data set is called.
        items: uint8 images [n, h, w] or [n, h, w, 3], float32 features [n, d], or image files, decoded one by one.
        labels: int64 [n], or bool [n, c] where an item may have several labels.
        splits: the source's own splits: int64 positions into the items by name ("train", "test", "database"). They
            are disjoint unless the source's are not; empty if it has none.
        class_names: label i is `class_names[i]`.

    Raises:
        TypeError: if a field is of another type.
        ValueError: if shapes, dtypes, labels or positions do not fit together.
    """

    name: str
    items: np.ndarray | ImageFiles
    labels: np.ndarray
    splits: Mapping[str, np.ndarray]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        where = f"data set {self.name!r}"
        if not isinstance(self.name, str):
            raise TypeError(f"{where}: expected name to be a string, got {type(self.name).__name__}")
        if not isinstance(self.class_names, tuple) or not all(isinstance(name, str) for name in self.class_names):
            raise TypeError(
                f"{where}: expected class_names to be a tuple of strings, got {reprlib.repr(self.class_names)}"
            )
        if not isinstance(self.splits, Mapping):
            raise TypeError(f"{where}: expected splits to be a mapping of arrays, got {type(self.splits).__name__}")
        if not isinstance(self.items, ImageFiles):
            check_array(where, "items", self.items)
            check_items(where, "items", self.items)
        check_array(where, "labels", self.labels)
        check_labels(where, "labels", self.labels, len(self.items), self.n_classes)
        if self.labels.dtype not in (np.int64, np.bool_):
            raise ValueError(f"{where}: expected labels of dtype int64 or bool, got {self.labels.dtype}")
        for name, positions in self.splits.items():
            check_array(where, f"splits[{name!r}]", positions)
            if positions.dtype != np.int64 or positions.ndim != 1:
                raise ValueError(
                    f"{where}: expected int64 positions [m] for the split {name!r}, "
                    f"got {positions.dtype} {list(positions.shape)}"
                )
            if len(positions) and not (positions.min() >= 0 and positions.max() < len(self.items)):
                raise ValueError(
                    f"{where}: expected positions from 0 to {len(self.items) - 1} in the split {name!r}, "
                    f"got {positions.min()} to {positions.max()}"
                )

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


def check_array(where: Path | str, name: str, x: np.ndarray) -> None:
    """Raise unless `x` is a NumPy array, without a mask."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{where}: expected {name} to be a NumPy array, got {type(x).__name__}")


def check_items(where: Path | str, name: str, items: np.ndarray) -> None:
    """Raise unless `items` are uint8 images or finite float32 features."""
    images = items.dtype == np.uint8 and (items.ndim == 3 or (items.ndim == 4 and items.shape[3] == 3))
    features = items.dtype == np.float32 and items.ndim == 2
    if not (images or features):
        raise ValueError(
            f"{where}: expected {name} to be uint8 [n, h, w] or [n, h, w, 3] or float32 [n, d], "
            f"got {items.dtype} {list(items.shape)}"
        )
    if features and not np.isfinite(items).all():
        raise ValueError(f"{where}: expected {name} to be finite, got NaN or infinity")


def check_labels(where: Path | str, name: str, labels: np.ndarray, n_items: int, n_classes: int | None = None) -> None:
    """Raise unless `labels` are classes [n_items] below `n_classes`, or indicators [n_items, n_classes] of 0 and 1."""
    check_label_shape(str(where), name, labels.shape, n_items, n_classes)
    if labels.dtype.kind not in "iub" or (labels.dtype.kind == "b" and labels.ndim == 1):
        raise ValueError(
            f"{where}: expected {name} to be integers [n] or indicators [n, c], got {labels.dtype} {list(labels.shape)}"
        )
    if labels.size == 0:
        return
    largest = 1 if labels.ndim == 2 else np.inf if n_classes is None else n_classes - 1
    if labels.min() < 0 or labels.max() > largest:
        bounds = "of at least 0" if largest == np.inf else f"from 0 to {largest}"
        raise ValueError(f"{where}: expected {name} {bounds}, got {labels.min()} to {labels.max()}")


def join_splits(name: str, splits: Mapping[str, ReadPart], class_names: Sequence[str] | None = None) -> Dataset:
    """Make a data set of splits that follow each other, in arrays.

    Args:
        name: what the data set is called.
        splits: by name; labels are integers [n], or indicators [n, c] of 0 and 1.
        class_names: by default the labels' own numbers.

    Raises:
        ValueError: if a split's items and labels do not fit together, the splits do not, or classes have neither names
            nor numbers from 0.
    """
    n_items = sum(len(split.labels) for split in splits.values())
    n_classes = None if class_names is None else len(class_names)
    first = next(iter(splits.values()))
    for split in splits.values():
        check_items(split.path, "items", split.items)
        check_labels(split.path, "labels", split.labels, len(split.items), n_classes)
        if class_names is None:
            check_numbered(split.path, split.labels, n_items)
        for kind, array, other in (("items", split.items, first.items), ("labels", split.labels, first.labels)):
            if array.shape[1:] != other.shape[1:]:
                raise ValueError(
                    f"{split.path}: expected {kind} of the shape {list(other.shape[1:])} each, as in {first.path}, "
                    f"got {list(array.shape[1:])}"
                )
    bounds = np.cumsum([0, *(len(split.items) for split in splits.values())])
    labels = as_labels(np.concatenate([split.labels for split in splits.values()]))
    return Dataset(
        name,
        np.concatenate([split.items for split in splits.values()]),
        labels,
        {split: np.arange(*bounds[i : i + 2]) for i, split in enumerate(splits)},
        number_names(labels) if class_names is None else tuple(class_names),
    )


def check_numbered(where: Path | str, labels: np.ndarray, n_items: int) -> None:
    """Raise if classes without names have numbers too large for a data set of `n_items`, as ids have."""
    largest = max(_UNNAMED_CLASSES, n_items) - 1
    if labels.ndim == 1 and labels.max(initial=0) > largest:
        raise ValueError(
            f"{where}: expected labels of classes numbered from 0, to {largest} at most without class_names, "
            f"got up to {labels.max()}; number them by class_names, labels = np.unique(labels, return_inverse=True)"
        )


def as_labels(labels: np.ndarray) -> np.ndarray:
    """Return integers [n] as int64, and indicators [n, c] as bool."""
    return labels.astype(np.int64 if labels.ndim == 1 else np.bool_)


def number_names(labels: np.ndarray) -> tuple[str, ...]:
    """Return names for classes that have none: "0", "1", ..."""
    n_classes = labels.shape[1] if labels.ndim == 2 else int(labels.max(initial=-1)) + 1
    return tuple(map(str, range(n_classes)))
