"""Columns of Arrow, Hugging Face data sets, HDF5 and pandas as arrays, in their memory where the format allows.

None of these packages is imported: what is theirs is known by its type.
"""

from __future__ import annotations

import json
import reprlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

NumpyArray = NDArray[Any]
_NUMBERS = ("bool", "int8", "int16", "int32", "int64", "halffloat", "float", "double")
_TEXT = ("string", "large_string", "string_view")


def is_number(kind: object) -> bool:
    """Return whether an Arrow type is of numbers that NumPy has."""
    return str(kind).removeprefix("u") in _NUMBERS


def unwrapped(expected: str, x: Any) -> Any:
    """Return `x`, if it is of one of these packages, as an array, else as it is.

    Args:
        expected: what errors begin with, "fit: expected X" say.
        x: a column of Arrow, a table or a batch of columns of numbers, of a data set, or of HDF5; or anything else.

    Raises:
        TypeError: if it is of other than numbers.
        ValueError: if it has nulls, or lists of several lengths.
    """
    package = type(x).__module__.partition(".")[0]
    if package == "pyarrow":
        return _of_arrow(expected, x)
    if package == "datasets":
        return _of_data_set(expected, x)
    if package == "h5py":
        return _of_hdf5(expected, x)
    if package == "pandas" and hasattr(getattr(x, "dtype", None), "pyarrow_dtype"):
        return arrow_array(_of_name(expected, x.name), x.array.__arrow_array__())
    if package == "pandas" and hasattr(x, "dtypes") and hasattr(x, "columns"):
        return _of_frame(expected, x)
    return x


def feature_columns(schema: Any) -> list[str]:
    """Return the names of an Arrow schema's columns but for those that are the index of a pandas frame."""
    described = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    index = [name for name in described.get("index_columns", ()) if isinstance(name, str)]
    return [name for name in schema.names if name not in index]


def arrow_array(expected: str, column: Any) -> NumpyArray:
    """Return an Arrow array, in one chunk or several, as an array: [n] of numbers, [n, m] of lists and binary.

    The array is the column's memory, read-only, unless it has several chunks or is of bool.
    """
    chunks = column.chunks if hasattr(column, "chunks") else [column]
    if not chunks:
        chunks = [column.combine_chunks()]
    arrays = [_of_chunk(expected, chunk) for chunk in chunks]
    if len({array.shape[1:] for array in arrays if len(array)}) > 1:
        raise ValueError(f"{expected} of lists of one length, got several")
    arrays = [array for array in arrays if len(array)] or arrays[:1]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def stacked(expected: str, rows: NumpyArray) -> NumpyArray:
    """Return an array of objects [n] that are rows of numbers, or bytes, as one [n, m]; others as they are."""
    kind: Any = bytes if rows.ndim == 1 and len(rows) and isinstance(rows[0], bytes) else (np.ndarray, list, tuple)
    if rows.ndim != 1 or len(rows) == 0 or not isinstance(rows[0], kind):
        return rows
    for i, row in enumerate(rows):
        if not isinstance(row, kind):
            raise TypeError(f"{expected} of rows alike, got {type(row).__name__} in row {i}")
        if len(row) != len(rows[0]):
            raise ValueError(f"{expected} of rows of one length, {len(rows[0])}, got {len(row)} in row {i}")
    if kind is bytes:
        return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    try:
        return np.array(list(rows))
    except ValueError:
        raise ValueError(f"{expected} of rows of one shape, got several") from None


def _of_arrow(expected: str, x: Any) -> NumpyArray:
    if hasattr(x, "column_names"):
        columns = []
        for name in feature_columns(x.schema):
            array = arrow_array(_of_name(expected, name), x.column(name))
            if array.ndim > 1:
                raise TypeError(f"{_of_name(expected, name)} of numbers, got one of lists; pass it alone, x[{name!r}]")
            columns.append(array)
        return np.stack(columns, 1) if columns else np.empty((x.num_rows, 0))
    if not hasattr(x, "null_count"):
        raise TypeError(f"{expected} to be an array, a column or a table, got {type(x).__name__}")
    return arrow_array(expected, x)


