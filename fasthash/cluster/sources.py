"""Embeddings in files: what is read of them at once, and whether all have the same columns."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fasthash.cluster.codes_folder import npy_header, read_npy
from fasthash.cluster.shards import Ids
from fasthash.cluster.storage import File, Place
from fasthash.columns import arrow_array

FOOTERS_AT_ONCE = 16


class Unit(NamedTuple):
    """What becomes a part: row groups of a file; those of an .npy file are of `part_rows` rows."""

    source: File
    groups: tuple[int, int]
    start: int  # its first row in the file
    first: int  # number of its first row among all
    n: int


def units_of(
    where: str, files: list[File], column: str | None, id_column: str | None, part_rows: int
) -> Iterator[Unit]:
    """Yield what become parts, once every file is seen to have the columns of the first."""
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        looked_at = list(pool.map(lambda file: _groups(where, file, column, id_column, part_rows), files))
    first, first_kind = files[0], looked_at[0][0]
    number = 0
    for file, (kind, groups) in zip(files, looked_at, strict=True):
        if kind != first_kind:
            raise ValueError(
                f"{where}: expected {first_kind} at {file.place.path}, as at {first.place.path}, got {kind}"
            )
        first_of_file = number
        for start, end, n in _gathered(groups, part_rows):
            yield Unit(file, (start, end), number - first_of_file, number, n)
            number += n


def _gathered(groups: list[int], part_rows: int) -> Iterator[tuple[int, int, int]]:
    """Yield row groups that follow each other, and how many rows they have."""
    start, n = 0, 0
    for i, rows in enumerate(groups):
        n += rows
        if n >= part_rows or i == len(groups) - 1:
            yield start, i + 1, n
            start, n = i + 1, 0


def _groups(where: str, file: File, column: str | None, id_column: str | None, part_rows: int) -> tuple[str, list[int]]:
    """Return what a file holds in words, and how many rows each of its groups has."""
    path = file.place.path
    if path.endswith(".npy"):
        if column is not None or id_column is not None:
            raise ValueError(f"{where}: expected Parquet files for columns by name, got {path}")
        shape, dtype, _ = npy_header(where, file.place)
        if not shape:
            raise ValueError(f"{where}: expected embeddings [n, d] at {path}, got an array of shape []")
        whole, rest = divmod(shape[0], part_rows)
        return f"an array of {dtype} [n, {', '.join(map(str, shape[1:]))}]", [part_rows] * whole + [rest] * (rest > 0)
    metadata, schema = footer_of(where, file.place)
    names = schema.names
    for name in filter(None, (column, id_column)):
        if name not in names:
            raise ValueError(f"{where}: expected a column {name!r} at {path}, got {', '.join(names) or 'none'}")
    if column is None:
        others = [name for name in names if name != id_column]
        if len(others) != 1:
            raise ValueError(f"{where}: expected column, as there are several at {path}: {', '.join(others)}")
        column = others[0]
    kinds = [f"a column {name!r} of {schema.field(name).type}" for name in (column, id_column) if name is not None]
    return " and ".join(kinds), [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


def footer_of(where: str, place: Place) -> tuple[Any, Any]:
    """Return the metadata and the schema of a Parquet file; a ValueError begins with `where`."""
    import pyarrow
    from pyarrow import parquet

    try:
        with place.open_by_arrow() as stream:
            file = parquet.ParquetFile(stream)
            return file.metadata, file.schema_arrow
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{where}: expected a whole Parquet file at {place.path}, got {error}") from None


def batches_of(
    where: str, unit: Unit, column: str | None, id_column: str | None, batch_rows: int
) -> Iterator[tuple[NDArray[Any], Ids]]:
    """Yield the embeddings and ids of a unit."""
    import pyarrow
    from pyarrow import parquet

    place = unit.source.place
    if place.path.endswith(".npy"):
        rows = read_npy(place)
        for start in range(unit.start, end := unit.start + unit.n, batch_rows):
            yield np.asarray(rows[start : min(start + batch_rows, end)]), np.empty(0, np.int64)
        return
    expected = f"{where}: expected a whole Parquet file at {place.path}"
    try:
        with place.open_by_arrow() as stream:
            file = parquet.ParquetFile(stream, pre_buffer=True)
            names = [name for name in file.schema_arrow.names if name in (column, id_column)]
            names = names if column is not None else file.schema_arrow.names
            column = column or next(name for name in names if name != id_column)
            for batch in file.iter_batches(batch_rows, row_groups=range(*unit.groups), columns=names):
                x = arrow_array(f"{where}: expected a column {column!r} at {place.path}", batch.column(column))
                yield x, _ids_of(where, place, batch, id_column)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{expected}, got {error}") from None


def _ids_of(where: str, place: Place, batch: Any, id_column: str | None) -> Ids:
    if id_column is None:
        return np.empty(0, np.int64)
    expected = f"{where}: expected a column {id_column!r} at {place.path}"
    ids = arrow_array(expected, batch.column(id_column))
    if ids.dtype.kind not in "ui" or ids.ndim != 1:
        raise ValueError(f"{expected} of integers, got {ids.dtype} {list(ids.shape)}")
    if ids.dtype == np.uint64 and (ids > np.iinfo(np.int64).max).any():
        raise ValueError(f"{expected} of less than 2^63, got {ids.max()}")
    if (ids == -1).any():
        raise ValueError(f"{expected} without -1, which stands for no hit, got -1")
    return ids.astype(np.int64)
