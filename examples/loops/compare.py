"""Run each loop plain and by fasthash: the same results, and the time of each piece that was replaced, in one run."""

import time
from importlib import import_module

import numpy as np
import torch


def milliseconds(function, *arguments):
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        result = function(*arguments)
        if isinstance(result, torch.Tensor):
            result.sum().backward()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def pieces(name, module):
    """The pieces that the ports replace, at the sizes of their loops."""
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    u = torch.randn(64, module.BITS, generator=generator).requires_grad_()
    yield (
        "mAP",
        module.mean_average_precision,
        [
            *(rng.standard_normal((389, module.BITS)), rng.integers(0, 10, 389)),
            *(rng.standard_normal((1408, module.BITS)), rng.integers(0, 10, 1408)),
        ],
    )
    if name == "hashnet":
        yield "quantisation", module.quantization, [u]
    if name == "h2q":
        yield "rotation", module.rotated, [u, torch.randn(64, 64, generator=generator).requires_grad_()]


for name in ("hashnet", "csq", "h2q"):
    plain, ported = (import_module(f"{name}{kind}") for kind in ("_plain", ""))
    expected, found = plain.main(), ported.main()
    assert np.allclose(expected, found, rtol=1e-3), (expected, found)
    print(f"{name}: loss {found[0]:.4f} and mAP {found[1]:.4f}, both ways")
    for before, after in zip(pieces(name, plain), pieces(name, ported), strict=True):
        times = [milliseconds(function, *arguments) for _, function, arguments in (before, after)]
        print(f"  {before[0]}: {times[0]:.3f} ms plain, {times[1]:.3f} ms by fasthash, {times[0] / times[1]:.1f} times")
