"""The demonstration."""

from __future__ import annotations

from pathlib import Path

import click

from fasthash.cli.arguments import example, makeable


@click.command(epilog=example("fasthash demo --bits 32"))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/demo"),
    show_default=True,
    callback=makeable,
)
@click.option("--bits", type=click.IntRange(1, 64), multiple=True, default=(16, 32, 64), show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def demo(out: Path, bits: tuple[int, ...], seed: int) -> None:
    """Hash, search and evaluate 1,797 handwritten digits; write a table and pictures."""
    from fasthash.demo import COLUMNS, run_demo

    rows = run_demo(out, bits, seed)
    click.echo("".join(f"{column:>8}" for column in COLUMNS))
    for row in rows:
        click.echo("".join(f"{row[column]:>8}" for column in COLUMNS))
    click.echo(f"written: {out / 'results.csv'}, {out / 'precision_recall.png'}, {out / 'retrieval.png'}")
