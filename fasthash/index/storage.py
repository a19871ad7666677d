"""The file of an index: a checksummed header and aligned sections, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fasthash.files import replacing

_MAGIC = b"fasthash"
_VERSION = 1
_START = struct.Struct("<8sII")  # magic, version, bytes of JSON; then the header's checksum
_DIGEST_BYTES = 16
_HEADER_START = _START.size + _DIGEST_BYTES
_MAX_JSON_BYTES = 2**16
ALIGNMENT = 64  # a cache line, and the widest vector that a kernel loads
_PIECE_BYTES = 2**24
_DTYPES = {name: np.dtype(name) for name in ("|u1", "<u2", "<u4", "<u8", "|i1", "<i2", "<i4", "<i8", "<f4", "<f8")}

NumpyArray = np.ndarray[Any, Any]


class _Section(NamedTuple):
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int  # from the end of the header
    checksum: str

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)

    @property
    def end(self) -> int:
        """Where the next section begins."""
        return self.offset + self.nbytes + -self.nbytes % ALIGNMENT


def write(
    where: str,
    target: str | os.PathLike[str] | BinaryIO,
    kind: str,
    settings: dict[str, Any],
    arrays: dict[str, NumpyArray],
) -> None:
    """Write an index to a file: whatever happens, a path holds what it held or the whole new file.

    Args:
        where: what errors begin with.
        target: where to, a path or an open file.
        kind: the class of the index.
        settings: what JSON can hold.
        arrays: of one or two dimensions.

    Raises:
        TypeError: if JSON cannot hold the settings.
        ValueError: if they are too long.
    """
    little = {name: np.ascontiguousarray(x, x.dtype.newbyteorder("<")) for name, x in arrays.items()}
    sections: dict[str, dict[str, Any]] = {}
    offset = 0
    for name, x in little.items():
        section = _Section(name, x.dtype, x.shape, offset, _checksum(_pieces(x)))
        sections[name] = {"dtype": x.dtype.str, "shape": x.shape, "offset": offset, "blake2b": section.checksum}
        offset = section.end
    try:
        same = json.loads(json.dumps(settings, allow_nan=False)) == settings
    except (TypeError, ValueError):
        same = False
    if not same:
        raise TypeError(f"{where}: expected settings that JSON can hold, got {settings}")
    header = _header({"index": kind, "settings": settings, "sections": sections})
    if len(header) > _HEADER_START + _MAX_JSON_BYTES:
        raise ValueError(f"{where}: expected a header of at most {_MAX_JSON_BYTES} bytes, got {len(header)}")
    if isinstance(target, (str, os.PathLike)):
        with replacing(target) as unfinished, open(unfinished, "wb") as file:
            _write_all(file, header, little)
    else:
        _write_all(target, header, little)


def _write_all(file: BinaryIO, header: bytes, arrays: dict[str, NumpyArray]) -> None:
    for piece in chain([header], *map(_pieces, arrays.values())):
        left = memoryview(piece)
        while len(left) > 0:  # an unbuffered file may take less than it is given
            taken = file.write(left)
            if taken is None:
                raise BlockingIOError(errno.EAGAIN, "The open file takes no more bytes at the moment")
            left = left[taken:]


def name_of(source: str | os.PathLike[str] | BinaryIO | memoryview) -> str:
    """Return where a source is, for messages."""
    if isinstance(source, (str, os.PathLike)):
        return f"at {os.fspath(source)}"
    return "in data" if isinstance(source, memoryview) else f"in the open file {getattr(source, 'name', source)!r}"


def read(
    where: str, source: str | os.PathLike[str] | BinaryIO | memoryview, *, mmap: bool, verify: bool
) -> tuple[str, dict[str, Any], dict[str, NumpyArray]]:
    """Return what `write` was given. Arrays that are memory-mapped are read-only.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not what `write` wrote, as far as the header, the size and, if asked to `verify`, the
            checksums of the sections tell. The message begins with `where`.
    """
    expected = f"{where}: expected an index file {name_of(source)}, got"
    memory = _memory(source)
    header = _read_header(expected, memory)
    description = _parsed(expected, header)
    sections = list(_sections(expected, description["sections"]))
    described = len(header) + (sections[-1].end if sections else 0)
    if len(memory) != described:
        raise ValueError(f"{expected} {len(memory)} bytes, where its header describes {described}")
    arrays = {}
    for section in sections:
        content = memory[len(header) + section.offset : len(header) + section.end]
        if verify and _checksum(_pieces(content)) != section.checksum:
            raise ValueError(f"{expected} {section.name} that do not match their checksum")
        array = content[: section.nbytes].view(section.dtype).reshape(section.shape)
        arrays[section.name] = array if mmap else array.copy()
    return description["index"], description["settings"], arrays


def _memory(source: str | os.PathLike[str] | BinaryIO | memoryview) -> NumpyArray:
    """Return the bytes of a source, mapped if it is a path."""
    if isinstance(source, memoryview):
        return np.frombuffer(source, np.uint8)
    if not isinstance(source, (str, os.PathLike)):
        return np.frombuffer(source.read(), np.uint8)
    with open(source, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return np.empty(0, np.uint8)
        try:
            return np.asarray(np.memmap(file, np.uint8, "r"))
        except OSError as error:  # the system's own names no file
            raise OSError(error.errno, error.strerror, os.fspath(source)) from error


def _header(description: dict[str, Any]) -> bytes:
    text = json.dumps(description, separators=(",", ":")).encode()
    text += b" " * (-(_HEADER_START + len(text)) % ALIGNMENT)
    start = _START.pack(_MAGIC, _VERSION, len(text))
    return start + bytes.fromhex(_checksum([start, text])) + text


def _read_header(expected: str, memory: NumpyArray) -> bytes:
    start = memory[:_HEADER_START].tobytes()
    if start[: len(_MAGIC)] != _MAGIC:
        hints = {
            b"IB": "; fasthash.index.from_faiss takes FAISS's",
            b"\x93N": "; add, or fasthash index, makes one of codes",
        }
        raise ValueError(f"{expected} a file that begins with {start[: len(_MAGIC)]!r}{hints.get(start[:2], '')}")
    if len(start) < _HEADER_START:
        raise ValueError(f"{expected} a file that ends after {len(start)} bytes")
    _, version, json_bytes = _START.unpack_from(start)
    if version != _VERSION:
        raise ValueError(f"{expected} one of format {version}, where this fasthash reads format {_VERSION}")
    if json_bytes > _MAX_JSON_BYTES:
        raise ValueError(f"{expected} a header of {json_bytes} bytes, where at most {_MAX_JSON_BYTES} are read")
    text = memory[_HEADER_START : _HEADER_START + json_bytes].tobytes()
    if len(text) < json_bytes:
        raise ValueError(f"{expected} a file that ends after {_HEADER_START + len(text)} bytes, in its header")
    if _checksum([start[: _START.size], text]) != start[_START.size :].hex():
        raise ValueError(f"{expected} a header that does not match its checksum")
    return start + text


def _parsed(expected: str, header: bytes) -> dict[str, Any]:
    try:
        description = json.loads(header[_HEADER_START:])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{expected} a header that is not JSON: {error}") from None
    types = {"index": str, "settings": dict, "sections": dict}
    if not isinstance(description, dict) or {name: type(value) for name, value in description.items()} != types:
        raise ValueError(f"{expected} a header without an index, its settings and its sections")
    return description


def _sections(expected: str, entries: dict[str, Any]) -> Iterator[_Section]:
    """Yield the sections, each beginning where the one before it ends."""
    offset = 0
    for name, entry in entries.items():
        if not (
            isinstance(entry, dict)
            and entry.keys() == {"dtype", "shape", "offset", "blake2b"}
            and entry["dtype"] in list(_DTYPES)
            and isinstance(entry["shape"], list)
            and len(entry["shape"]) in (1, 2, 3)
            and all(type(count) is int and 0 <= count < 2**56 for count in entry["shape"])
            and entry["offset"] == offset
        ):
            raise ValueError(f"{expected} a header with a section {name!r} that cannot be")
        section = _Section(name, _DTYPES[entry["dtype"]], tuple(entry["shape"]), offset, entry["blake2b"])
        yield section
        offset = section.end


def _pieces(array: NumpyArray) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a section and zeros up to the next, in pieces between which a signal can interrupt."""
    content = array.reshape(-1).view(np.uint8).data
    for start in range(0, len(content), _PIECE_BYTES):
        yield content[start : start + _PIECE_BYTES]
    yield bytes(-len(content) % ALIGNMENT)


def _checksum(pieces: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
