"""Check an installation: `python -m fasthash.selftest` runs every kernel of this machine beside the reference."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import click
import torch

import fasthash as fh
from fasthash import _core
from fasthash.ops import hamming, householder, packing, wasserstein
from fasthash.ops.registry import Kernel


@dataclass(frozen=True)
class Check:
    """What a room's kernels have to agree on.

    Attributes:
        kernels: the room's table.
        run: the results of a kernel, given its name, a device, and the dtype that the reference computes in.
        tolerance: of the largest error, as a share of the largest number; 0 for equality.
    """

    kernels: Mapping[str, Kernel]
    run: Callable[[str, torch.device, torch.dtype], tuple[torch.Tensor, ...]]
    tolerance: float


def _normal(n: int, m: int, seed: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(n, m, generator=torch.Generator().manual_seed(seed)).to(device, dtype).requires_grad_()


def _packing(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    # Whole numbers, whose products are exact in every order.
    x, hyperplanes = ((_normal(n, m, n, device, dtype) * 4).round().detach() for n, m in ((201, 96), (96, 70)))
    return fh.pack_bits(x, kernel=kernel), fh.pack_projections(x, hyperplanes, kernel=kernel)


def _hamming(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    results: list[torch.Tensor] = []
    for n_bits in (24, 64, 200, 512):
        queries, codes = (fh.pack_bits(_normal(n, n_bits, n, device, dtype).detach()) for n in (5, 1003))
        nearest = fh.hamming_topk(queries, codes, 20, kernel=kernel)
        results += [*nearest, fh.hamming_distance(queries, codes, kernel=kernel)]
        results += fh.hamming_radius(queries, codes, int(nearest.distances.max()), kernel=kernel)
    return tuple(results)


def _wasserstein(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    x, y = (_normal(n, 19, n, device, dtype) for n in (129, 65))
    losses = [fh.hswd(x, kernel=kernel), fh.hswd(x, 1, kernel=kernel), fh.wasserstein_1d(x, y, kernel=kernel)]
    return *losses, *torch.autograd.grad(torch.stack(losses).sum(), (x, y))


def _householder(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    x, v = _normal(70, 45, 0, device, dtype), _normal(40, 45, 1, device, dtype)
    rotated = fh.householder_apply(x, v, kernel=kernel)
    return rotated, *torch.autograd.grad(rotated.sin().sum(), (x, v))


CHECKS = {
    "packing": Check(packing.KERNELS, _packing, 0),
    "hamming": Check(hamming.KERNELS, _hamming, 0),
    "wasserstein": Check(wasserstein.KERNELS, _wasserstein, 1e-5),
    "householder": Check(householder.KERNELS, _householder, 1e-5),
}


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
    for room, check in CHECKS.items():
        expected = check.run("reference", torch.device("cpu"), torch.float64)
        for name, kernel in check.kernels.items():
            reason = kernel.missing()
            if reason is None and kernel.package is not None and not everything:
                reason = "left out without --all"
            if reason is None and kernel.devices == ("cuda",) and not torch.cuda.is_available():
                reason = "there is no GPU"
            if reason is not None:
                click.echo(f"{room:<12} {name:<20} {reason}")
                continue
            start = time.perf_counter()
            error = largest_error(check.run(name, torch.device(kernel.devices[0]), torch.float32), expected)
            milliseconds = 1e3 * (time.perf_counter() - start)
            agrees = error <= check.tolerance
            failed |= not agrees
            verdict = "agrees" if agrees else f"DISAGREES with the reference by {error:.1e} of the largest number"
            click.echo(f"{room:<12} {name:<20} {verdict} ({milliseconds:.0f} ms)")
    sys.exit(failed)


if __name__ == "__main__":
    main()
