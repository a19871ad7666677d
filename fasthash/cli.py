"""The command `fasthash`."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable, Iterable
from importlib import util
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import click
import numpy as np
import torch

from fasthash import _core
from fasthash.ops import hamming, householder, packing, wasserstein
from fasthash.ops.registry import default_kernel
from fasthash.recipes.autoencoder import AutoencoderSettings, train_autoencoder
from fasthash.recipes.sgh import SGHSettings, train_sgh
from fasthash.recipes.ssdh import SSDHSettings, train_ssdh
from fasthash.recipes.supervised import SupervisedSettings, train_supervised

ROOMS = {
    "packing": packing.KERNELS,
    "hamming": hamming.KERNELS,
    "wasserstein": wasserstein.KERNELS,
    "householder": householder.KERNELS,
}


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
    try:
        run = trainer(settings(**chosen), root=data_root, out=out, progress=True, **rest)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        raise click.ClickException(str(error)) from error
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
