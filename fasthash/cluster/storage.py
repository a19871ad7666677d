"""Files of this machine, whose disks need no package, and on any storage that pyarrow or fsspec knows."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fasthash.errors import MissingDependencyError
from fasthash.files import replacing

_WILD = re.compile(r"[*?\[]")


class Place(NamedTuple):
    """A folder or file on a storage.

    Attributes:
        filesystem: a `pyarrow.fs.FileSystem`; None for what this machine has mounted.
        path: there.
    """

    filesystem: Any
    path: str

    def under(self, name: str) -> Place:
        """Return a file in this folder."""
        return self._replace(path=f"{self.path.rstrip('/')}/{name}")

    def is_folder(self, other: Place) -> bool:
        """Return whether both are the same folder."""
        return self.filesystem == other.filesystem and self.path.rstrip("/") == other.path.rstrip("/")

    def open(self) -> BinaryIO:
        """Return a file for reading from anywhere in it; a FileNotFoundError if it is not there."""
        if self.filesystem is None:
            return open(self.path, "rb")
        file: BinaryIO = self.filesystem.open_input_file(self.path)
        return file

    def open_by_arrow(self) -> Any:
        """Return the same as a file of pyarrow, which its Parquet reads without Python's lock."""
        from pyarrow import fs

        return (self.filesystem or fs.LocalFileSystem()).open_input_file(self.path)

    def read(self) -> bytes:
        """Return what a file holds; a FileNotFoundError if it is not there."""
        with self.open() as file:
            return file.read()

    @contextlib.contextmanager
    def replacing(self) -> Iterator[Any]:
        """Yield a stream for a new file, which takes this place when all is written; whole or not at all.

        What a killed process leaves, `<path>.unfinished` on other storage and as `fasthash.files.replacing` here, the
        next that writes here deletes.
        """
        if self.filesystem is None:
            with replacing(self.path) as unfinished, unfinished.open("wb") as file:
                yield file
        else:
            there = f"{self.path}.unfinished"
            with self.filesystem.open_output_stream(there) as stream:
                yield stream
            self.filesystem.move(there, self.path)


class File(NamedTuple):
    """A file that is there.

    Attributes:
        place: where.
        size: in bytes.
        modified: when, in nanoseconds; None where the storage does not say.
    """

    place: Place
    size: int
    modified: int | None

    @property
    def name(self) -> str:
        """Its name in its folder."""
        return self.place.path.rpartition("/")[2]


def place_of(where: str, name: str, value: str | os.PathLike[str], filesystem: Any = None) -> Place:
    """Return a place.

    Args:
        where: the function that the user called.
        name: of the argument.
        value: a path, or a URI as s3://bucket/folder, of a storage that pyarrow or fsspec knows.
        filesystem: of pyarrow or fsspec, of which `value` is a path then.

    Raises:
        MissingDependencyError: if pyarrow is not installed and the place is not of this machine.
        TypeError: if `value` is no path, or `filesystem` none.
        ValueError: if no storage is known by that URI.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{where}: expected {name} to be a path or a URI, got {type(value).__name__}")
    path = os.fspath(value)
    scheme, separator, rest = path.partition("://")
    if filesystem is None and (not separator or scheme == "file"):
        return Place(None, os.path.abspath(rest if separator else path))
    fs = _arrow_filesystems(where)
    if filesystem is not None:
        if isinstance(filesystem, fs.LocalFileSystem):
            return Place(None, os.path.abspath(path))
        if isinstance(filesystem, fs.FileSystem):
            return Place(filesystem, path)
        if hasattr(filesystem, "_open") and hasattr(filesystem, "protocol"):
            return Place(fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path)
        raise TypeError(f"{where}: expected filesystem to be one of pyarrow or fsspec, got {type(filesystem).__name__}")
    wild = _WILD.search(path)
    known = path[: path.rfind("/", 0, wild.start())] if wild else path  # a URI has no place for * and [
    try:
        found, root = fs.FileSystem.from_uri(known)
        return Place(found, root + path[len(known) :])
    except (OSError, ValueError):
        pass
    try:
        import fsspec

        return Place(fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme))), rest)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{where}: expected {name} on a storage that is known, got {path}: {error}") from None


def check_arrow(where: str) -> None:
    """Raise a MissingDependencyError if pyarrow is not installed."""
    _arrow_filesystems(where)


def _arrow_filesystems(where: str) -> Any:
    try:
        from pyarrow import fs
    except ImportError:
        raise MissingDependencyError(where, "pyarrow", "parquet") from None
    return fs


def list_files(where: str, place: Place, *endings: str) -> list[File]:
    """Return the files of a folder, of a pattern with * and ?, or the single one, sorted by path.

    Raises:
        FileNotFoundError: if there is none of such an ending.
    """
    found = _files_here(place) if place.filesystem is None else _files_there(place)
    files = sorted((file for file in found if file.place.path.endswith(endings)), key=lambda file: file.place.path)
    if not files:
        raise FileNotFoundError(f"{where}: expected files in {' or '.join(endings)} at {place.path}, got none")
    return files


def _files_here(place: Place) -> Iterator[File]:
    path = place.path
    if os.path.isdir(path):
        found = [entry.path for entry in os.scandir(path)]
    else:
        found = [path] if os.path.exists(path) else glob.glob(path, include_hidden=True)
    for each in found:
        if os.path.isfile(each):
            status = os.stat(each)
            yield File(Place(None, each), status.st_size, status.st_mtime_ns)


def _files_there(place: Place) -> Iterator[File]:
    from pyarrow import fs

    filesystem, path = place
    found = [filesystem.get_file_info(path)]
    wild = _WILD.search(path)
    if found[0].type == fs.FileType.NotFound and wild:
        folder = path[: path.rfind("/", 0, wild.start())] or "/"
        every = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=True))
        found = [info for info in every if _matches(info.path, path)]
    elif found[0].type == fs.FileType.Directory:
        found = filesystem.get_file_info(fs.FileSelector(path))
    for info in found:
        if info.type == fs.FileType.File:
            yield File(Place(filesystem, info.path), info.size, info.mtime_ns)


def _matches(path: str, pattern: str) -> bool:
    """Return whether a path is one of a pattern, whose * stays within a folder."""
    parts, patterns = path.strip("/").split("/"), pattern.strip("/").split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def make_folder(place: Place) -> None:
    """Make a folder if it is not there."""
    if place.filesystem is None:
        os.makedirs(place.path, exist_ok=True)
    else:
        place.filesystem.create_dir(place.path, recursive=True)


def local_path(where: str, name: str, value: str | os.PathLike[str]) -> Path:
    """Return a path of what has to be mapped into memory, on this machine's disks or one that all mount."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{where}: expected {name} to be a path, got {type(value).__name__}")
    path = os.fspath(value)
    if "://" in path:
        raise ValueError(f"{where}: expected {name} to be a folder of a file system that is mounted, got {path}")
    return Path(os.path.abspath(path))
