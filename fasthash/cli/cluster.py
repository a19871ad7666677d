"""Codes and indexes in many files, on one machine or on Ray."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fasthash.cli.arguments import Commands, example, given, given_array, writable
from fasthash.cli.hits import WRITERS, write_hits
from fasthash.cli.inputs import read_codes, read_model, read_rotation
from fasthash.cli.searching import MOST, check_search_options, read_search_options, search_options
from fasthash.errors import MAX_BITS

_F = TypeVar("_F", bound=Callable[..., Any])
_FOLDER = click.Path(file_okay=False, path_type=Path)
_THERE = click.Path(exists=True, file_okay=False, path_type=Path)
_K = 10


def _engine(command: _F) -> _F:
    """Give a command the choice of where it works."""
    return click.option(
        "--engine",
        type=click.Choice(("local", "ray")),
        default="local",
        show_default=True,
        help="In this process; or on Ray, the cluster of RAY_ADDRESS or one of this machine.",
    )(command)


def _threads(command: _F) -> _F:
    return click.option("--threads", type=click.IntRange(1), help="[default: FASTHASH_THREADS, else the processors]")(
        command
    )


@click.group("cluster", cls=Commands)
def cluster() -> None:
    """Encode, index, search and deduplicate what lies in many files, on one machine or several.

    Whatever is ended goes on where it was when it is called again.
    """


@cluster.command(
    epilog=example("fasthash cluster encode itq.safetensors 'embeddings/*.parquet' codes/ --column vector")
)
@given("model")
@click.argument("source")
@click.argument("codes")
@click.option("--column", help="Of embeddings, lists of one length.  [default: the only one beside the ids]")
@click.option("--id-column", help="Of integers.  [default: rows are numbered]")
@click.option("--part-rows", type=click.IntRange(1), default=2**20, show_default=True, help="Of a part, at least.")
@click.option("--batch-rows", type=click.IntRange(1), default=2**14, show_default=True, help="Encoded at once.")
@click.option("--workers", type=click.IntRange(1), help="Parts at once.  [default: the processors]")
@_engine
def encode(
    model: Path,
    source: str,
    codes: str,
    column: str | None,
    id_column: str | None,
    part_rows: int,
    batch_rows: int,
    workers: int | None,
    engine: str,
) -> None:
    """Encode SOURCE to CODES, a folder, by MODEL: what `fit` or `train` wrote.

    SOURCE is a folder, a file or a pattern in quotes, of .parquet or .npy files; it and CODES may be URIs, s3://bucket/x
    say. A network's outputs are rotated by rotation.safetensors, if `train` wrote one beside it.
    """
    from torch import nn

    from fasthash.cluster import encode_files

    loaded = read_model(model)
    rotation = read_rotation(model, loaded.n_bits) if isinstance(loaded, nn.Module) else None
    encoded = encode_files(
        loaded,
        source,
        codes,
        column=column,
        id_column=id_column,
        rotation=rotation,
        engine=engine,
        part_rows=part_rows,
        batch_rows=batch_rows,
        workers=workers,
        progress=sys.stderr.isatty(),
    )
    click.echo(f"written: {codes}, {len(encoded)} codes of {encoded.n_bits} bits in {len(encoded.parts)} parts")


@cluster.command(epilog=example("fasthash cluster build codes/ index/ --shards 8"))
@click.argument("codes")
@click.argument("index", type=_FOLDER)
@click.option("--shards", type=click.IntRange(1), required=True, help="How many files.")
@click.option("--kind", type=click.Choice(("flat", "multi")), default="flat", show_default=True)
@click.option("--layout", help="rows or planes; of multi fast or compact.  [default: rows, fast]")
@click.option("--bits", type=click.IntRange(1, MAX_BITS), help="Of .npy files.  [default: all bits of their bytes]")
@_engine
def build(codes: str, index: Path, shards: int, kind: str, layout: str | None, bits: int | None, engine: str) -> None:
    """Write an INDEX, a folder, of CODES: a folder that `encode` wrote, or of .npy files of packed codes."""
    from fasthash.cluster import ShardedIndex

    made = ShardedIndex.build(
        codes,
        index,
        n_shards=shards,
        kind=kind,
        layout=layout,
        n_bits=bits,
        engine=engine,
        progress=sys.stderr.isatty(),
    )
    click.echo(f"written: {index}, {len(made)} codes of {made.n_bits} bits in {len(made.manifest.shards)} shards")


@cluster.command(epilog=example("fasthash cluster search index/ query-codes.npy hits.npz -k 10"))
@click.argument("index", type=_THERE)
@given_array("queries")
@click.argument(
    "hits",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    callback=writable(*WRITERS, piped=True),
)
@click.option("-k", type=click.IntRange(1, MOST), help=f"How many of the nearest codes.  [default: {_K}]")
@click.option("--radius", type=click.IntRange(0, MAX_BITS), help="Instead, all codes within this distance.")
@search_options
@click.option("--partial", is_flag=True, help="Write what there is where shards give no answer, and name these.")
@_threads
@_engine
def search(
    index: Path,
    queries: str,
    hits: Path,
    k: int | None,
    radius: int | None,
    partial: bool,
    threads: int | None,
    engine: str,
    **options: Any,
) -> None:
    """Search INDEX, what `build` wrote, for QUERIES and write HITS, all as `fasthash search` does.

    Vectors, factors and offsets are in the order of the codes' ids.
    """
    from fasthash.cluster import ShardedIndex
    from fasthash.ops.hamming import Hits, RadiusHits

    check_search_options(k, radius, options)
    with ShardedIndex.open(index, engine=engine, threads=threads) as opened:
        q, _ = read_codes(queries, None, opened.n_bits)
        if radius is None:
            found: Any = opened.search(q, k or _K, partial=partial, **read_search_options(q, options))
        else:
            found = opened.radius_search(q, radius, partial=partial)
        if partial:
            for file, reason in found.missing.items():
                click.echo(f"missing: {file}: {reason}", err=True)
            found = (Hits if radius is None else RadiusHits)(*found[:-1])
    write_hits(hits, found)
    if str(hits) != "-":
        click.echo(f"written: {hits}, {len(q)} queries among {len(opened)} codes")


@cluster.command(epilog=example("fasthash cluster duplicates index/ pairs/ --radius 3"))
@click.argument("index", type=_THERE)
@click.argument("pairs", type=_FOLDER)
@click.option("--radius", type=click.IntRange(0, MAX_BITS), required=True, help="The bits that two may differ in.")
@_threads
@_engine
def duplicates(index: Path, pairs: Path, radius: int, threads: int | None, engine: str) -> None:
    """Find which codes of INDEX are the same up to RADIUS bits, and write PAIRS, a folder of Parquet files.

    They have a row a pair, of ids i < j and distance. A code that equals one of a lower id is paired with the lowest
    alone.
    """
    from fasthash.cluster import ShardedIndex

    with ShardedIndex.open(index, engine=engine) as opened:
        found = opened.pairs(radius, pairs, threads=threads, progress=sys.stderr.isatty())
    click.echo(f"written: {pairs}, {found.n_pairs} pairs of {len(opened)} codes in {len(found.files)} files")
