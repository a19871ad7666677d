"""The command `fasthash`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from importlib import util
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import click
import numpy as np
import torch
from click.core import ParameterSource
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from fasthash import _core
from fasthash.evaluate import mean_average_precision, precision_at, precision_within
from fasthash.evaluate.metrics import TIES
from fasthash.files import replacing
from fasthash.hashers import H2Q, ITQ, LSH, Hasher, SpectralHashing
from fasthash.index import FlatIndex, MultiIndex, load_index
from fasthash.ops import hamming, householder, packing, wasserstein
from fasthash.ops.packing import pack_bits
from fasthash.ops.registry import default_kernel
from fasthash.recipes.autoencoder import AutoencoderSettings, train_autoencoder
from fasthash.recipes.igan import IGANSettings, train_igan
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.sgh import SGHSettings, train_sgh
from fasthash.recipes.ssdh import SSDHSettings, train_ssdh
from fasthash.recipes.supervised import SupervisedSettings, train_supervised

ROOMS = {
    "packing": packing.KERNELS,
    "hamming": hamming.KERNELS,
    "wasserstein": wasserstein.KERNELS,
    "householder": householder.KERNELS,
}


HASHERS = {"lsh": LSH, "spectral": SpectralHashing, "itq": ITQ, "h2q": H2Q}
INDEXES = {"flat": FlatIndex, "multi": MultiIndex}
ROWS_ENCODED_AT_ONCE = 1 << 16

_F = TypeVar("_F", bound=Callable[..., Any])


def options_of(settings: type) -> Callable[[_F], _F]:
    """Return a decorator that gives a click command an option for each field of a settings class."""
    hints = get_type_hints(settings)

    def decorate(command: _F) -> _F:
        for field in reversed(dataclasses.fields(settings)):
            command = click.option(f"--{field.name.replace('_', '-')}", field.name, **_declaration(field, hints))(
                command
            )
        return command

    return decorate


def _declaration(field: dataclasses.Field[Any], hints: dict[str, Any]) -> dict[str, Any]:
    shared = {"help": field.metadata["help"]}
    if field.default is dataclasses.MISSING:  # a mapping from names to numbers
        return {**shared, "multiple": True, "metavar": "NAME=NUMBER", "callback": _named_numbers}
    shared["default"] = field.default
    shared["show_default"] = field.default is not None
    if "choices" in field.metadata:
        return {**shared, "type": click.Choice(field.metadata["choices"])}
    if hints[field.name] is bool:
        return {**shared, "is_flag": True}
    kinds = [kind for kind in get_args(hints[field.name]) or (hints[field.name],) if kind is not type(None)]
    return {**shared, "type": kinds[0]}


def _named_numbers(context: click.Context, parameter: click.Parameter, values: Iterable[str]) -> dict[str, float]:
    named = {}
    for value in values:
        name, _, number = value.partition("=")
        try:
            named[name] = float(number) if "." in number or "e" in number else int(number)
        except ValueError:
            raise click.BadParameter(f"expected NAME=NUMBER, got {value!r}") from None
    return named


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_core.__version__, package_name="torch-fasthash")
def main() -> None:
    """Learning to hash: from embeddings to binary codes, exact search and evaluation."""


@main.command()
def info() -> None:
    """Say what this machine runs: processor level, kernels, versions."""
    click.echo(f"fasthash     {_core.__version__}")
    click.echo(f"python       {platform.python_version()} on {platform.system()} {platform.machine()}")
    click.echo(f"numpy        {np.__version__}")
    click.echo(f"torch        {torch.__version__}")
    click.echo(f"triton       {_version('triton')}")
    click.echo(f"numba        {_version('numba')}")
    click.echo(f"cuda         {torch.version.cuda or 'this torch has none'}")
    for i in range(torch.cuda.device_count()):
        click.echo(f"  device {i}   {torch.cuda.get_device_name(i)}")
    forced = " (FASTHASH_ISA)" if os.environ.get("FASTHASH_ISA") else ""
    click.echo(f"processor    {_core.active_isa()}{forced} of {', '.join(_core.runnable_isas())}")
    click.echo(f"threads      {_core.default_threads()}")
    devices = [torch.device(name) for name in ("cpu", "cuda") if name == "cpu" or torch.cuda.is_available()]
    for room, kernels in ROOMS.items():
        chosen = ", ".join(f"{device.type}: {default_kernel(device)}" for device in devices)
        absent = "".join(f"; no {name}: {reason}" for name, kernel in kernels.items() if (reason := kernel.missing()))
        click.echo(f"{room:<12} {chosen}{absent}")


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package) if util.find_spec(package) else "not installed"


@main.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out/demo"), show_default=True)
@click.option("--bits", type=click.IntRange(1, 64), multiple=True, default=(16, 32, 64), show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def demo(out: Path, bits: tuple[int, ...], seed: int) -> None:
    """Hash, search and evaluate 1,797 handwritten digits; write a table and pictures."""
    if util.find_spec("matplotlib") is None:
        raise click.ClickException(
            "the demo draws with matplotlib, which is not installed; pip install 'torch-fasthash[plots]'"
        )
    from fasthash.demo import COLUMNS, run_demo

    rows = run_demo(out, bits, seed)
    click.echo("".join(f"{column:>8}" for column in COLUMNS))
    for row in rows:
        click.echo("".join(f"{row[column]:>8}" for column in COLUMNS))
    click.echo(f"written: {out / 'results.csv'}, {out / 'precision_recall.png'}, {out / 'retrieval.png'}")


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Turn what a user can hit into a message without a traceback."""
    try:
        yield
    except (TypeError, ValueError, OSError, ImportError, FloatingPointError) as error:
        raise click.ClickException(str(error)) from error


