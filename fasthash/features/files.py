"""Features in files: parts while they are made, and the data set that is made of them."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasthash.data import Dataset
from fasthash.errors import MissingDependencyError
from fasthash.files import replacing

FORMATS = (".npz", ".parquet")
Array = NDArray[Any]


class Parts:
    """The folder of an unfinished file: settings.json, and an array of rows for each part that is finished.

    Args:
        out: the file that is to be made; the folder is beside it, its name with ".parts".
        settings: what decides the features, of JSON's types.
        n: how many rows there will be.
        size: of a part.

    Raises:
        ValueError: if the folder has parts of other settings.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], n: int, size: int) -> None:
        self.folder = out.with_name(f"{out.name}.parts")
        self.ranges = [range(start, min(start + size, n)) for start in range(0, n, size)]
        wanted, file = {**settings, "part_size": size}, self.folder / "settings.json"
        if file.exists() and self._any():
            there = json.loads(file.read_text())
            changed = sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))
            if changed:
                changes = ", ".join(f"{name}: {there.get(name)!r} there, {wanted.get(name)!r} now" for name in changed)
                raise ValueError(
                    f"extract: expected the settings of the parts in {self.folder} to go on, got others ({changes}); "
                    "delete the folder to begin anew"
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as path:
            path.write_text(json.dumps(wanted, indent=2) + "\n")

    def leave(self) -> None:
        """Remove the folder if no part was finished, so that other settings can be tried."""
        if not self._any():
            (self.folder / "settings.json").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what somebody else has there
                self.folder.rmdir()

    def missing(self) -> Iterator[range]:
        """Yield the rows of each part that is not finished."""
        for rows in self.ranges:
            if not self._file(rows).exists():
                yield rows

    def write(self, rows: range, features: Array) -> None:
        """Write a part, whole or not at all."""
        with replacing(self._file(rows)) as path, path.open("wb") as file:
            np.save(file, features)

    def __iter__(self) -> Iterator[Array]:
        """Yield all parts in their order, mapped."""
        for rows in self.ranges:
            yield np.load(self._file(rows), mmap_mode="r")

    def remove(self) -> None:
        """Remove the folder, once the file is made of it."""
        for rows in self.ranges:
            self._file(rows).unlink()
        (self.folder / "settings.json").unlink()
        self.folder.rmdir()

    def _any(self) -> bool:
        return any(self.folder.glob("*.npy"))

    def _file(self, rows: range) -> Path:
        return self.folder / f"{rows.start:010d}.npy"


def check_format(path: Path) -> None:
    """Raise unless features can be written to a file of that name."""
    if path.suffix not in FORMATS:
        raise ValueError(f"extract: expected out in {', '.join(FORMATS)}, got {path.suffix or 'no extension'}")
    if path.suffix == ".parquet":
        _parquet()


def write(path: Path, dataset: Dataset, parts: Parts) -> tuple[int, int]:
    """Write the features, labels and splits of a data set, whole or not at all; return the shape of the features."""
    first = next(iter(parts))
    shape = len(dataset.labels), first.shape[1]
    with replacing(path) as unfinished:
        (_write_npz if path.suffix == ".npz" else _write_parquet)(unfinished, dataset, parts, shape, first.dtype)
    return shape


def _write_npz(path: Path, dataset: Dataset, parts: Parts, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
    """As `fasthash.data` reads it, a part in memory at a time."""
    others = {"labels": dataset.labels, "class_names": np.array(dataset.class_names, dtype=np.str_)}
    others |= {f"{name}_positions": positions for name, positions in dataset.splits.items()}
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("features.npy", "w", force_zip64=True) as file:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts:
                file.write(part.data)
        for name, array in others.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _write_parquet(path: Path, dataset: Dataset, parts: Parts, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
    """A row an item: "features", "labels", and for each split whether it has the item."""
    arrow, parquet = _parquet()
    kind, labels = arrow.list_(arrow.from_numpy_dtype(dtype), shape[1]), dataset.labels
    of_labels = arrow.int64() if labels.ndim == 1 else arrow.list_(arrow.bool_(), labels.shape[1])
    members = {name: np.isin(np.arange(shape[0]), positions) for name, positions in dataset.splits.items()}
    fields = [("features", kind), ("labels", of_labels), *((name, arrow.bool_()) for name in members)]
    schema = arrow.schema(fields, {"class_names": json.dumps(dataset.class_names)})
    with parquet.ParquetWriter(path, schema) as file:
        for rows, part in zip(parts.ranges, parts, strict=True):
            chosen = labels[rows.start : rows.stop]
            columns = [arrow.FixedSizeListArray.from_arrays(arrow.array(part.ravel()), shape[1])]
            flat = arrow.array(chosen.ravel(), of_labels if labels.ndim == 1 else arrow.bool_())
            columns.append(flat if labels.ndim == 1 else arrow.FixedSizeListArray.from_arrays(flat, labels.shape[1]))
            columns += [arrow.array(member[rows.start : rows.stop]) for member in members.values()]
            file.write_table(arrow.table(columns, schema=schema))


def _parquet() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise MissingDependencyError("writing Parquet files", "pyarrow", "parquet") from None
