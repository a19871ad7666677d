"""From embeddings to codes, indexes, hits and metrics, each in a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fasthash.cli.arguments import ArrayFile, Command, example, given, given_array, makeable, writable, written
from fasthash.cli.hits import WRITERS, write_hits
from fasthash.cli.inputs import (
    ArrayOrFaiss,
    floats,
    is_faiss,
    read_codes,
    read_faiss,
    read_model,
    read_rotation,
)
from fasthash.cli.searching import MOST, check_search_options, read_search_options, search_options
from fasthash.errors import MAX_BITS
from fasthash.evaluate.names import TIES, UNANSWERED
from fasthash.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fasthash.evaluate import PrecisionRecallCurve
    from fasthash.index.base import Index
    from fasthash.ops.hamming import Hits, RadiusHits

INDEXES = {"flat": "FlatIndex", "multi": "MultiIndex"}
ROWS_ENCODED_AT_ONCE, IMAGES_ENCODED_AT_ONCE, QUERIES_AT_ONCE = 1 << 16, 1 << 10, 1 << 12
_K = 10
_F = TypeVar("_F", bound=Callable[..., Any])


@contextmanager
def telling_part(start: int) -> Iterator[None]:
    """Add to an error, which counts the rows of a part, where the part begins."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{error}, in the part that begins with row {start}") from error


