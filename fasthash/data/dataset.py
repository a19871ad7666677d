"""Names of data sets, and where they are looked for."""

from __future__ import annotations

import os
from pathlib import Path

from fasthash.data.base import Dataset
from fasthash.data.npz import read_npz

__all__ = ["Dataset", "load_dataset"]


def load_dataset(name: str | Path, root: str | Path | None = None) -> Dataset:
    """Load a data set from a folder of data sets, or from a path."""
    path = Path(name)
    if path.suffix != ".npz":
        folder = root if root is not None else os.environ.get("FASTHASH_DATA")
        path = Path(folder or "") / f"{name}.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"load_dataset: found no {str(name)!r}; looked for {path}; pass root= or set the environment variable "
            "FASTHASH_DATA"
        )
    return read_npz(path.stem, path)
