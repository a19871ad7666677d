"""Trainings by the reference recipes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from fasthash.cli.arguments import options_of, told_plainly
from fasthash.recipes.settings import (
    AutoencoderSettings,
    IGANSettings,
    SGHSettings,
    SSDHSettings,
    SupervisedSettings,
)

_F = TypeVar("_F", bound=Callable[..., Any])


@click.group()
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
    from fasthash.recipes.supervised import train_supervised

    run_training(train_supervised, SupervisedSettings, **arguments)


@train.command("autoencoder")
@training_options(AutoencoderSettings)
def autoencoder(**arguments: Any) -> None:
    """Train an autoencoder without labels, its outputs brought to bits by a distance."""
    from fasthash.recipes.autoencoder import train_autoencoder

    run_training(train_autoencoder, AutoencoderSettings, **arguments)


@train.command("sgh")
@training_options(SGHSettings)
def sgh(**arguments: Any) -> None:
    """Train stochastic generative hashing, without labels."""
    from fasthash.recipes.sgh import train_sgh

    run_training(train_sgh, SGHSettings, **arguments)


@train.command("ssdh")
@training_options(SSDHSettings)
def ssdh(**arguments: Any) -> None:
    """Train semantic structure-based hashing, without labels."""
    from fasthash.recipes.ssdh import train_ssdh

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
    from fasthash.recipes.igan import train_igan

    if features is not None:
        for name in ("source", "target"):
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
                raise click.UsageError(f"expected --features or --{name}, got both")
        arguments["source"], arguments["target"] = features
    run_training(train_igan, IGANSettings, **arguments)