@click.command(cls=Command, epilog=example("fasthash encode itq.safetensors embeddings.npy codes.npy"))
@given("model")
@given_array("items")
@written("codes", ".npy")
@click.option(
    "--projections",
    is_flag=True,
    help="Write in the place of codes the real numbers whose signs they are, which `search` takes as queries.",
)
def encode(model: Path, items: str, codes: Path, projections: bool) -> None:
    """Encode ITEMS, an array, to CODES, a .npy file of packed codes, by MODEL: what `fit` or `train` wrote.

    ITEMS are the embeddings [n, d] of a hasher, or the images [n, h, w] or [n, h, w, 3] or features [n, d] of a
    network. Where their file can be mapped, they may be larger than memory. A network's outputs are rotated by
    rotation.safetensors, if `train` wrote one beside it.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    from fasthash.data.arrays import read_array
    from fasthash.recipes import encode as network_codes

    loaded, x = read_model(model), read_array(items)
    rotation = read_rotation(model, loaded.n_bits) if isinstance(loaded, torch.nn.Module) else None
    if projections and isinstance(loaded, torch.nn.Module):
        raise ValueError(f"expected a hasher with --projections, got the network in {model}")

    def encoded(part: NDArray[Any]) -> NDArray[Any]:
        if isinstance(loaded, torch.nn.Module):
            return network_codes(loaded, part, rotation)
        if projections:
            return np.ascontiguousarray(loaded.set_params(packed_output=False).transform(floats(part)), np.float32)
        return np.asarray(loaded.encode(floats(part)))

    # Not through a map of the file: a disk that is full would end the process without a word.
    with replacing(codes) as path, path.open("wb") as file:
        kind, width = ("<f4", loaded.n_bits) if projections else ("|u1", (loaded.n_bits + 7) // 8)
        header = {"descr": kind, "fortran_order": False, "shape": (len(x), width)}
        np.lib.format.write_array_header_1_0(file, header)
        n = IMAGES_ENCODED_AT_ONCE if isinstance(loaded, torch.nn.Module) else ROWS_ENCODED_AT_ONCE
        with tqdm(desc="encode", total=len(x), unit="item", disable=None, delay=2) as bar:
            for start in range(0, len(x), n):
                part = np.array(x[start : start + n])
                with telling_part(start):
                    file.write(encoded(part).data)
                bar.update(len(part))
    rotated = "" if rotation is None else ", rotated as it was trained"
    what = f"projections to {loaded.n_bits} numbers" if projections else f"codes of {loaded.n_bits} bits"
    click.echo(f"written: {codes}, {len(x)} {what}{rotated}")


def bit_order(name: str) -> Callable[[_F], _F]:
    """Return a decorator that gives a click command the order of bits of an argument."""
    return click.option(
        "--bitorder",
        type=click.Choice(("little", "big")),
        help=f"Of the bits in the bytes of {name}: big as numpy.packbits and sentence-transformers have them.  "
        "[default: little; of int8 and hexadecimal hashes big, and int8 of -1 and +1 alone are no bytes, but signs]",
    )


@click.command("index", cls=Command, epilog=example("fasthash index codes.npy codes.index --ids ids.npy"))
@click.argument("codes", type=ArrayOrFaiss())
@written("index")
@click.option("--kind", type=click.Choice(list(INDEXES)), default="flat", show_default=True)
@click.option("--bits", type=int, help="Length of the codes.  [default: all bits of their bytes or digits]")
@click.option("--ids", type=ArrayFile(), help="Integers [n].")
@bit_order("CODES, and so of its queries later")
def build_index(codes: str, index: Path, kind: str, bits: int | None, ids: str | None, bitorder: str | None) -> None:
    """Write an INDEX of CODES: an array of codes, hexadecimal hashes, or a binary index of FAISS, with its ids.

    Codes are packed, bytes [n, bits / 8], or signs, integers -1 and +1 [n, bits]. Hashes are the lines of a .txt file,
    or a column, file.csv:name or file.parquet:name.
    """
    from fasthash import index as indexes
    from fasthash.data.arrays import READERS, read_array

    if index.suffix in READERS:
        raise click.UsageError(f"expected another extension for an index than an array's, got {index}")
    if is_faiss(codes):
        for name, value in (("ids", ids), ("bitorder", bitorder)):
            if value is not None:
                raise ValueError(f"expected no {name} for {codes}, which has its own, got {value}")
        theirs = read_faiss(codes)
        built = getattr(indexes, INDEXES[kind])(theirs.n_bits if bits is None else bits)
        built.merge(theirs)
    else:
        c, n_bits = read_codes(codes, bitorder, bits)
        built = getattr(indexes, INDEXES[kind])(n_bits)
        built.add(c, None if ids is None else read_array(ids))
    built.save(index)
    click.echo(f"written: {index}, {len(built)} codes of {built.n_bits} bits")


@click.command(cls=Command, epilog=example("fasthash search codes.index query-codes.npy hits.npz -k 10"))
@given("index")
@given_array("queries")
@click.argument(
    "hits",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    callback=writable(*WRITERS, piped=True),
)
@click.option("-k", type=click.IntRange(1, MOST), help=f"How many of the nearest codes.  [default: {_K}]")
@click.option("--radius", type=click.IntRange(0, MAX_BITS), help="Instead, all codes within this distance.")
@click.option("--threads", type=int, help="[default: FASTHASH_THREADS, else the processors]")
@search_options
@bit_order("QUERIES, as it was of the index's codes")
def search(
    index: Path,
    queries: str,
    hits: Path,
    k: int | None,
    radius: int | None,
    threads: int | None,
    bitorder: str | None,
    **options: Any,
) -> None:
    """Search INDEX for QUERIES and write HITS.

    INDEX is what `index` wrote or a binary index of FAISS; QUERIES are an array of codes, or hexadecimal hashes, as
    `index` takes them; or projections, floating-point [q, b], that are compared asymmetrically. The format of HITS
    is its extension: .npz has `distances` and `ids` [q, k], and with --radius those of query i from `offsets[i]` to
    `offsets[i + 1]`; .csv and .parquet have a row a hit, of query, rank, id and distance; .jsonl has a line a query,
    {"query": 0, "ids": [...], "distances": [...]}, which - writes to the standard output.
    """
    from fasthash.index import load_index

    check_search_options(k, radius, options)
    loaded = read_faiss(index) if is_faiss(index) else load_index(index)
    q, _ = read_codes(queries, bitorder, loaded.n_bits)
    settings = read_search_options(q, options)
    write_hits(hits, _found(loaded, q, k or _K, radius, threads, settings))
    if str(hits) != "-":
        click.echo(f"written: {hits}, {len(q)} queries among {len(loaded)} codes")


def _found(
    index: Index, q: NDArray[Any], k: int, radius: int | None, threads: int | None, settings: dict[str, Any]
) -> Hits | RadiusHits:
    """Search for some queries at a time, with a progress bar on a terminal where it takes more than two seconds."""
    import numpy as np
    from tqdm import tqdm

    from fasthash.ops.hamming import RadiusHits as Found

    by_queries = settings.pop("rerank_queries", None)
    if by_queries is not None and len(by_queries) != len(q):
        raise ValueError(f"expected rerank queries for the {len(q)} queries, got {len(by_queries)}")
    parts: list[Any] = []
    with tqdm(total=len(q), unit="query", disable=None, delay=2) as bar:
        for start in range(0, max(1, len(q)), QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            if by_queries is not None:
                settings["rerank_queries"] = by_queries[part]
            with telling_part(start):
                if radius is None:
                    parts.append(index.search(q[part], k, threads=threads, **settings))
                else:
                    parts.append(index.radius_search(q[part], radius, threads=threads))
            bar.update(len(q[part]))
    columns = zip(*parts, strict=True)
    if radius is None:
        hits: Hits = type(parts[0])(*map(np.concatenate, columns))
        return hits
    offsets, distances, ids = columns
    counts = np.concatenate([[0], *map(np.diff, offsets)])
    return Found(np.cumsum(counts), np.concatenate(distances), np.concatenate(ids))


def curves_file(_context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a file of curves that is not named as one, or whose folder is not there."""
    if path is not None and path.suffix != ".csv":
        raise click.BadParameter(f"expected a .csv file, got {path}")
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"expected a file in a folder that there is, got {path}")
    return path


