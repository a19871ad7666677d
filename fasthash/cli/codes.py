"""From embeddings to codes, indexes, hits and metrics, each in a file."""

from __future__ import annotations

import json
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fasthash.cli.arguments import OneOf, given, written
from fasthash.errors import MAX_BITS
from fasthash.evaluate.names import TIES
from fasthash.files import replacing
from fasthash.hashers.names import HASHERS

if TYPE_CHECKING:
    from fasthash.hashers import AffineHasher, Hasher
    from fasthash.recipes.networks import HashingNetwork

INDEXES = {"flat": "FlatIndex", "multi": "MultiIndex"}
ROWS_ENCODED_AT_ONCE = 1 << 16
_MOST = 2**31 - 1


def read_model(path: Path) -> Hasher | HashingNetwork:
    """Return the hasher or the trained network of a safetensors file."""
    from fasthash.hashers import Hasher
    from fasthash.recipes.loop import WEIGHTS_FORMAT
    from fasthash.recipes.networks import HashingNetwork
    from fasthash.tensor_files import read_metadata, read_tensors

    expected = f"encode: expected a hasher's or a network's safetensors file at {path}, got"
    metadata = read_metadata(expected, path)
    if metadata.get("format") == WEIGHTS_FORMAT:
        metadata, _ = read_tensors(expected, path, WEIGHTS_FORMAT, ["settings"])
        own = json.loads(metadata["settings"])["class"]
        raise ValueError(f"{expected} weights of {own}, a network that cannot be made from its file")
    return Hasher.load(path) if "n_features_in" in metadata else HashingNetwork.load(path)


