"""Check an installation: `python -m fasthash.selftest` runs every kernel of this machine beside the reference."""

from __future__ import annotations

import sys
import time
from importlib import import_module

import click
import torch

from fasthash import _core
from fasthash.ops import ROOMS


def largest_error(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> float:
    """Return the largest error as a share of the largest number expected, infinite where shapes differ."""
    worst = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape:
            return float("inf")
        if ours.numel() > 0:
            wanted = theirs.detach().double().cpu()
            error = (ours.detach().double().cpu() - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30)
            worst = max(worst, float(error.nan_to_num(nan=float("inf"))))
    return worst


@click.command()
@click.option("--all", "everything", is_flag=True, help="Those too that are compiled when first called: numba, Triton.")
def main(everything: bool) -> None:
    """Run every kernel of this machine beside the reference in float64; exit with 1 if one disagrees."""
    try:
        _core.active_isa()
        _core.default_threads()
    except ValueError as wrong:
        raise click.ClickException(str(wrong)) from wrong
    failed = False
    for room in ROOMS:
        check = import_module(f"fasthash.ops.{room}.example")
        expected = check.example("reference", torch.device("cpu"), torch.float64)
        for name, kernel in import_module(f"fasthash.ops.{room}").KERNELS.items():
            reason = kernel.missing()
            if reason is None and kernel.package is not None and not everything:
                reason = "left out without --all"
            if reason is None and kernel.devices == ("cuda",) and not torch.cuda.is_available():
                reason = "there is no GPU"
            if reason is not None:
                click.echo(f"{room:<12} {name:<20} {reason}")
                continue
            start = time.perf_counter()
            error = largest_error(check.example(name, torch.device(kernel.devices[0]), torch.float32), expected)
            milliseconds = 1e3 * (time.perf_counter() - start)
            agrees = error <= check.TOLERANCE
            failed |= not agrees
            verdict = "agrees" if agrees else f"DISAGREES with the reference by {error:.1e} of the largest number"
            click.echo(f"{room:<12} {name:<20} {verdict} ({milliseconds:.0f} ms)")
    sys.exit(failed)


if __name__ == "__main__":
    main()
