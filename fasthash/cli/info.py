"""What this machine runs."""

from __future__ import annotations

import os
import platform
from importlib import import_module, metadata, util

import click

from fasthash.cli.arguments import example


@click.command(epilog=example("fasthash info"))
def info() -> None:
    """Say what this machine runs: processor level, kernels, versions."""
    import numpy as np
    import torch

    from fasthash import _core
    from fasthash.ops import ROOMS
    from fasthash.ops.registry import default_level

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
    for room in ROOMS:
        kernels = import_module(f"fasthash.ops.{room}").KERNELS
        defaults = ((device.type, default_level(kernels, device)) for device in devices)
        chosen = ", ".join(f"{kind}: {name}" for kind, name in defaults if name is not None)
        absent = "".join(f"; no {name}: {reason}" for name, kernel in kernels.items() if (reason := kernel.missing()))
        click.echo(f"{room:<12} {chosen}{absent}")


def _version(package: str) -> str:
    return metadata.version(package) if util.find_spec(package) else "not installed"
