"""What the commands that search share: how the nearest codes are compared again, and projections compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fasthash.cli.arguments import ArrayFile
from fasthash.cli.inputs import ArrayOrAsymmetric, floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 2**31 - 1
_F = TypeVar("_F", bound=Callable[..., Any])
_OF_PROJECTIONS = ("query_bits", "factors", "offsets")
_OPTIONS = (
    click.option(
        "--rerank",
        type=ArrayOrAsymmetric(),
        metavar="FILE|asymmetric",
        help="What the nearest codes are put in order by: their vectors [n, d], or the codes themselves.",
    ),
    click.option(
        "--rerank-queries",
        type=ArrayFile(),
        help="The queries' vectors [q, d], or for asymmetric their projections [q, b].",
    ),
    click.option(
        "--metric", type=click.Choice(("inner_product", "l2")), help="Of reranking.  [default: inner_product]"
    ),
    click.option("--factor", type=click.IntRange(1, MOST), help="Times k are reranked.  [default: 10]"),
    click.option("--query-bits", type=click.IntRange(1, 8), help="Of a number of projections.  [default: 4]"),
    click.option("--factors", type=ArrayFile(), help="Of the codes' scores for projections, [n]: norms, say."),
    click.option("--offsets", type=ArrayFile(), help="What is added to these scores, [n]."),
)


def search_options(command: _F) -> _F:
    """Give a command the options that `check_search_options` and `read_search_options` take."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_search_options(k: int | None, radius: int | None, options: Mapping[str, Any]) -> None:
    """Refuse before any work options that would be passed over."""
    if (options["rerank"] is None) != (options["rerank_queries"] is None):
        raise click.UsageError("expected --rerank and --rerank-queries, both or neither, got one of them")
    of_projections = {_spelled(name): options[name] for name in _OF_PROJECTIONS}
    for name, value in {"--rerank": options["rerank"], "-k": k, **of_projections}.items():
        if value is not None and radius is not None:
            raise click.UsageError(f"expected {name} or --radius, got both")
    for name in ("metric", "factor"):
        if options[name] is not None and options["rerank"] is None:
            raise click.UsageError(f"expected --{name} only with --rerank, got it alone")


def read_search_options(queries: NDArray[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `search` of an index takes of the options, as arrays what are files."""
    from fasthash.data import read_array

    for name in _OF_PROJECTIONS:
        if options[name] is not None and queries.dtype.kind != "f":
            expected = f"expected {_spelled(name)} only with QUERIES that are projections"
            raise click.UsageError(f"{expected}, got {queries.dtype} codes")
    settings = {name: options[name] for name in ("metric", "factor") if options[name] is not None}
    if options["query_bits"] is not None:
        settings["bits"] = options["query_bits"]
    if (by := options["rerank"]) is not None:
        settings["rerank"] = by if by == "asymmetric" else floats(read_array(by))
        settings["rerank_queries"] = floats(read_array(options["rerank_queries"]))
    for name in ("factors", "offsets"):
        if options[name] is not None:
            settings[name] = read_array(options[name]).astype("float32")
    return settings


def _spelled(name: str) -> str:
    return f"--{name.replace('_', '-')}"
