"""Folders of codes: what `encode_files` wrote, or .npy files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasthash.cluster.folders import MANIFEST, EncodedFolder, digest_of
from fasthash.cluster.shards import Codes, Ids, Run
from fasthash.cluster.storage import Place, check_arrow, list_files
from fasthash.columns import arrow_array
from fasthash.errors import MAX_BITS

ID, CODE = "id", "code"


@dataclass(frozen=True)
class CodesFolder:
    """Packed codes in files, one after the other.

    Attributes:
        n_bits: length of the codes.
        numbered: whether the ids are the codes' numbers.
        counts: of the codes of each file.
        files: where they are.
        checksums: of each file, as `CodePart.blake2b`; None of .npy files.
        digest: of all that decides what is read.
    """

    n_bits: int
    numbered: bool
    counts: tuple[int, ...]
    files: tuple[Place, ...]
    checksums: tuple[str | None, ...]
    digest: str

    def rows(self, start: int, end: int) -> tuple[Codes, Ids | Run]:
        """Return the codes from one number to before another, and their ids.

        Raises:
            FileNotFoundError: if a file is not there.
            ValueError: if one is damaged.
        """
        starts = np.cumsum([0, *self.counts])
        codes, ids = [], []
        for i in range(int(np.searchsorted(starts, start, "right")) - 1, len(self.counts)):
            if starts[i] >= end:
                break
            within = slice(max(start - int(starts[i]), 0), end - int(starts[i]))
            part_codes, part_ids = self._read(i)
            codes.append(part_codes[within])
            ids.append(part_ids[within])
        joined = codes[0] if len(codes) == 1 else np.concatenate(codes)
        return joined, Run(start, end - start) if self.numbered else np.concatenate(ids)

    def _read(self, i: int) -> tuple[Codes, Ids]:
        place, n = self.files[i], self.counts[i]
        if self.checksums[i] is None:
            return read_npy(place), np.empty(0, np.int64)
        codes, ids = _read_part(place)
        if len(codes) != n or checksum_of(codes, ids) != self.checksums[i]:
            raise ValueError(f"expected {n} codes with the manifest's checksum at {place.path}, got others")
        return codes, ids


def open_codes(where: str, place: Place, n_bits: int | None) -> CodesFolder:
    """Return a folder of codes; errors begin with `where`.

    Args:
        where: the function that the user called.
        place: of a folder with a manifest of `encode_files`, or of .npy files of packed codes, uint8 [n, w], that are
            numbered in the order of their names.
        n_bits: length of the codes; by default the manifest's, or 8 w.
    """
    try:
        content = place.under(MANIFEST).read()
    except (FileNotFoundError, NotADirectoryError):
        return _open_npy(where, place, n_bits)
    check_arrow(f"{where} of Parquet files")
    encoded = EncodedFolder.of_json(f"{where}: expected codes at {place.path}, got", content)
    if n_bits not in (None, encoded.n_bits):
        raise ValueError(
            f"{where}: expected n_bits of {encoded.n_bits}, as the codes have at {place.path}, got {n_bits}"
        )
    return CodesFolder(
        encoded.n_bits,
        encoded.numbered,
        tuple(part.n for part in encoded.parts),
        tuple(place.under(part.file) for part in encoded.parts),
        tuple(part.blake2b for part in encoded.parts),
        digest_of(encoded.to_json()),
    )


def _open_npy(where: str, place: Place, n_bits: int | None) -> CodesFolder:
    try:
        files = list_files(where, place, ".npy")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{where}: expected a folder with {MANIFEST}, which encode_files writes last, or .npy files of codes at "
            f"{place.path}, got neither"
        ) from None
    counts, width = [], None
    for file in files:
        shape, dtype = npy_header(where, file.place)[:2]
        fits = dtype == np.uint8 and len(shape) == 2 and 0 < shape[1] <= MAX_BITS // 8
        if not fits or (width is not None and shape[1] != width):
            wanted = f"uint8 [n, {f'1 to {MAX_BITS // 8}' if width is None else width}]"
            raise ValueError(f"{where}: expected codes {wanted} at {file.place.path}, got {dtype} {list(shape)}")
        width = shape[1]
        counts.append(shape[0])
    assert width is not None
    bits = 8 * width if n_bits is None else n_bits
    if (bits + 7) // 8 != width:
        raise ValueError(f"{where}: expected n_bits of {width} bytes, as the codes at {place.path} have, got {n_bits}")
    digest = digest_of([[file.place.path, file.size, file.modified] for file in files], bits)
    return CodesFolder(bits, True, tuple(counts), tuple(f.place for f in files), (None,) * len(files), digest)


def npy_header(where: str, place: Place) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return the shape and dtype of an .npy file, and where its numbers begin."""
    try:
        with place.open() as file:
            major = np.lib.format.read_magic(file)[0]
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            start = file.tell()
            size = file.seek(0, os.SEEK_END)
        if dtype.hasobject:
            raise ValueError("one of objects")
        if fortran:
            raise ValueError("one whose rows do not follow each other")
        if size != start + dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
            raise ValueError(f"{size} bytes, where its header describes others")
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{where}: expected an array of numpy.save at {place.path}, got {error}") from None
    return shape, dtype, start


def read_npy(place: Place) -> NDArray[Any]:
    """Return the array of an .npy file, mapped where it is on this machine."""
    if place.filesystem is None:
        array: NDArray[Any] = np.load(place.path, mmap_mode="r", allow_pickle=False)
        return array
    shape, dtype, start = npy_header("read_npy", place)
    return np.frombuffer(place.read(), dtype, offset=start).reshape(shape)


def _read_part(place: Place) -> tuple[Codes, Ids]:
    import pyarrow
    from pyarrow import parquet

    expected = f"expected a whole Parquet file of codes at {place.path}"
    try:
        with place.open_by_arrow() as stream:
            table = parquet.read_table(stream, columns=[ID, CODE])
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{expected}, got {error}") from None
    return arrow_array(expected, table.column(CODE)), arrow_array(expected, table.column(ID))


def checksum_of(codes: Codes, ids: Ids) -> str:
    """Return the digest of a part: of ids, int64, and codes, little-endian."""
    digest = hashlib.blake2b(np.ascontiguousarray(ids, "<i8").data, digest_size=16)
    digest.update(np.ascontiguousarray(codes).data)
    return digest.hexdigest()
