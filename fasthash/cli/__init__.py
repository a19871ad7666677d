"""The command `fasthash`. What its help says is known without importing torch, so that asking for it costs nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module

import click

from fasthash.cli.arguments import Commands
from fasthash.cli.bench import bench
from fasthash.cli.cluster import cluster
from fasthash.cli.codes import build_index, encode, evaluate, search
from fasthash.cli.demo import demo
from fasthash.cli.duplicates import duplicates
from fasthash.cli.features import features
from fasthash.cli.fit import fit
from fasthash.cli.info import info
from fasthash.cli.train import train


def import_modules(context: click.Context, parameter: click.Parameter, modules: Iterable[str]) -> None:
    """Import modules, also from the folder that the command is called in, so that what they register is offered."""
    if modules:
        sys.path.insert(0, os.getcwd())
    for module in modules:
        try:
            import_module(module)
        except (ModuleNotFoundError, ValueError) as error:
            if isinstance(error, ModuleNotFoundError) and not f"{module}.".startswith(f"{error.name}."):
                raise
            raise click.BadParameter(f"expected a module that can be imported, got {module!r}") from None


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    commands=[bench, build_index, cluster, demo, duplicates, encode, evaluate, features, fit, info, search, train],
)
@click.option(
    "--import",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=import_modules,
    metavar="MODULE",
    help="Import MODULE, which registers losses, hashers, data sets, backbones or recipes, first.",
)
@click.version_option(package_name="torch-fasthash")
def main() -> None:
    """Learning to hash: from embeddings to binary codes, exact search and evaluation."""
