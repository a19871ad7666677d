"""Names of data sets, and where they are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fasthash.data import cifar, digits, folders, idx, lists, mirflickr, places, svhn, usps
from fasthash.data.base import Dataset
from fasthash.data.npz import read_npz
from fasthash.data.parquet import read_features
from fasthash.errors import check_path, nearest_name
from fasthash.plugins import Registry


class Layout(NamedTuple):
    """Files that a data set can lie in.

    Attributes:
        files: what they are called, for the error that lists what was looked for.
        read: called with the data set's name and the folder, or the path of an .npz file; returns None if it does not
            have this layout.
    """

    files: str
    read: Callable[[str, Path], Dataset | None]


_FILES = {".npz": Layout("", read_npz), ".parquet": Layout("", read_features)}
_IDX = Layout(idx.FILES, idx.read_idx_folder)
_CIFAR10 = Layout(cifar.CIFAR10_FILES, cifar.read_cifar10)
_CIFAR100 = Layout(cifar.CIFAR100_FILES, cifar.read_cifar100)
_DIGITS = Layout(digits.FILES, digits.read_digits)
_USPS = Layout(usps.FILES, usps.read_usps)
_SVHN = Layout(svhn.FILES, svhn.read_svhn)
_MIRFLICKR = Layout(mirflickr.FILES, mirflickr.read_mirflickr)
_PLACES = Layout(places.FILES, places.read_places)
_LISTS = Layout(lists.FILES, lists.read_lists)
_FOLDERS = Layout(folders.FILES, folders.read_image_folder)
_LAYOUTS = (_IDX, _CIFAR10, _CIFAR100, _USPS, _SVHN, _MIRFLICKR, _PLACES, _LISTS, _FOLDERS)

_OWN: dict[str, Sequence[tuple[str, Layout]]] = {
    "cifar10": ((".", _CIFAR10), ("cifar10", _CIFAR10), ("cifar10", _LISTS), ("cifar10", _FOLDERS)),
    "cifar100": ((".", _CIFAR100), ("cifar100", _CIFAR100)),
    "coco": (("coco", _LISTS),),
    "digits": ((".", _DIGITS),),
    "fashion_mnist": (("fashion_mnist", _IDX), ("FashionMNIST/raw", _IDX)),
    "flickr25k": (("flickr25k", _LISTS), ("flickr25k", _FOLDERS)),
    "imagenet100": (("imagenet100", _LISTS),),
    "mirflickr25k": (("mirflickr25k", _MIRFLICKR),),
    "mnist": (("mnist", _IDX), ("MNIST/raw", _IDX)),
    "nuswide_21": (("nuswide_21", _LISTS),),
    "nuswide_81": (("nuswide_81", _LISTS),),
    "office31/amazon": (("office31/amazon", _FOLDERS),),
    "office31/dslr": (("office31/dslr", _FOLDERS),),
    "office31/webcam": (("office31/webcam", _FOLDERS),),
    "places365": (("places365", _PLACES),),
    "svhn": ((".", _SVHN), ("svhn", _SVHN)),
    "usps": ((".", _USPS), ("usps", _USPS)),
}
DATASETS: Registry[Sequence[tuple[str, Layout]]] = Registry("fasthash.datasets", _OWN)
"""Places by name: folders below the root with the layout to look for in each, first to last."""


def load_dataset(name: str | Path, root: str | Path | None = None) -> Dataset:
    """Load a data set from disk.

    Args:
        name: a key of `DATASETS` (`fasthash/data/README.md` lists them), another name that an .npz file or a folder in
            `root` has, or a path to one or to a .parquet file: a `Path`, or a string that has a slash or ends so.
        root: the folder that names are looked for in; by default the environment variable FASTHASH_DATA.

    Returns:
        The data set; arrays are in memory, image files are decoded when asked for.

    Raises:
        FileNotFoundError: if it is not found, with every place that was looked at, or lacks one of its files.
        MissingDependencyError: if it is of image files and Pillow is not installed.
        ValueError: if a file is damaged or not what its name says.
    """
    check_path("load_dataset", "name", name)
    if root is not None:
        check_path("load_dataset", "root", root)
    given = os.environ.get("FASTHASH_DATA") if root is None else root
    title, places = _places(name, Path(given or "$FASTHASH_DATA"))
    for path, layout in places:
        dataset = layout.read(title, path)
        if dataset is not None:
            return dataset
    looked_for = "".join(f"\n  {path}{layout.files and ': ' + layout.files}" for path, layout in places)
    raise FileNotFoundError(
        f"load_dataset: found no data set {str(name)!r}; looked for{looked_for}\n"
        f"Pass root= (--data-root) or set the environment variable FASTHASH_DATA to the folder that holds it "
        f"({f'now {given}' if given else 'neither is set'}), or pass a path. Registered names: {', '.join(DATASETS)}"
        f"{nearest_name(str(name), DATASETS)}"
    )


def _places(name: str | Path, root: Path) -> tuple[str, list[tuple[Path, Layout]]]:
    """Return what to call a data set, and the places to look for it, first to last."""
    if isinstance(name, str) and name in DATASETS:
        return name, [
            (root / f"{name}.npz", _FILES[".npz"]),
            *((root / folder, layout) for folder, layout in DATASETS[name]),
        ]
    path = Path(name)
    is_file = path.suffix in _FILES
    places = [(path, layout) for layout in ([_FILES[path.suffix]] if is_file else _LAYOUTS)]
    if isinstance(name, str):
        in_root = [(root / place, layout) for place, layout in places]
        if not is_file:
            in_root.insert(0, (root / f"{name}.npz", _FILES[".npz"]))
        places = places + in_root if is_file or "/" in name else in_root
    return path.stem if is_file else path.resolve().name, places