def _of_frame(expected: str, x: Any) -> Any:
    """Return a pandas frame as it is where NumPy has its types, else its columns side by side."""
    kinds = {kind if isinstance(kind, np.dtype) else None for kind in x.dtypes}
    if None not in kinds and (len(kinds) <= 1 or np.dtype(bool) not in kinds):
        return x
    columns = []
    for i, (name, kind) in enumerate(zip(x.columns, x.dtypes, strict=True)):
        column, of_column = x.iloc[:, i], _of_name(expected, name)
        if hasattr(kind, "pyarrow_dtype"):
            columns.append(arrow_array(of_column, column.array.__arrow_array__()))
            continue
        plain = getattr(kind, "numpy_dtype", kind)
        if not isinstance(plain, np.dtype) or plain.kind not in "biuf":
            raise TypeError(f"{of_column} of numbers, got {kind}")
        if plain is not kind and column.isna().any():
            raise ValueError(f"{of_column} without nulls, got {int(column.isna().sum())}")
        columns.append(column.to_numpy(dtype=plain))
    return np.stack(columns, 1)


def _of_data_set(expected: str, x: Any) -> Any:
    if not hasattr(x, "column_name"):
        raise TypeError(f"{expected} to be an array or a column, got a {type(x).__name__} of {_listed(x)}; pass one")
    name, source = x.column_name, x.source
    if not hasattr(source, "select_columns") or source.format["type"] == "custom":
        return x[:]  # a field of a column, or what a function makes
    return arrow_array(_of_name(expected, name), source.select_columns(name).with_format("arrow")[:].column(name))


def _of_hdf5(expected: str, x: Any) -> NumpyArray:
    try:
        if hasattr(x, "dtype") and x.dtype.kind in "biufc":
            return np.asarray(x)
        got = f"{x.name} of {x.dtype}" if hasattr(x, "dtype") else f"a group of {_listed(x)}"
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{expected} to be an array of HDF5, got one that cannot be read: {error}") from error
    raise TypeError(f"{expected} to be an array of numbers, got {got}")


def _of_chunk(expected: str, chunk: Any) -> NumpyArray:
    kind = str(chunk.type)
    if chunk.null_count:
        raise ValueError(f"{expected} without nulls, got {chunk.null_count}")
    if hasattr(chunk, "storage"):
        return _of_chunk(expected, chunk.storage)
    if hasattr(chunk, "flatten") and hasattr(chunk.type, "value_type"):
        return _of_lists(expected, chunk)
    if "binary" in kind and "view" not in kind:
        return _of_binary(expected, chunk)
    if is_number(kind):
        array: NumpyArray = chunk.to_numpy(zero_copy_only=kind != "bool")
        return array
    raise TypeError(f"{expected} of numbers, lists of them or binary, got {kind}")


def _of_lists(expected: str, chunk: Any) -> NumpyArray:
    flat, n = _of_chunk(expected, chunk.flatten()), len(chunk)
    width = getattr(chunk.type, "list_size", None)
    if width is None:
        lengths = chunk.value_lengths().to_numpy()
        width = int(lengths[0]) if n else 0
        if (lengths != width).any():
            raise ValueError(f"{expected} of lists of one length, got several")
    return flat.reshape(n, width, *flat.shape[1:])


def _of_binary(expected: str, chunk: Any) -> NumpyArray:
    n, start, buffers = len(chunk), chunk.offset, chunk.buffers()
    width = getattr(chunk.type, "byte_width", None) if "fixed" in str(chunk.type) else None
    content = np.frombuffer(buffers[-1] or b"", np.uint8)
    if width is None:
        dtype = np.int64 if "large" in str(chunk.type) else np.int32
        offsets = np.frombuffer(buffers[1] or b"", dtype)[start : start + n + 1]
        width = int(offsets[1] - offsets[0]) if n else 0
        if (np.diff(offsets) != width).any():
            raise ValueError(f"{expected} of binary of one length, got several")
        content = content[offsets[0] if n else 0 :]
    else:
        content = content[start * width :]
    return content[: n * width].reshape(n, width)


def _of_name(expected: str, name: object) -> str:
    return expected if name is None else f"{expected}, column {name!r},"


def _listed(x: Any) -> str:
    names = x.column_names if hasattr(x, "column_names") else x
    return reprlib.repr(list(names or ()))


def listed_texts(expected: str, x: Any) -> Any:
    """Return a column of text as a list of strings, and anything else as it is; nulls are a ValueError."""
    package = type(x).__module__.partition(".")[0]
    if package == "datasets":
        texts = list(x) if getattr(getattr(x, "features", None), "dtype", None) in _TEXT else None
    elif package == "pyarrow":
        texts = x.to_pylist() if str(getattr(x, "type", None)) in _TEXT else None
    else:
        texts = x.tolist() if package == "pandas" and str(getattr(x, "dtype", None)) in ("str", "object") else None
    if texts is not None and None in texts:
        raise ValueError(f"{expected} without nulls, got {texts.count(None)}")
    return x if texts is None else texts
