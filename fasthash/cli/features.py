"""Features of images, by networks trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fasthash.cli.arguments import Command, example, written


@click.command(cls=Command, epilog=example("fasthash features my_images/ features.npz --network vgg16 --layer fc7"))
@click.argument("dataset", type=click.Path())
@written("out", ".npz", ".parquet")
@click.option("--network", required=True, help="torchvision's, as vgg16, or module:attribute, yours.")
@click.option("--layer", help="fc6, fc7, or a module in the network.  [default: before torchvision's last layer]")
@click.option(
    "--weights", type=click.Path(), metavar="TEXT", help="A file, torchvision's IMAGENET1K_V1 or the like, or random."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is random.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Where data sets are.  [default: FASTHASH_DATA]")
@click.option("--per-class", type=click.IntRange(1), help="Images of each class, at random.  [default: all]")
@click.option("--dtype", type=click.Choice(("float32", "float16")), default="float32", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Images at once.")
@click.option("--part-size", type=click.IntRange(1), default=4096, show_default=True, help="Images of a part.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read and prepare images."
)
def features(dataset: str, out: Path, data_root: Path | None, **rest: Any) -> None:
    """Write the features of DATASET's images, a name or path, to OUT, an .npz or .parquet file.

    OUT is a data set to `train` and its like. Features are made in parts; a run that was ended is repeated to go on.
    """
    from fasthash.features import extract

    try:
        n, d = extract(dataset, out, root=data_root, progress=True, **rest)
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted; the same command goes on after what is in {out}.parts", err=True)
        raise
    click.echo(f"written: {out}, {n} items of {d} features")
