"""Hashers, fitted to embeddings."""

from __future__ import annotations

import sys
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fasthash.cli.arguments import (
    Command,
    Commands,
    documented_parameters,
    example,
    given_array,
    options_of_parameters,
    written,
)
from fasthash.cli.inputs import floats
from fasthash.errors import check_integer
from fasthash.hashers.names import HASHERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FITTED = "EMBEDDINGS are an array [n, d]; HASHER is a .safetensors file."


class Methods(Commands):
    """A command for each hasher, with an option for each of its parameters."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the hashers' names."""
        return list(HASHERS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the command of a hasher, which is not imported for it: that takes long."""
        return command_of(name, HASHERS.outline(name)) if name in HASHERS else None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names alone: what other packages' hashers say of themselves may take long to import."""
        with formatter.section("Methods"):
            formatter.write_dl([(name, f"its settings: fasthash fit {name} --help") for name in HASHERS])


@click.group("fit", cls=Methods, subcommand_metavar="METHOD EMBEDDINGS HASHER [OPTIONS]")
def fit() -> None:
    """Fit METHOD to EMBEDDINGS, an array [n, d], and write it to HASHER, a .safetensors file."""


def command_of(name: str, kind: type) -> click.Command:
    """Return the command that fits a hasher; of `kind` the docstring and the parameters count."""

    @click.command(
        name,
        cls=Command,
        help=f"{(getdoc(kind) or name).splitlines()[0]}\n\n{_FITTED}",
        epilog=example(f"fasthash fit {name} embeddings.npy {name}.safetensors --bits 64"),
    )
    @given_array("embeddings")
    @written("hasher", ".safetensors")
    @click.option("--bits", type=int, default=64, show_default=True, help=documented_parameters(kind).get("n_bits"))
    @click.option(
        "--sample",
        type=click.IntRange(min=1),
        metavar="ROWS",
        help="fit to as many rows, drawn at random; of a file that is mapped no others are read.",
    )
    @options_of_parameters(kind, without=("n_bits", "progress", "packed_output"))
    def command(embeddings: str, hasher: Path, bits: int, sample: int | None, **settings: Any) -> None:
        from fasthash.data import read_array

        made = HASHERS[name](bits, **settings)
        progress = {"progress": sys.stderr.isatty()} if "progress" in made.get_params() else {}
        rows = read_array(embeddings)
        if sample is not None:
            seed = settings.get("random_state", 0)
            if seed is not None:
                check_integer("fit", "random_state", seed, 0)
            rows = rows[drawn(len(rows), sample, seed)]
        made.set_params(**progress).fit(floats(rows))
        made.set_params(**dict.fromkeys(progress, False)).save(hasher)
        click.echo(f"written: {hasher}")

    return command


def drawn(n: int, size: int, seed: int | None) -> NDArray[np.int64]:
    """Return the places, in order, of `size` of n rows that are drawn at random, or of all."""
    import numpy as np

    return np.sort(np.random.default_rng(seed).choice(n, min(n, size), replace=False, shuffle=False))
