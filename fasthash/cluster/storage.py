"""Files on any storage that pyarrow or fsspec knows: this machine's, NFS, object stores."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fasthash.errors import MissingDependencyError

_WILD = re.compile(r"[*?\[]")


class Place(NamedTuple):
    """A folder or file on a storage.

    Attributes:
        filesystem: a `pyarrow.fs.FileSystem`.
        path: there.
    """

    filesystem: Any
    path: str

    def under(self, name: str) -> Place:
        """Return a file in this folder."""
        return self._replace(path=f"{self.path.rstrip('/')}/{name}")

    def read(self) -> bytes:
        """Return what a file holds; a FileNotFoundError if it is not there."""
        with self.filesystem.open_input_stream(self.path) as file:
            content: bytes = file.read()
        return content

    @contextlib.contextmanager
    def replacing(self) -> Iterator[Any]:
        """Yield a stream for a new file, which takes this place when all is written; whole or not at all.

        A process that is killed may leave `<path>.unfinished`, which the next that writes here replaces.
        """
        unfinished = f"{self.path}.unfinished"
        with self.filesystem.open_output_stream(unfinished) as file:
            yield file
        if _is_local(self.filesystem):
            with open(unfinished, "rb") as written:
                os.fsync(written.fileno())
            os.replace(unfinished, self.path)
        else:
            self.filesystem.move(unfinished, self.path)


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
        MissingDependencyError: if pyarrow is not installed.
        TypeError: if `value` is no path, or `filesystem` none.
        ValueError: if no storage is known by that URI.
    """
    try:
        from pyarrow import fs
    except ImportError:
        raise MissingDependencyError(where, "pyarrow", "ray") from None
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{where}: expected {name} to be a path or a URI, got {type(value).__name__}")
    path = os.fspath(value)
    if filesystem is not None:
        if isinstance(filesystem, fs.FileSystem):
            return Place(filesystem, path)
        if hasattr(filesystem, "_open") and hasattr(filesystem, "protocol"):
            return Place(fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path)
        raise TypeError(f"{where}: expected filesystem to be one of pyarrow or fsspec, got {type(filesystem).__name__}")
    scheme, separator, rest = path.partition("://")
    if not separator:
        return Place(fs.LocalFileSystem(), os.path.abspath(path))
    if scheme == "file":
        return Place(fs.LocalFileSystem(), rest)
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


def list_files(where: str, place: Place, *endings: str) -> list[File]:
    """Return the files of a folder, of a pattern with * and ?, or the single one, sorted by path.

    Raises:
        FileNotFoundError: if there is none of such an ending.
    """
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
    files = [
        File(Place(filesystem, info.path), info.size, info.mtime_ns)
        for info in sorted(found, key=lambda info: info.path)
        if info.type == fs.FileType.File and info.path.endswith(endings)
    ]
    if not files:
        raise FileNotFoundError(f"{where}: expected files in {' or '.join(endings)} at {path}, got none")
    return files


def _matches(path: str, pattern: str) -> bool:
    """Return whether a path is one of a pattern, whose * stays within a folder."""
    parts, patterns = path.strip("/").split("/"), pattern.strip("/").split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def make_folder(place: Place) -> None:
    """Make a folder if it is not there."""
    place.filesystem.create_dir(place.path, recursive=True)


def local_path(where: str, name: str, value: str | os.PathLike[str]) -> Path:
    """Return a path of what has to be mapped into memory, on this machine's disks or one that all mount."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{where}: expected {name} to be a path, got {type(value).__name__}")
    path = os.fspath(value)
    if "://" in path:
        raise ValueError(f"{where}: expected {name} to be a folder of a file system that is mounted, got {path}")
    return Path(os.path.abspath(path))


def _is_local(filesystem: Any) -> bool:
    return type(filesystem).__name__ == "LocalFileSystem"
