"""Which codes, or pictures, are the same up to some bits."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from zlib import crc32

import click

from fasthash.cli.arguments import ArrayFile, Command, example, writable
from fasthash.cli.inputs import read_codes
from fasthash.cli.pictures import HASHES, draw_groups, hash_pictures, pairs_of_pictures
from fasthash.errors import MAX_BITS
from fasthash.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fasthash.ops.pairs import DuplicateGroups, HammingPairs


class HashesOrFolder(ArrayFile):
    """An array's file, or a folder of pictures."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Refuse what is neither."""
        return str(value) if Path(value).is_dir() else super().convert(value, parameter, context)


FILE = click.Path(dir_okay=False, path_type=Path, allow_dash=True)
_SEARCHED = "search.json"
TABLES = (".csv", ".jsonl", ".npz", ".parquet")


@click.command(
    cls=Command, epilog=example("fasthash duplicates pictures/ --radius 4 --groups groups.jsonl --grid groups.png")
)
@click.argument("hashes", type=HashesOrFolder())
@click.option("--radius", type=click.IntRange(0, MAX_BITS), required=True, help="The bits that two may differ in.")
@click.option("--out", type=FILE, callback=writable(*TABLES), help=f"Write pairs i, j, distance: {', '.join(TABLES)}.")
@click.option(
    "--parts",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write pairs in parts to a folder, i, j and distances in .npz; a run that was ended goes on after them.",
)
@click.option(
    "--groups",
    type=FILE,
    callback=writable(".csv", ".jsonl", piped=True),
    help="Write groups: .csv, .jsonl or -.",
)
@click.option("--grid", type=FILE, callback=writable(".png", ".jpg"), help="Draw the groups of a folder's pictures.")
@click.option("--linkage", type=click.Choice(("single", "complete")), default="single", show_default=True)
@click.option("--representative", type=click.Choice(("first", "central")), default="first", show_default=True)
@click.option("--hash", "kind", type=click.Choice(HASHES), default="phash", show_default=True, help="Of pictures.")
@click.option("--hash-size", type=click.IntRange(2, 64), default=8, show_default=True, help="Its square is the bits.")
@click.option("--crops", is_flag=True, help="Compare pictures with parts of the others, too, to find what was cut off.")
@click.option("--threads", type=int, help="[default: FASTHASH_THREADS, else the processors]")
def duplicates(
    hashes: str,
    radius: int,
    out: Path | None,
    parts: Path | None,
    groups: Path | None,
    grid: Path | None,
    linkage: str,
    representative: str,
    kind: str,
    hash_size: int,
    crops: bool,
    threads: int | None,
) -> None:
    """Find which of HASHES are the same up to RADIUS bits: an array of codes, or a folder of pictures.

    HASHES are packed codes [n, n_bits / 8], signs or hexadecimal hashes as `index` takes them, or numbers of 64 bits
    [n]; or a folder whose pictures imagehash hashes, those below it too. Pictures that cannot be read are named and
    left out. Nothing is changed or deleted. With --crops a picture is also compared with ten parts of each other, of
    80 and 90 % of its sides, and hashed eleven times: for pictures that lost a border, or got one.

    Groups are lines of JSON with a representative and all members, by position or path; to the standard output where
    nothing else is asked for. In a table of pairs a code that equals an earlier one is paired with the first alone.
    """
    from fasthash.ops.pairs import duplicate_groups, iter_hamming_pairs
    from fasthash.ops.pairs.groups import grouped

    pairs = None
    if Path(hashes).is_dir():
        if crops and parts is not None:
            raise click.UsageError("expected --crops or --parts, got both")
        names, every = hash_pictures(Path(hashes), kind, hash_size, crops)
        codes = every[:, 0]
        if crops:
            pairs = pairs_of_pictures(codes, every[:, 1:], radius, threads)
    elif grid is not None or crops:
        raise click.UsageError(f"expected a folder of pictures for {'--crops' if crops else '--grid'}, got {hashes}")
    else:
        names, codes = None, _codes_of(hashes)
    if out is not None:
        if pairs is None:
            found_pairs = iter_hamming_pairs(codes, radius, progress=sys.stderr.isatty(), threads=threads)
        else:
            found_pairs = iter([pairs])
        with replacing(out) as path:
            n_pairs = _PAIRS[out.suffix](path, found_pairs)
        click.echo(f"written: {out}, {n_pairs} pairs of {len(codes)} codes", err=True)
    if parts is not None:
        _write_parts(parts, codes, radius, threads)
    if (out is not None or parts is not None) and groups is None and grid is None:
        return
    if pairs is None:
        found = duplicate_groups(codes, radius, linkage=linkage, representative=representative, threads=threads)
    else:
        found = grouped(len(codes), *pairs, linkage, representative)
    if grid is not None:
        with replacing(grid) as path:
            draw_groups(path, grid.suffix, [Path(hashes) / name for name in names or ()], found)
        click.echo(f"written: {grid}", err=True)
    if groups is not None and str(groups) != "-":
        with replacing(groups) as path, path.open("w", newline="") as file:
            (_write_csv_groups if groups.suffix == ".csv" else _write_lines)(file, found, names)
        click.echo(f"written: {groups}, {len(found.representatives)} groups of {len(codes)} codes", err=True)
    elif groups is not None or grid is None:
        _write_lines(sys.stdout, found, names)
        sys.stdout.flush()


