"""CIFAR-10 and CIFAR-100, unpacked or as downloaded.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fasthash.data.base import Dataset, ReadPart, join_splits

_T = TypeVar("_T")
_PIXELS = 3 * 32 * 32
_CHUNK = 1 << 20


class _Release(NamedTuple):
    folder: str
    archive: str
    splits: Mapping[str, tuple[str, ...]]
    class_names: str  # the file that holds them
    label: int | tuple[bytes, bytes]  # which byte of a record, or the keys of labels and class names in the pickles


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_CIFAR10 = (
    _Release(
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
        {"train": tuple(f"{batch}.bin" for batch in _BATCHES), "test": ("test_batch.bin",)},
        "batches.meta.txt",
        0,
    ),
    _Release(
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        {"train": _BATCHES, "test": ("test_batch",)},
        "batches.meta",
        (b"labels", b"label_names"),
    ),
)
_CIFAR100 = (
    _Release(
        "cifar-100-binary",
        "cifar-100-binary.tar.gz",
        {"train": ("train.bin",), "test": ("test.bin",)},
        "fine_label_names.txt",
        1,
    ),
    _Release(
        "cifar-100-python",
        "cifar-100-python.tar.gz",
        {"train": ("train",), "test": ("test",)},
        "meta",
        (b"fine_labels", b"fine_label_names"),
    ),
)
CIFAR10_FILES, CIFAR100_FILES = (
    ", ".join(f"{release.folder}/, {release.archive}" for release in releases) + ", or the files of such a folder"
    for releases in (_CIFAR10, _CIFAR100)
)


def read_cifar10(name: str, folder: Path) -> Dataset | None:
    """Read CIFAR-10's binary or Python release; None if neither is in `folder`, packed or not."""
    return _read(name, folder, _CIFAR10)


def read_cifar100(name: str, folder: Path) -> Dataset | None:
    """Read CIFAR-100's binary or Python release with its fine labels; None if neither is in `folder`, packed or not."""
    return _read(name, folder, _CIFAR100)


def _read(name: str, folder: Path, releases: tuple[_Release, ...]) -> Dataset | None:
    for release in releases:
        for source in (folder / release.folder, folder / release.archive, folder):
            if source.is_file() or (source / release.class_names).is_file():
                return _read_release(name, source, release)
    return None


def _read_release(name: str, source: Path, release: _Release) -> Dataset:
    wanted = [release.class_names, *(file for files in release.splits.values() for file in files)]
    class_names: tuple[str, ...] | None = None
    batches = {}
    for file, data in _contents(source, wanted):
        if file == release.class_names:
            class_names = _class_names(source / file, data, release)
        else:
            batches[file] = _batch(source / file, data, release)
    missing = [file for file in wanted if file not in batches and (file != wanted[0] or class_names is None)]
    if missing or class_names is None:
        raise FileNotFoundError(f"{source}: expected {', '.join(wanted)} in it, got no {', '.join(missing)}")
    joined = join_splits(name, {file: batches[file] for file in wanted[1:]}, class_names)
    positions = {
        split: np.concatenate([joined.splits[file] for file in files]) for split, files in release.splits.items()
    }
    return replace(joined, splits=positions)


def _contents(source: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the wanted files of a folder or an archive, one at a time."""
    if source.is_dir():
        for file in wanted:
            if (source / file).is_file():
                yield file, (source / file).read_bytes()
        return
    try:
        with gzip.open(source) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                file = PurePosixPath(member.name).name
                content = archive.extractfile(member) if member.isfile() and file in wanted else None
                if content is not None:
                    yield file, content.read()
            while unpacked.read(_CHUNK):
                pass  # the checksum is compared at the end
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{source}: expected a whole .tar.gz archive, got {error}") from error


def _class_names(path: Path, data: bytes, release: _Release) -> tuple[str, ...]:
    if isinstance(release.label, int):
        return tuple(data.decode("ascii", "replace").split())
    names = _value(path, _unpickle(path, data), release.label[1], list)
    if not all(isinstance(name, bytes) for name in names):
        raise ValueError(f"{path}: expected the names of classes in {release.label[1]!r}, got {names}")
    return tuple(name.decode("ascii", "replace") for name in names)


def _batch(path: Path, data: bytes, release: _Release) -> ReadPart:
    if isinstance(release.label, int):
        size = release.label + 1 + _PIXELS
        if not data or len(data) % size:
            raise ValueError(f"{path}: expected records of {size} bytes, got {len(data)} bytes")
        records = np.frombuffer(data, np.uint8).reshape(-1, size)
        pixels, labels = records[:, -_PIXELS:], records[:, release.label].astype(np.int64)
    else:
        batch = _unpickle(path, data)
        pixels = _value(path, batch, b"data", np.ndarray)
        labels = np.array(_value(path, batch, release.label[0], list))
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
            raise ValueError(f"{path}: expected data of uint8 [n, {_PIXELS}], got {pixels.dtype} {list(pixels.shape)}")
    return ReadPart(path, np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels)


def _value(path: Path, batch: object, key: bytes, kind: type[_T]) -> _T:
    value = batch.get(key) if isinstance(batch, dict) else None
    if not isinstance(value, kind):
        raise ValueError(f"{path}: expected a dictionary with a {kind.__name__} {key!r}, got {type(value).__name__}")
    return value


class _ArrayUnpickler(pickle.Unpickler):
    """Builds plain values and NumPy arrays, as Python 2 pickled them, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"a reference to {module}.{name}, which could run code") from None


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def _unpickle(path: Path, data: bytes) -> object:
    try:
        return _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
    except (
        *(pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError),
        *(MemoryError, OverflowError, TypeError, ValueError),
    ) as error:
        raise ValueError(f"{path}: expected a pickle of arrays and plain values, got {error}") from error
