"""What `fasthash search` writes, by the extension of the file."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from fasthash.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fasthash.ops.hamming import Hits, RadiusHits


def write_hits(path: Path, found: Hits | RadiusHits) -> None:
    """Write hits to a file, or if it is "-" as JSON lines to the standard output."""
    if str(path) == "-":
        _write_lines(sys.stdout, found)
        sys.stdout.flush()
        return
    with replacing(path) as file:
        WRITERS[path.suffix](file, found)


class _Flat(NamedTuple):
    """Hits in a row, those of query i from `offsets[i]` to `offsets[i + 1]`, without the -1 that fill up rows."""

    offsets: NDArray[Any]
    ids: NDArray[Any]
    distances: NDArray[Any]


def _flat(found: Hits | RadiusHits) -> _Flat:
    import numpy as np

    if len(found) == 3:
        return _Flat(found.offsets, found.ids, found.distances)
    there = found.ids != -1
    return _Flat(np.cumsum([0, *there.sum(1)]), found.ids[there], found.distances[there])


def _columns(found: Hits | RadiusHits) -> dict[str, NDArray[Any]]:
    """Return a row a hit, the nearest of a query having rank 1."""
    import numpy as np

    flat = _flat(found)
    counts = np.diff(flat.offsets)
    queries = np.repeat(np.arange(len(counts)), counts)
    ranks = np.arange(1, len(flat.ids) + 1) - flat.offsets[queries]
    return {"query": queries, "rank": ranks, "id": flat.ids, "distance": flat.distances}


def _write_lines(output: TextIO, found: Hits | RadiusHits) -> None:
    offsets, ids, distances = _flat(found)
    for query, (start, end) in enumerate(pairwise(offsets)):
        finite = [distance if math.isfinite(distance) else None for distance in distances[start:end].tolist()]
        output.write(json.dumps({"query": query, "ids": ids[start:end].tolist(), "distances": finite}) + "\n")


def _write_jsonl(path: Path, found: Hits | RadiusHits) -> None:
    with path.open("w") as file:
        _write_lines(file, found)


def _write_npz(path: Path, found: Hits | RadiusHits) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.savez(file, **found._asdict())


def _write_csv(path: Path, found: Hits | RadiusHits) -> None:
    columns = _columns(found)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def _write_parquet(path: Path, found: Hits | RadiusHits) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    with path.open("wb") as file:
        parquet.write_table(arrow.table(_columns(found)), file)


WRITERS: dict[str, Callable[[Path, Any], None]] = {
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