def _codes_of(path: str) -> NDArray[Any]:
    from fasthash.data.arrays import read_array
    from fasthash.hashes import from_hashes

    numbers = read_array(path)
    if numbers.ndim == 2 or numbers.dtype.kind not in "ui":
        return read_codes(path)[0]
    codes: NDArray[Any] = from_hashes(numbers)
    return codes


def _write_parts(folder: Path, codes: NDArray[Any], radius: int, threads: int | None) -> None:
    """Write parts named by their first and last i, each whole or not at all, after those that are there."""
    import numpy as np

    from fasthash.ops.pairs import iter_hamming_pairs

    searched = {"codes": list(codes.shape), "crc32": crc32(np.ascontiguousarray(codes).data), "radius": radius}
    folder.mkdir(exist_ok=True)
    if not (folder / _SEARCHED).exists():
        with replacing(folder / _SEARCHED) as path:
            path.write_text(json.dumps(searched))
    elif (theirs := json.loads((folder / _SEARCHED).read_text())) != searched:
        raise ValueError(f"duplicates: expected parts of the same search in {folder}, got those of {theirs}")
    first = max((int(path.stem.split("-")[2]) + 1 for path in folder.glob("pairs-*-*.npz")), default=0)
    for part in iter_hamming_pairs(codes, radius, first=first, progress=sys.stderr.isatty(), threads=threads):
        target = folder / f"pairs-{part.i[0]:010d}-{part.i[-1]:010d}.npz"
        with replacing(target) as path, path.open("wb") as file:
            np.savez(file, **part._asdict())
        click.echo(f"written: {target}, {len(part.i)} pairs", err=True)


def _groups(found: DuplicateGroups, names: list[str] | None) -> Iterator[tuple[Any, list[Any]]]:
    """Return the representative and the members of each group, by name where there are names."""
    named = (lambda i: i) if names is None else (lambda i: names[i])
    for representative, (start, end) in zip(found.representatives.tolist(), pairwise(found.offsets), strict=True):
        yield named(representative), [named(i) for i in found.members[start:end].tolist()]


def _write_lines(file: TextIO, found: DuplicateGroups, names: list[str] | None) -> None:
    for representative, members in _groups(found, names):
        file.write(json.dumps({"representative": representative, "members": members}) + "\n")


def _write_csv_groups(file: TextIO, found: DuplicateGroups, names: list[str] | None) -> None:
    writer = csv.writer(file)
    writer.writerow(["group", "member", "representative"])
    for group, (representative, members) in enumerate(_groups(found, names)):
        writer.writerows([group, member, int(member == representative)] for member in members)


def _rows(part: HammingPairs) -> Iterator[tuple[int, int, int]]:
    return zip(part.i.tolist(), part.j.tolist(), part.distances.tolist(), strict=True)


def _write_pairs_csv(path: Path, parts: Iterator[HammingPairs]) -> int:
    n_pairs = 0
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["i", "j", "distance"])
        for part in parts:
            writer.writerows(_rows(part))
            n_pairs += len(part.i)
    return n_pairs


def _write_pairs_jsonl(path: Path, parts: Iterator[HammingPairs]) -> int:
    n_pairs = 0
    with path.open("w") as file:
        for part in parts:
            file.writelines(f'{{"i": {i}, "j": {j}, "distance": {distance}}}\n' for i, j, distance in _rows(part))
            n_pairs += len(part.i)
    return n_pairs


def _write_pairs_npz(path: Path, parts: Iterator[HammingPairs]) -> int:
    import numpy as np

    every = list(parts)
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32))
    i, j, distances = (np.concatenate([empty[k], *(part[k] for part in every)]) for k in range(3))
    with path.open("wb") as file:
        np.savez(file, i=i, j=j, distances=distances)
    return len(i)


def _write_pairs_parquet(path: Path, parts: Iterator[HammingPairs]) -> int:
    import pyarrow as arrow
    from pyarrow import parquet

    schema, n_pairs = arrow.schema([("i", arrow.int64()), ("j", arrow.int64()), ("distance", arrow.int32())]), 0
    with path.open("wb") as file, parquet.ParquetWriter(file, schema) as writer:
        for part in parts:
            writer.write_table(arrow.table(list(part), schema=schema))
            n_pairs += len(part.i)
    return n_pairs


_PAIRS: dict[str, Callable[[Path, Iterator[HammingPairs]], int]] = {
    ".csv": _write_pairs_csv,
    ".jsonl": _write_pairs_jsonl,
    ".npz": _write_pairs_npz,
    ".parquet": _write_pairs_parquet,
}