@click.command("fit")
@click.argument("method", type=OneOf(HASHERS))
@given("embeddings")
@written("hasher")
@click.option("--bits", type=int, default=64, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def fit_hasher(method: str, embeddings: Path, hasher: Path, bits: int, seed: int) -> None:
    """Fit METHOD to EMBEDDINGS, floats [n, d] in a .npy file, and write it to HASHER, a .safetensors file."""
    from fasthash.data.arrays import read_array

    kind = HASHERS[method]
    seeded = {"seed": seed} if "seed" in signature(kind).parameters else {}
    kind(bits, **seeded).fit(read_array(embeddings)).save(hasher)
    click.echo(f"written: {hasher}")


@click.command()
@given("model")
@given("items")
@written("codes")
def encode(model: Path, items: Path, codes: Path) -> None:
    """Encode ITEMS, a .npy file, to CODES, a .npy file of packed codes, by MODEL: what `fit` or `train` wrote.

    ITEMS are the embeddings [n, d] of a hasher, or the images [n, h, w] or [n, h, w, 3] or features [n, d] of a
    network. They may be larger than memory. A network's outputs are rotated by rotation.safetensors, if `train` wrote
    one beside it.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    from fasthash.data.arrays import read_array
    from fasthash.recipes import encode as network_codes

    if codes.exists() and codes.samefile(items):
        raise ValueError(f"expected another file for codes than for items, got {codes}")
    loaded, x = read_model(model), read_array(items)
    rotation = read_rotation(model, loaded.n_bits) if isinstance(loaded, torch.nn.Module) else None
    encoded = (
        partial(network_codes, loaded, rotation=rotation) if isinstance(loaded, torch.nn.Module) else loaded.encode
    )
    # Not through a map of the file: a disk that is full would end the process without a word.
    with replacing(codes) as path, path.open("wb") as file:
        shape = (len(x), (loaded.n_bits + 7) // 8)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in tqdm(range(0, len(x), ROWS_ENCODED_AT_ONCE), unit="part", disable=None):
            file.write(encoded(np.array(x[start : start + ROWS_ENCODED_AT_ONCE])).data)
    rotated = "" if rotation is None else ", rotated as it was trained"
    click.echo(f"written: {codes}, {len(x)} codes of {loaded.n_bits} bits{rotated}")


def read_rotation(network: Path, n_bits: int) -> AffineHasher | None:
    """Return the rotation that a training wrote beside its network, or None."""
    from fasthash.hashers import AffineHasher

    path = network.with_name("rotation.safetensors")
    if network.name != "network.safetensors" or not path.exists():
        return None
    rotation = AffineHasher.load(path)
    if not n_bits == rotation.n_features_in_ == rotation.n_bits:
        raise ValueError(
            f"encode: expected a rotation of {n_bits} bits at {path}, beside its network, got one from "
            f"{rotation.n_features_in_} to {rotation.n_bits}"
        )
    return rotation


@click.command("index")
@given("codes")
@written("index")
@click.option("--kind", type=click.Choice(list(INDEXES)), default="flat", show_default=True)
@click.option("--bits", type=int, help="Length of the codes.  [default: all bits of their bytes]")
@click.option("--ids", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="int64 [n], a .npy file.")
def build_index(codes: Path, index: Path, kind: str, bits: int | None, ids: Path | None) -> None:
    """Write an INDEX of CODES, packed codes in a .npy file."""
    import numpy as np

    from fasthash import index as indexes
    from fasthash.data.arrays import read_array

    c = read_array(codes)
    if c.ndim != 2:
        raise ValueError(f"expected codes of shape [n, n_bits / 8] in {codes}, got {list(c.shape)}")
    built = getattr(indexes, INDEXES[kind])(c.shape[1] * 8 if bits is None else bits)
    built.add(c, None if ids is None else np.array(read_array(ids)))
    built.save(index)
    click.echo(f"written: {index}, {len(built)} codes of {built.n_bits} bits")


@click.command()
@given("index")
@given("queries")
@written("hits")
@click.option("-k", type=click.IntRange(1, _MOST), default=10, show_default=True, help="How many of the nearest codes.")
@click.option("--radius", type=click.IntRange(0, MAX_BITS), help="Instead, all codes within this distance.")
@click.option("--threads", type=int, help="[default: FASTHASH_THREADS, else the processors]")
def search(index: Path, queries: Path, hits: Path, k: int, radius: int | None, threads: int | None) -> None:
    """Search INDEX for QUERIES, packed codes in a .npy file; write HITS, a .npz file.

    HITS has `distances` and `ids` [q, k]; with --radius they are in a row, those of query i from `offsets[i]` to
    `offsets[i + 1]`.
    """
    import numpy as np

    from fasthash.data.arrays import read_array
    from fasthash.index import load_index

    q, loaded = read_array(queries), load_index(index)
    found = loaded.search(q, k, threads=threads) if radius is None else loaded.radius_search(q, radius, threads=threads)
    with replacing(hits) as path, path.open("wb") as file:
        np.savez(file, **found._asdict())
    click.echo(f"written: {hits}, {len(q)} queries among {len(loaded)} codes")


@click.command()
@given("query_codes")
@given("query_labels")
@given("codes")
@given("labels")
@click.option(
    "--at", type=click.IntRange(1, _MOST), help="Of the mean average precision: how many of the nearest items count."
)
@click.option(
    "--ties", type=click.Choice([ties for ties in TIES if ties != "cosine"]), default=TIES[0], show_default=True
)
def evaluate(query_codes: Path, query_labels: Path, codes: Path, labels: Path, at: int | None, ties: str) -> None:
    """Say how well the nearest CODES have the LABELS of the queries; all are .npy files.

    Codes are packed, labels integers [n], or 0 and 1 [n, c] where items have several.
    """
    import numpy as np

    from fasthash.data.arrays import read_array
    from fasthash.evaluate import mean_average_precision, precision_at, precision_within

    query, wanted, c, known = (np.array(read_array(path)) for path in (query_codes, query_labels, codes, labels))
    results = {"mAP" if at is None else f"mAP@{at}": mean_average_precision(query, wanted, c, known, at=at, ties=ties)}
    for k in (100, 1000):
        if k <= len(c):
            results[f"precision_at_{k}"] = precision_at(k, query, wanted, c, known, ties=ties)
    results["precision_within_2"] = precision_within(2, query, wanted, c, known)
    for name, value in results.items():
        click.echo(f"{name:<20} {value:.4f}")