@click.command(
    cls=Command, epilog=example("fasthash evaluate query-codes.npy query-labels.npy codes.npy labels.npy --at 1000")
)
@given_array("query_codes")
@given_array("query_labels")
@given_array("codes")
@given_array("labels")
@click.option(
    "--at",
    type=click.IntRange(-1, MOST),
    help="Of the mean average precision: how many of the nearest items count, all by -1.  [default: -1]",
)
@click.option(
    "--within",
    type=click.IntRange(0, MAX_BITS),
    help="Of the mean average precision: items farther than this distance do not count, as in --within 2.",
)
@click.option(
    "--ties",
    type=click.Choice(TIES),
    default=TIES[0],
    show_default=True,
    help="Which order stands for items at one distance: the mean over all, relevant ones first or last, that of the "
    "items (a stable sort's), or by the embeddings' cosines or inner products.",
)
@click.option(
    "--unanswered",
    type=click.Choice(UNANSWERED),
    default=UNANSWERED[0],
    show_default=True,
    help="What a query without a relevant item among CODES counts: zero or nothing; skip_unfound leaves out those "
    "without one among the items that count. Of precision_within_2, a query without an item so near.",
)
@click.option("--leave-one-out", is_flag=True, help="The queries are CODES: each is left out of its own ranking.")
@click.option("--query-embeddings", type=ArrayFile(), help="With --ties cosine and inner_product, [q, m].")
@click.option("--embeddings", type=ArrayFile(), help="With --ties cosine and inner_product, [n, m].")
@click.option("--json", "as_json", is_flag=True, help="Write the values as a JSON object.")
@click.option(
    "--curves",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=curves_file,
    help="A .csv file for precision and recall of the first 1, 2, ... items, as many as --at says.",
)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    callback=makeable,
    help="Folder for precision_recall.png and precision_at_k.png.",
)
@bit_order("CODES and QUERY_CODES")
def evaluate(
    query_codes: str,
    query_labels: str,
    codes: str,
    labels: str,
    at: int | None,
    within: int | None,
    ties: str,
    unanswered: str,
    leave_one_out: bool,
    query_embeddings: str | None,
    embeddings: str | None,
    as_json: bool,
    curves: Path | None,
    plots: Path | None,
    bitorder: str | None,
) -> None:
    """Say how well the nearest CODES have the LABELS of the queries; all are arrays.

    Codes are packed, signs or hexadecimal hashes, as `index` takes them; labels are integers [n], or 0 and 1 [n, c]
    where items have several.

    As HashNet's code has it: --at 1000 --ties index --unanswered skip_unfound; as DeepHash-pytorch's: --at 1000 --ties
    index. Where the queries are the items: fasthash evaluate c.npy y.npy c.npy y.npy --leave-one-out.
    """
    import numpy as np
    from tqdm import tqdm

    from fasthash.data import read_array
    from fasthash.evaluate import mean_average_precision, precision_at, precision_recall_by_rank, precision_within

    if plots is not None:
        import_module("fasthash.evaluate.plots")  # which refuses before any work where there is no matplotlib
    query, c = (np.array(read_codes(place, bitorder)[0]) for place in (query_codes, codes))
    wanted, known = (np.array(read_array(place)) for place in (query_labels, labels))
    retrieval = query, wanted, c, known
    ranked: dict[str, Any] = {"ties": ties, "leave_one_out": leave_one_out}
    for name, place in (("query_embeddings", query_embeddings), ("embeddings", embeddings)):
        if place is not None:
            ranked[name] = floats(read_array(place))
    n_ranked = len(c) - leave_one_out
    title = "mAP" if at in (None, -1) else f"mAP@{at}"
    title = title if within is None else f"{title} within {within}"
    empty = "zero" if unanswered == "zero" else "skip"
    metrics: dict[str, Callable[[], float]] = {
        title: partial(mean_average_precision, *retrieval, at=at, within=within, unanswered=unanswered, **ranked),
        **{f"precision_at_{k}": partial(precision_at, k, *retrieval, **ranked) for k in (100, 1000) if k <= n_ranked},
        "precision_within_2": partial(precision_within, 2, *retrieval, unanswered=empty, leave_one_out=leave_one_out),
    }
    bar = tqdm(metrics.items(), unit="metric", disable=None, delay=2)
    results = {name: metric() for name, metric in bar}
    if curves is not None or plots is not None:
        by_rank = precision_recall_by_rank(*retrieval, at=at if plots is None else None, **ranked)
        if curves is not None:
            write_curves(curves, by_rank, at)
        if plots is not None:
            plots.mkdir(parents=True, exist_ok=True)
            draw(plots, retrieval, by_rank, leave_one_out)
    if as_json:
        click.echo(json.dumps(results))
        return
    for name, value in results.items():
        click.echo(f"{name:<20} {value:.4f}")


