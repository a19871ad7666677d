"""Arrays in files: NumPy's, tables, and those of the benchmarks of nearest neighbours."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import reprlib
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasthash.errors import MissingDependencyError, check_path

NumpyArray = NDArray[Any]

_NAMED = re.compile(r"(?s)(.*\.(?:npz|parquet|csv)):(.+)")
_HASH = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)")
_DAMAGE = (  # what NumPy and zipfile raise where a file is not one
    *(EOFError, KeyError, MemoryError, NotImplementedError, OSError, OverflowError, RecursionError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def read_array(place: str | os.PathLike[str]) -> NumpyArray:
    """Return the array of a file, of one dimension or more; `fasthash/data/README.md` lists the formats.

    Args:
        place: a path, whose extension is the format; or "file.npz:name" of an array among several,
            "file.parquet:name" or "file.csv:name" of a column.

    Returns:
        The array; of .npy, .fvecs, .fbin and their kin mapped from the file and read-only. Of hexadecimal hashes, which
        `fasthash.from_hashes` takes, the digits, str [n].

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if `place` is no path.
        MissingDependencyError: if it is a Parquet file and pyarrow is not installed.
        ValueError: if the format is none of these, or the file is damaged, cut off, or has no such array.
    """
    check_path("read_array", "place", place)
    try:
        return _read(*located(place))
    except ValueError as error:
        raise ValueError(f"read_array: {error}") from error


def _read(path: Path, name: str | None) -> NumpyArray:
    if path.suffix not in READERS:
        raise ValueError(f"{path}: expected a file in {', '.join(READERS)}, got {path.suffix or 'no extension'}")
    with path.open("rb"):  # what the system says is said of every format alike
        array = READERS[path.suffix](path, name)
    if array.ndim == 0:
        raise ValueError(f"{path}: expected an array of at least one dimension, got a single {array.dtype}")
    return array


def located(place: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Return the file of what `read_array` takes, and which of its arrays, None where that is not said."""
    named = None if Path(place).exists() else _NAMED.fullmatch(os.fspath(place))
    return (Path(place), None) if named is None else (Path(named[1]), named[2])


@contextlib.contextmanager
def _whole(path: Path, what: str, errors: tuple[type[Exception], ...] = _DAMAGE) -> Iterator[None]:
    try:
        yield
    except errors as error:
        raise ValueError(f"{path}: expected {what}, got {error}") from error


def _read_npy(path: Path, name: str | None) -> NumpyArray:
    with path.open("rb") as file:
        magic = file.read(6)
    if magic != b"\x93NUMPY":
        raise ValueError(f"{path}: expected an array written by numpy.save, got a file that begins with {magic!r}")
    with _whole(path, "a whole array written by numpy.save"):
        array: NumpyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _read_npz(path: Path, name: str | None) -> NumpyArray:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: expected an .npz archive, got a file that is none or is cut off")
    with _whole(path, "a whole .npz archive"):
        file = np.load(path, allow_pickle=False)
    with file:
        chosen = _chosen(path, name, file.files)
        with _whole(path, f"a whole array {chosen!r}"):
            return np.asarray(file[chosen])


def _chosen(path: Path, name: str | None, names: list[str]) -> str:
    """Return which of the arrays of a file is meant."""
    if name is None and len(names) == 1:
        return names[0]
    if name is None:
        raise ValueError(f"{path}: expected one array, or a name as in {path.name}:name, got {', '.join(names)}")
    if name not in names:
        raise ValueError(f"{path}: expected the array {name!r}, got {', '.join(names)}")
    return name


def _read_parquet(path: Path, name: str | None) -> NumpyArray:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise MissingDependencyError("reading Parquet files", "pyarrow", "parquet") from None
    errors = (arrow.ArrowException, OSError, ValueError)
    with _whole(path, "a whole Parquet file", errors):
        schema = parquet.read_schema(path)
        names: list[str] = schema.names
    if name is not None or not all(_is_number(arrow, kind) for kind in schema.types):
        names = [_chosen(path, name, names)]
    with _whole(path, "a whole Parquet file", errors):
        table = parquet.ParquetFile(path).read(columns=names)
    columns = [_column(arrow, path, each, table.column(each)) for each in names]
    return columns[0] if len(columns) == 1 else np.stack(columns, 1)


