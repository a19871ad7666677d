"""The file of an index: a checksummed header and aligned sections, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable, Iterator
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


def write(path: str | os.PathLike[str], kind: str, settings: dict[str, Any], arrays: dict[str, NumpyArray]) -> None:
    """Write an index to a file: whatever happens, `path` holds what it held or the whole new file.

    Args:
        path: where to.
        kind: the class of the index.
        settings: what JSON can hold.
        arrays: of one or two dimensions.
    """
    sections: dict[str, dict[str, Any]] = {}
    description = {"index": kind, "settings": settings, "sections": sections}
    little = {name: np.ascontiguousarray(x, x.dtype.newbyteorder("<")) for name, x in arrays.items()}
    offset = 0
    for name, x in little.items():
        section = _Section(name, x.dtype, x.shape, offset, "0" * 2 * _DIGEST_BYTES)
        sections[name] = {"dtype": x.dtype.str, "shape": x.shape, "offset": offset, "blake2b": section.checksum}
        offset = section.end
    with replacing(path) as unfinished, open(unfinished, "wb") as file:
        file.write(bytes(len(_header(description))))
        for name, x in little.items():
            sections[name]["blake2b"] = _append(file, x)
        file.seek(0)
        file.write(_header(description))


def read(
    where: str, path: str | os.PathLike[str], *, mmap: bool, verify: bool
) -> tuple[str, dict[str, Any], dict[str, NumpyArray]]:
    """Return what `write` was given. Arrays that are memory-mapped are read-only.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not what `write` wrote, as far as the header, the size and, if asked to `verify`, the
            checksums of the sections tell. The message begins with `where`.
    """
    expected = f"{where}: expected an index file at {os.fspath(path)}, got"
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(expected, file)
        description = _parsed(expected, header)
        sections = list(_sections(expected, description["sections"]))
        described = len(header) + (sections[-1].end if sections else 0)
        if size != described:
            raise ValueError(f"{expected} {size} bytes, where its header describes {described}")
        memory = np.asarray(np.memmap(file, np.uint8, "r"))
    arrays = {}
    for section in sections:
        content = memory[len(header) + section.offset : len(header) + section.end]
        if verify and _checksum(_pieces(content)) != section.checksum:
            raise ValueError(f"{expected} {section.name} that do not match their checksum")
        array = content[: section.nbytes].view(section.dtype).reshape(section.shape)
        arrays[section.name] = array if mmap else array.copy()
    return description["index"], description["settings"], arrays


def _header(description: dict[str, Any]) -> bytes:
    text = json.dumps(description, separators=(",", ":")).encode()
    text += b" " * (-(_HEADER_START + len(text)) % ALIGNMENT)
    start = _START.pack(_MAGIC, _VERSION, len(text))
    return start + bytes.fromhex(_checksum([start, text])) + text


def _read_header(expected: str, file: BinaryIO) -> bytes:
    start = file.read(_HEADER_START)
    if start[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"{expected} a file that begins with {start[: len(_MAGIC)]!r}")
    if len(start) < _HEADER_START:
        raise ValueError(f"{expected} a file that ends after {len(start)} bytes")
    _, version, json_bytes = _START.unpack_from(start)
    if version != _VERSION:
        raise ValueError(f"{expected} one of format {version}, where this fasthash reads format {_VERSION}")
    if json_bytes > _MAX_JSON_BYTES:
        raise ValueError(f"{expected} a header of {json_bytes} bytes, where at most {_MAX_JSON_BYTES} are read")
    text = file.read(json_bytes)
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
            and len(entry["shape"]) in (1, 2)
            and all(type(count) is int and 0 <= count < 2**56 for count in entry["shape"])
            and entry["offset"] == offset
        ):
            raise ValueError(f"{expected} a header with a section {name!r} that cannot be")
        section = _Section(name, _DTYPES[entry["dtype"]], tuple(entry["shape"]), offset, entry["blake2b"])
        yield section
        offset = section.end


def _append(file: BinaryIO, array: NumpyArray) -> str:
    """Write an array as a section; return its checksum."""

    def written() -> Iterator[bytes | memoryview]:
        for piece in _pieces(array):
            file.write(piece)
            yield piece

    return _checksum(written())


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