def write_curves(path: Path, curves: PrecisionRecallCurve, at: int | None) -> None:
    """Write precision and recall of the first items to a .csv file, a row a number of items."""
    rows = zip(*(part[: None if at == -1 else at].tolist() for part in curves), strict=True)
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("rank", "precision", "recall"))
        writer.writerows((rank, *values) for rank, values in enumerate(rows, start=1))


def draw(folder: Path, retrieval: tuple[NDArray[Any], ...], by_rank: PrecisionRecallCurve, leave_one_out: bool) -> None:
    """Write the pictures of an evaluation to a folder."""
    from fasthash.evaluate import precision_recall_curve
    from fasthash.evaluate.plots import precision_at_figure, precision_recall_figure

    name = f"{8 * retrieval[2].shape[1]} bits"
    places = [k for power in range(7) for k in (10**power, 2 * 10**power, 5 * 10**power) if k <= len(by_rank.precision)]
    curve = precision_recall_curve(*retrieval, leave_one_out=leave_one_out)
    for file, figure in (
        ("precision_recall.png", precision_recall_figure({name: curve})),
        ("precision_at_k.png", precision_at_figure({name: {k: float(by_rank.precision[k - 1]) for k in places}})),
    ):
        with replacing(folder / file) as path:
            figure.savefig(path, format="png", dpi=120)