def _is_number(arrow: Any, kind: Any) -> bool:
    types = arrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _column(arrow: Any, path: Path, name: str, column: Any) -> NumpyArray:
    """Return a column of numbers [n], or of lists of numbers of one length [n, m]."""
    kind, values = column.type, column.combine_chunks()
    if arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
        expected = f"{path}: expected a column {name!r} of hexadecimal hashes of one length"
        return _hashes(expected, ((f"row {i}", text or "") for i, text in enumerate(values.to_pylist(), 1)))
    is_list = any(getattr(arrow.types, f"is_{of}list")(kind) for of in ("", "large_", "fixed_size_"))
    if not _is_number(arrow, kind.value_type if is_list else kind):
        raise ValueError(
            f"{path}: expected a column {name!r} of numbers, of lists of them or of hexadecimal hashes, got {kind}"
        )
    flat = values.flatten() if is_list else values
    if values.null_count or flat.null_count:
        raise ValueError(f"{path}: expected a column {name!r} without nulls, got some")
    array: NumpyArray = flat.to_numpy(zero_copy_only=False)
    if not is_list:
        return array
    n = len(values)
    if n and not np.all(arrow.compute.list_value_length(values).to_numpy(zero_copy_only=False) == len(array) // n):
        raise ValueError(f"{path}: expected a column {name!r} of lists of one length, got several")
    return array.reshape(n, len(array) // max(1, n))


def _read_csv(path: Path, name: str | None) -> NumpyArray:
    """Return numbers [n, m], or [n] of a single column: int64 where all are written as integers, else float64."""
    if name is not None:
        return _csv_column(path, name)
    with _whole(path, "rows of numbers between commas"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        if lines and not any(map(_reads_as_number, lines[0].split(","))):
            del lines[0]  # the names of the columns
        if not any(map(str.strip, lines)):
            raise ValueError("none")
        rows = _numbers(lines)
    return rows[:, 0] if rows.shape[1] == 1 else rows


def _csv_column(path: Path, name: str) -> NumpyArray:
    """Return the numbers [n] of a column, or its hashes, str [n]; the first line has the names of the columns."""
    with _whole(path, "rows between commas", (csv.Error, OSError, UnicodeDecodeError)):
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        rows = [(f"line {reader.line_num}", [cell.strip() for cell in row]) for row in reader if row]
    names = rows[0][1] if rows else ["nothing"]
    if names.count(_chosen(path, name, names)) > 1:
        raise ValueError(f"{path}: expected one column {name!r}, got {names.count(name)}")
    cells = []
    for place, row in rows[1:]:
        if len(row) != len(names):
            raise ValueError(f"{path}: expected a cell for each of {len(names)} columns, got {len(row)} in {place}")
        cells.append((place, row[names.index(name)]))
    others = [cell for cell in cells if not _reads_as_number(cell[1])]
    expected = f"{path}: expected a column {name!r} of numbers or of hexadecimal hashes of one length"
    if others or not cells:
        _hashes(expected, others)  # of two kinds, what is neither is told
        return _hashes(expected, cells)
    with _whole(path, f"a column {name!r} of numbers"):
        return _numbers([cell for _, cell in cells])[:, 0]


def _numbers(lines: list[str]) -> NumpyArray:
    whole = not any(re.search("[.a-zA-Z]", line) for line in lines)
    return np.loadtxt(lines, np.int64 if whole else np.float64, delimiter=",", ndmin=2, comments=None)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_txt(path: Path, name: str | None) -> NumpyArray:
    """Return the hashes of lines, str [n]."""
    with _whole(path, "lines of hexadecimal digits"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    texts = ((f"line {i}", line.strip()) for i, line in enumerate(lines, 1) if line.strip())
    return _hashes(f"{path}: expected lines of hexadecimal digits, equally many", texts)


def _hashes(expected: str, texts: Iterable[tuple[str, str]]) -> NumpyArray:
    """Return the hexadecimal digits of hashes, str [n], given each with where it is."""
    hashes: list[str] = []
    for place, text in texts:
        match = _HASH.fullmatch(text)
        if match is None or (hashes and len(match[1]) != len(hashes[0])):
            before = f", where {len(hashes[0])} digits come before" if match and hashes else ""
            raise ValueError(f"{expected}, got {reprlib.repr(text)} in {place}{before}")
        hashes.append(match[1])
    if not hashes:
        raise ValueError(f"{expected}, got none")
    return np.array(hashes)


def _read_vecs(dtype: str, path: Path, name: str | None) -> NumpyArray:
    """Return what INRIA's formats hold: rows of a length, int32, and as many numbers."""
    size, itemsize = path.stat().st_size, np.dtype(dtype).itemsize
    d = int(np.fromfile(path, "<i4", 1)[0]) if size >= 4 else 0
    n, rest = divmod(size, 4 + d * itemsize) if d > 0 else (0, size)
    if rest:
        raise ValueError(f"{path}: expected rows of {d} numbers and their count, got a file of {size} bytes")
    if n == 0:
        return np.empty((0, 0), dtype)
    rows = np.memmap(path, np.uint8, "r", shape=(n, 4 + d * itemsize))
    last = int(rows[-1, :4].copy().view("<i4")[0])
    if last != d:
        raise ValueError(f"{path}: expected rows of {d} numbers, got a last one of {last}")
    return rows.view(dtype)[:, 4 // itemsize :]


def _read_bin(dtype: str, path: Path, name: str | None) -> NumpyArray:
    """Return what the formats of big-ann-benchmarks hold: rows and columns, uint32, and as many numbers."""
    size = path.stat().st_size
    if size < 8:
        raise ValueError(f"{path}: expected the counts of rows and columns, got a file of {size} bytes")
    n, d = map(int, np.fromfile(path, "<u4", 2))
    described = 8 + n * d * np.dtype(dtype).itemsize
    if size != described:
        raise ValueError(f"{path}: expected {described} bytes, as its counts {n} and {d} say, got {size}")
    return np.memmap(path, dtype, "r", 8, (n, d)) if n * d else np.empty((n, d), dtype)


READERS: dict[str, Callable[[Path, str | None], NumpyArray]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".txt": _read_txt,
    ".fvecs": partial(_read_vecs, "<f4"),
    ".bvecs": partial(_read_vecs, "|u1"),
    ".ivecs": partial(_read_vecs, "<i4"),
    ".fbin": partial(_read_bin, "<f4"),
    ".u8bin": partial(_read_bin, "|u1"),
    ".i8bin": partial(_read_bin, "|i1"),
    ".ibin": partial(_read_bin, "<i4"),
}
"""By extension what reads a file, given which of its arrays is meant, or None."""
