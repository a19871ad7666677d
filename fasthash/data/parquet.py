"""Features in Parquet, as `fasthash features` writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fasthash.data.base import Dataset, as_labels, check_labels, check_numbered, number_names
from fasthash.data.tables import read_parquet, whole
from fasthash.errors import MissingDependencyError


def read_features(name: str, path: Path) -> Dataset | None:
    """Read features with labels from a Parquet file; None if there is no such file.

    Columns: "features", lists of one length, and "labels", integers or lists of bool; columns of bool are splits, named
    as they are. The names of the classes are in the schema's metadata, "class_names", a list in JSON.

    Raises:
        MissingDependencyError: if pyarrow is not installed.
        ValueError: if the file is damaged, columns are missing, or do not fit together.
    """
    if not path.is_file():
        return None
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingDependencyError("reading Parquet files", "pyarrow", "parquet") from None
    with whole(path, "a whole Parquet file", (ArrowException, OSError, ValueError)):
        schema = parquet.read_schema(path)
        class_names = json.loads((schema.metadata or {}).get(b"class_names", b"null"))
    if not {"features", "labels"} <= set(schema.names):
        raise ValueError(f"{path}: expected the columns features and labels, got {', '.join(schema.names)}")
    labels = read_parquet(path, "labels")
    check_labels(path, "labels", labels, len(labels))
    if class_names is None:
        check_numbered(path, labels, len(labels))
    splits = [column.name for column in schema if str(column.type) == "bool"]
    try:
        return Dataset(
            name,
            read_parquet(path, "features").astype(np.float32, copy=False),
            as_labels(labels),
            {split: np.flatnonzero(read_parquet(path, split)) for split in splits},
            number_names(labels) if class_names is None else tuple(class_names),
        )
    except ValueError as error:
        raise ValueError(error if str(path) in str(error) else f"{path}: {error}") from error
