"""Columns of tables in files, and what else has names there: text between commas, Parquet, Arrow, HDF5."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import reprlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasthash.columns import arrow_array, feature_columns, is_number
from fasthash.errors import MissingDependencyError

NumpyArray = NDArray[Any]

_HASH = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)")
DAMAGE = (  # what NumPy and zipfile raise where a file is not one
    *(EOFError, KeyError, MemoryError, NotImplementedError, OSError, OverflowError, RecursionError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


@contextlib.contextmanager
def whole(path: Path, what: str, errors: tuple[type[Exception], ...] = DAMAGE) -> Iterator[None]:
    """Raise a ValueError that names the file and what was expected whole in place of errors of a damaged one."""
    try:
        yield
    except errors as error:
        raise ValueError(f"{path}: expected {what}, got {error}") from error


def chosen_of(path: Path, name: str | None, names: list[str]) -> str:
    """Return which of the arrays of a file is meant."""
    if name is None and len(names) == 1:
        return names[0]
    if name is None:
        raise ValueError(f"{path}: expected one array, or a name as in {path.name}:name, got {', '.join(names)}")
    if name not in names:
        raise ValueError(f"{path}: expected the array {name!r}, got {', '.join(names)}")
    return name


def hashes_of(expected: str, texts: Iterable[tuple[str, str]]) -> NumpyArray:
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


def read_csv(path: Path, name: str | None) -> NumpyArray:
    """Return numbers [n, m], or [n] of a single column: int64 where all are written as integers, else float64."""
    if name is not None:
        return _csv_column(path, name)
    with whole(path, "rows of numbers between commas"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        if lines and _names_columns(lines[0].split(","), lines[1:]):
            del lines[0]
        if not any(map(str.strip, lines)):
            raise ValueError("none")
        rows = _numbers(lines)
    return rows[:, 0] if rows.shape[1] == 1 else rows


def _csv_column(path: Path, name: str) -> NumpyArray:
    """Return the numbers [n] of a column, or its hashes, str [n]; the first line has the names of the columns."""
    with whole(path, "rows between commas", (csv.Error, OSError, UnicodeDecodeError)):
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        rows = [(f"line {reader.line_num}", [cell.strip() for cell in row]) for row in reader if row]
    names = rows[0][1] if rows else ["nothing"]
    if names.count(chosen_of(path, name, names)) > 1:
        raise ValueError(f"{path}: expected one column {name!r}, got {names.count(name)}")
    cells = []
    for place, row in rows[1:]:
        if len(row) != len(names):
            raise ValueError(f"{path}: expected a cell for each of {len(names)} columns, got {len(row)} in {place}")
        cells.append((place, row[names.index(name)]))
    others = [cell for cell in cells if not _reads_as_number(cell[1])]
    expected = f"{path}: expected a column {name!r} of numbers or of hexadecimal hashes of one length"
    if others or not cells:
        hashes_of(expected, others)  # of two kinds, what is neither is told
        return hashes_of(expected, cells)
    with whole(path, f"a column {name!r} of numbers"):
        return _numbers([cell for _, cell in cells])[:, 0]


def _names_columns(cells: list[str], lines: list[str]) -> bool:
    """Return whether the cells of a first line are names: no numbers, or those that pandas gives columns of floats."""
    counted = len(cells) > 1 and [cell.strip() for cell in cells] == list(map(str, range(len(cells))))
    return not any(map(_reads_as_number, cells)) or (counted and not _are_integers(lines))


def _numbers(lines: list[str]) -> NumpyArray:
    dtype = np.int64 if _are_integers(lines) else np.float64
    return np.loadtxt(lines, dtype, delimiter=",", ndmin=2, comments=None)


def _are_integers(lines: list[str]) -> bool:
    return not any(re.search("[.a-zA-Z]", line) for line in lines)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_txt(path: Path, name: str | None) -> NumpyArray:
    """Return the hashes of lines, str [n]."""
    with whole(path, "lines of hexadecimal digits"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    texts = ((f"line {i}", line.strip()) for i, line in enumerate(lines, 1) if line.strip())
    return hashes_of(f"{path}: expected lines of hexadecimal digits, equally many", texts)


def read_parquet(path: Path, name: str | None) -> NumpyArray:
    """Return a column, or all where all are numbers."""
    arrow = _arrow("reading Parquet files")
    from pyarrow import parquet

    damage = (arrow.ArrowException, OSError, ValueError)
    with whole(path, "a whole Parquet file", damage):
        file = parquet.ParquetFile(path)
        schema = file.schema_arrow
    names = _names(path, name, schema)
    with whole(path, "a whole Parquet file", damage):
        table = file.read(columns=names)
    return _columns(path, table, names)


def read_arrow(path: Path, name: str | None) -> NumpyArray:
    """Return a column, or all where all are numbers; what is in one batch and not compressed is mapped."""
    arrow = _arrow("reading Arrow files")
    damage = (arrow.ArrowException, OSError, ValueError)
    with whole(path, "a whole Arrow file", damage):
        source = arrow.memory_map(str(path))
        is_stream = source.read(6) != b"ARROW1"
        source.seek(0)
        table = (arrow.ipc.open_stream if is_stream else arrow.ipc.open_file)(source).read_all()
    names = _names(path, name, table.schema)
    with whole(path, "a whole Arrow file", damage):
        table = table.select(names)
        table.validate(full=True)
    return _columns(path, table, names)


def read_hdf5(path: Path, name: str | None) -> NumpyArray:
    """Return an array; what is neither in chunks nor compressed is mapped."""
    h5py = hdf5("reading HDF5 files")
    found: dict[str, Any] = {}
    with whole(path, "a whole HDF5 file", DAMAGE):
        file = h5py.File(path, "r")
    with file:
        with whole(path, "a whole HDF5 file", DAMAGE):
            file.visititems(lambda at, each: found.update({at: each} if isinstance(each, h5py.Dataset) else {}))
            if name is not None and isinstance(linked := file.get(name), h5py.Dataset):
                found[name] = linked  # by a link or a path that visiting passes over
        chosen = chosen_of(path, name, list(found))
        array = found[chosen]
        if h5py.check_string_dtype(array.dtype) is not None and array.ndim == 1:
            with whole(path, f"a whole array {chosen!r}", DAMAGE):
                texts = array.asstr()[()].tolist()
            expected = f"{path}: expected an array {chosen!r} of numbers or of hexadecimal hashes of one length"
            return hashes_of(expected, ((f"row {i}", text) for i, text in enumerate(texts, 1)))
        if array.shape is None or array.dtype.kind not in "biuf":
            raise ValueError(f"{path}: expected an array {chosen!r} of numbers, got {array.dtype}")
        with whole(path, f"a whole array {chosen!r}", DAMAGE):
            elsewhere = array.external or array.is_virtual or array.file.filename != file.filename
            offset = None if elsewhere else array.id.get_offset()
            if offset is None or array.ndim == 0:
                return np.asarray(array[()])
            return np.memmap(path, array.dtype, "r", offset, array.shape)


def hdf5(purpose: str) -> Any:
    """Return h5py, which a purpose needs."""
    try:
        import h5py
    except ImportError:
        raise MissingDependencyError(purpose, "h5py", "hdf5") from None
    return h5py


def _arrow(purpose: str) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise MissingDependencyError(purpose, "pyarrow", "parquet") from None
    return pyarrow


def _names(path: Path, name: str | None, schema: Any) -> list[str]:
    """Return which of the columns are meant."""
    features = feature_columns(schema)
    if name is None and features and all(is_number(schema.field(each).type) for each in features):
        return features
    return [chosen_of(path, name, features if name is None else schema.names)]


def _columns(path: Path, table: Any, names: list[str]) -> NumpyArray:
    columns = [_column(path, name, table.column(name)) for name in names]
    return columns[0] if len(columns) == 1 else np.stack(columns, 1)


def _column(path: Path, name: str, column: Any) -> NumpyArray:
    expected = f"{path}: expected a column {name!r}"
    if str(column.type) in ("string", "large_string"):
        texts = ((f"row {i}", text or "") for i, text in enumerate(column.to_pylist(), 1))
        return hashes_of(f"{expected} of hexadecimal hashes of one length", texts)
    try:
        return arrow_array(expected, column)
    except TypeError as error:
        raise ValueError(str(error)) from None
