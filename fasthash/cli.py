"""The command `fasthash`."""

from __future__ import annotations

import os
import platform
from importlib import util
from pathlib import Path

import click
import numpy as np
import torch

from fasthash import _core
from fasthash.ops import hamming, householder, packing, wasserstein
from fasthash.ops.registry import default_kernel

ROOMS = {
    "packing": packing.KERNELS,
    "hamming": hamming.KERNELS,
    "wasserstein": wasserstein.KERNELS,
    "householder": householder.KERNELS,
}


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
