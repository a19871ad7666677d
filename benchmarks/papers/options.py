"""The command line that all grids share."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from fasthash.data import Dataset, load_dataset

_read = functools.cache(load_dataset)

OF_A_RUN = ("data_root", "out", "only", "tables_only")  # options on which no table depends


@dataclass(frozen=True)
class Options:
    """What the command line says about every grid.

    Attributes:
        command: the line itself, without what no table depends on.
    """

    command: str
    out: Path
    data_root: Path | None
    device: str
    only: Mapping[str, Sequence[str]]
    tables_only: bool

    def load(self, dataset: str) -> Dataset:
        """A data set, which is read once."""
        return _read(dataset, self.data_root)


def name_of(dataset: str) -> str:
    """What a data set is called, known without reading it."""
    return Path(dataset).name.removesuffix(".npz")


def command(
    *, bits: Sequence[int] | None = None, seeds: int | None = None, epochs: int | None = None
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of a script's function, which is given the options of every grid as `options`.

    Args:
        bits: default of `--bits`, and so on; None leaves the option out.
        seeds: how many.
        epochs: of each training.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(out, data_root, device, only, tables_only, **own):
            function(options=Options(_command_line(function), out, data_root, device, only, tables_only), **own)

        for option in reversed(_options(bits, seeds, epochs)):
            run = option(run)
        return click.command()(run)

    return decorate


def _command_line(function: Callable[..., None]) -> str:
    context = click.get_current_context()
    words = ["python", "-m", f"benchmarks.papers.{Path(function.__code__.co_filename).stem}"]
    for parameter in sorted(context.command.params, key=lambda parameter: isinstance(parameter, click.Option)):
        if parameter.name in OF_A_RUN or context.get_parameter_source(parameter.name) != ParameterSource.COMMANDLINE:
            continue
        given = context.params[parameter.name]
        for value in given if isinstance(given, tuple) else (given,):
            words += [*parameter.opts[:1], str(value)] if isinstance(parameter, click.Option) else [str(value)]
    return shlex.join(words)


def _options(bits, seeds, epochs):
    folder = click.Path(file_okay=False, path_type=Path)
    many = {"type": click.IntRange(1), "show_default": True}
    options = [
        bits and click.option("--bits", multiple=True, default=bits, help="Length of the codes; repeatable.", **many),
        seeds and click.option("--seeds", default=seeds, help="How many: 0, 1, ...", **many),
        epochs and click.option("--epochs", default=epochs, help="Of each training.", **many),
        click.option("--data-root", type=folder, help="Where data sets are.  [default: FASTHASH_DATA]"),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ..."),
        click.option("--out", type=folder, default="out/papers", show_default=True, help="Of folders and tables."),
        click.option(
            "--only", multiple=True, callback=_parsed, metavar="NAME=VALUE", help="Which to train; repeatable."
        ),
        click.option("--tables-only", is_flag=True, help="Write tables again from the CSV files; train nothing."),
    ]
    return [option for option in options if option is not None]


def _parsed(context, parameter, values):
    only = {}
    for value in values:
        name, equals, wanted = value.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got {value!r}", context, parameter)
        only.setdefault(name, []).append(wanted)
    return only