def _in_a_folder(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"expected a file in a folder that exists, got {path}")
    return path


def given(name: str) -> Callable[[_F], _F]:
    """Return a decorator that gives a click command the path of a file to read."""
    return click.argument(name, type=click.Path(exists=True, dir_okay=False, path_type=Path))


def written(name: str) -> Callable[[_F], _F]:
    """Return a decorator that gives a click command the path of a file to write or replace."""
    return click.argument(name, type=click.Path(dir_okay=False, path_type=Path), callback=_in_a_folder)


def read_array(path: Path) -> NDArray[Any]:
    """Return the array of a .npy file, mapped from it."""
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(f"expected an array written by numpy.save at {path}, got another kind of file")
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def read_model(path: Path) -> Hasher | HashingNetwork:
    """Return the hasher or the trained network of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            is_hasher = "n_features_in" in (file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"expected a hasher's or a network's safetensors file at {path}: {error}") from None
    return Hasher.load(path) if is_hasher else HashingNetwork.load(path)


@main.command("fit")
@click.argument("method", type=click.Choice(list(HASHERS)))
@given("embeddings")
@written("hasher")
@click.option("--bits", type=int, default=64, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def fit_hasher(method: str, embeddings: Path, hasher: Path, bits: int, seed: int) -> None:
    """Fit METHOD to EMBEDDINGS, floats [n, d] in a .npy file, and write it to HASHER, a .safetensors file."""
    seeded = {} if method == "spectral" else {"seed": seed}
    with told_plainly():
        HASHERS[method](bits, **seeded).fit(read_array(embeddings)).save(hasher)
    click.echo(f"written: {hasher}")


@main.command()
@given("model")
@given("items")
@written("codes")
def encode(model: Path, items: Path, codes: Path) -> None:
    """Encode ITEMS, a .npy file, to CODES, a .npy file of packed codes, by MODEL: what `fit` or `train` wrote.

    ITEMS are the embeddings [n, d] of a hasher, or the images [n, h, w] or [n, h, w, 3] or features [n, d] of a
    network. They may be larger than memory.
    """
    with told_plainly():
        loaded, x = read_model(model), read_array(items)
        with replacing(codes) as file:
            out = np.lib.format.open_memmap(file, "w+", np.uint8, (len(x), (loaded.n_bits + 7) // 8))
            for start in tqdm(range(0, len(x), ROWS_ENCODED_AT_ONCE), unit="part", disable=None):
                part = np.array(x[start : start + ROWS_ENCODED_AT_ONCE])
                out[start : start + len(part)] = _encoded(loaded, part)
            out.flush()
    click.echo(f"written: {codes}, {len(x)} codes of {loaded.n_bits} bits")


def _encoded(model: Hasher | HashingNetwork, items: NDArray[Any]) -> NDArray[np.uint8]:
    if isinstance(model, Hasher):
        return np.asarray(model.encode(items))
    if items.shape[1:] != model.item_shape:
        raise ValueError(f"expected items of shape {list(model.item_shape)}, got {list(items.shape[1:])}")
    with torch.inference_mode():
        outputs = torch.cat([model(batch).float() for batch in torch.split(torch.from_numpy(items), 1000)])
    return np.asarray(pack_bits(outputs))


@main.command("index")
@given("codes")
@written("index")
@click.option("--kind", type=click.Choice(list(INDEXES)), default="flat", show_default=True)
@click.option("--bits", type=int, help="Length of the codes.  [default: all bits of their bytes]")
@click.option("--ids", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="int64 [n], a .npy file.")
def build_index(codes: Path, index: Path, kind: str, bits: int | None, ids: Path | None) -> None:
    """Write an INDEX of CODES, packed codes in a .npy file."""
    with told_plainly():
        c = read_array(codes)
        if c.ndim != 2:
            raise ValueError(f"expected codes of shape [n, n_bits / 8] in {codes}, got {list(c.shape)}")
        built = INDEXES[kind](c.shape[1] * 8 if bits is None else bits)
        built.add(c, None if ids is None else np.array(read_array(ids)))
        built.save(index)
    click.echo(f"written: {index}, {len(built)} codes of {built.n_bits} bits")


@main.command()
@given("index")
@given("queries")
@written("hits")
@click.option("-k", type=int, default=10, show_default=True, help="How many of the nearest codes.")
@click.option("--radius", type=int, help="Instead, all codes within this distance.")
@click.option("--threads", type=int, help="[default: FASTHASH_THREADS, else the processors]")
def search(index: Path, queries: Path, hits: Path, k: int, radius: int | None, threads: int | None) -> None:
    """Search INDEX for QUERIES, packed codes in a .npy file; write HITS, a .npz file.

    HITS has `distances` and `ids` [q, k]; with --radius they are in a row, those of query i from `offsets[i]` to
    `offsets[i + 1]`.
    """
    with told_plainly():
        q, loaded = read_array(queries), load_index(index)
        found = (
            loaded.search(q, k, threads=threads) if radius is None else loaded.radius_search(q, radius, threads=threads)
        )
        with replacing(hits) as path, path.open("wb") as file:
            np.savez(file, **found._asdict())
    click.echo(f"written: {hits}, {len(q)} queries among {len(loaded)} codes")


@main.command()
@given("query_codes")
@given("query_labels")
@given("codes")
@given("labels")
@click.option("--at", type=int, help="Of the mean average precision: how many of the nearest items count.")
@click.option(
    "--ties", type=click.Choice([ties for ties in TIES if ties != "cosine"]), default=TIES[0], show_default=True
)
def evaluate(query_codes: Path, query_labels: Path, codes: Path, labels: Path, at: int | None, ties: str) -> None:
    """Say how well the nearest CODES have the LABELS of the queries; all are .npy files.

    Codes are packed, labels integers [n], or 0 and 1 [n, c] where items have several.
    """
    with told_plainly():
        query, wanted, c, known = (np.array(read_array(path)) for path in (query_codes, query_labels, codes, labels))
        results = {
            "mAP" if at is None else f"mAP@{at}": mean_average_precision(query, wanted, c, known, at=at, ties=ties)
        }
        for k in (100, 1000):
            if k <= len(c):
                results[f"precision_at_{k}"] = precision_at(k, query, wanted, c, known, ties=ties)
        results["precision_within_2"] = precision_within(2, query, wanted, c, known)
    for name, value in results.items():
        click.echo(f"{name:<20} {value:.4f}")


@main.group()
def train() -> None:
    """Train by a reference recipe."""


def training_options(settings: type) -> Callable[[_F], _F]:
    """Return a decorator that gives a click command the options of a recipe's settings, and of where it runs."""
    options = (
        options_of(settings),
        click.option(
            "--data-root", type=click.Path(path_type=Path), help="Where data sets are.  [default: FASTHASH_DATA]"
        ),
        click.option(
            "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the training."
        ),
        click.option("--resume", is_flag=True, help="Go on with the training in that folder."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ..."),
    )

    def decorate(command: _F) -> _F:
        for add in reversed(options):
            command = add(command)
        return command

    return decorate


def run_training(trainer: Callable[..., Any], settings: type, data_root: Path | None, out: Path, **rest: Any) -> None:
    """Train by a recipe with what its command was given, and print the results."""
    chosen = {field.name: rest.pop(field.name) for field in dataclasses.fields(settings)}
    with told_plainly():
        run = trainer(settings(**chosen), root=data_root, out=out, progress=True, **rest)
    for name, value in run.results.items():
        click.echo(f"{name:<20} {value:.4f}")
    click.echo(f"written: {out / 'network.safetensors'}, {out / 'results.json'}, {out / 'log.csv'}")


@train.command("supervised")
@training_options(SupervisedSettings)
@click.option(
    "--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read image files."
)
def supervised(**arguments: Any) -> None:
    """Train a network to hash from labels, and measure what its codes retrieve."""
    run_training(train_supervised, SupervisedSettings, **arguments)


@train.command("autoencoder")
@training_options(AutoencoderSettings)
def autoencoder(**arguments: Any) -> None:
    """Train an autoencoder without labels, its outputs brought to bits by a distance."""
    run_training(train_autoencoder, AutoencoderSettings, **arguments)


@train.command("sgh")
@training_options(SGHSettings)
def sgh(**arguments: Any) -> None:
    """Train stochastic generative hashing, without labels."""
    run_training(train_sgh, SGHSettings, **arguments)


@train.command("ssdh")
@training_options(SSDHSettings)
def ssdh(**arguments: Any) -> None:
    """Train semantic structure-based hashing, without labels."""
    run_training(train_ssdh, SSDHSettings, **arguments)


@train.command("igan")
@training_options(IGANSettings)
@click.option(
    "--features",
    type=click.Path(exists=True, dir_okay=False),
    nargs=2,
    metavar="SOURCE TARGET",
    help="Two .npz files with the arrays features and labels, in place of --source and --target.",
)
@click.pass_context
def igan(context: click.Context, /, features: tuple[str, str] | None, **arguments: Any) -> None:
    """Train domain-adaptive hashing: labels in one domain, none in the other."""
    if features is not None:
        for name in ("source", "target"):
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
                raise click.UsageError(f"expected --features or --{name}, got both")
        arguments["source"], arguments["target"] = features
    run_training(train_igan, IGANSettings, **arguments)
