"""The training ops on a GPU: values and gradients against float64, in graphs, and times beside torch's ways."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from importlib import import_module
from unittest import mock

import torch

from benchmarks.gpu.bench import Bench, assert_near
from fasthash.ops import householder, wasserstein


def gradients(function: Callable[..., torch.Tensor], *tensors: torch.Tensor, **options) -> list[torch.Tensor]:
    """The value and the gradient in every argument of a function, against a fixed direction."""
    leaves = [x.detach().requires_grad_() for x in tensors]
    y = function(*leaves, **options)
    direction = torch.linspace(-1, 2, y.numel(), device=y.device, dtype=y.dtype).reshape(y.shape)
    return [y.detach(), *torch.autograd.grad(y, leaves, direction)]


def check_gradients(bench: Bench) -> None:
    """Check the training ops against float64: values, gradients, repeatability, replay in a graph."""
    tall, wide = bench.sized(65536, 300), bench.sized(512, 16)
    ties = (2 * bench.normal(tall, wide)).round()
    cases = [
        *(
            (f"hswd {n} x {m}, p={p}", wasserstein.hswd, [bench.normal(n, m)], {"p": p})
            for n, m in ((128, 64), (bench.sized(4096, 90), 128), (tall, wide))
            for p in (1, 2, 1.5)
        ),
        (f"hswd {tall} x {wide}, few values", wasserstein.hswd, [ties], {}),
        (
            "wasserstein_1d",
            wasserstein.wasserstein_1d,
            [bench.normal(bench.sized(4096, 90), 64), bench.normal(bench.sized(3000, 70), 64) + 1],
            {},
        ),
        *(
            (
                f"householder_apply {n} x {k}, transpose={transpose}",
                householder.householder_apply,
                [bench.normal(n, k), bench.normal(k, k)],
                {"transpose": transpose},
            )
            for n, k in ((128, 16), (128, 64), (bench.sized(5000, 150), 128), (128, bench.sized(512, 130)))
            for transpose in (False, True)
        ),
        ("householder_product", householder.householder_product, [bench.normal(bench.sized(128, 20), 128)], {}),
    ]
    cases += [
        (f"{what}, {dtype}".replace("torch.", ""), function, [x.to(dtype) for x in tensors], options)
        for what, function, tensors, options in cases
        for dtype in PRECISIONS[1:]
        if function is wasserstein.hswd or dtype == torch.float64
    ]
    for what, function, tensors, options in cases:
        with bench.check(f"{what}: float64, repeated"):
            results = gradients(function, *tensors, **options)
            expected = gradients(function, *(x.double() for x in tensors), kernel="reference", **options)
            for got, right in zip(results, expected, strict=True):
                assert_near(got, right)
            for got, again in zip(results, gradients(function, *tensors, **options), strict=True):
                assert torch.equal(got, again), "two runs differ"
        if bench.device.type == "cuda":
            with bench.check(f"{what}: in a CUDA graph"):
                check_graph(function, tensors, options)


def check_missed_brackets(bench: Bench) -> None:
    """Check columns too long for registers whose sample says nothing of them."""
    long_columns = import_module("fasthash.ops.wasserstein.kernel_triton_long")
    x = bench.normal(bench.sized(65536, 300), bench.sized(64, 4))
    expected = gradients(wasserstein.hswd, x.double(), kernel="reference")
    with bench.check("hswd, all brackets missed"), mock.patch.object(long_columns, "DEVIATIONS", 0):
        for got, right in zip(gradients(wasserstein.hswd, x), expected, strict=True):
            assert_near(got, right)


def check_graph(function: Callable[..., torch.Tensor], tensors: list[torch.Tensor], options: dict) -> None:
    """Capture value and gradients once; replay on other values."""
    inputs = [x.clone() for x in tensors]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        gradients(function, *inputs, **options)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = gradients(function, *inputs, **options)
    for x in inputs:
        x.copy_(x.flip(0) * 1.5)
    graph.replay()
    for got, right in zip(captured, gradients(function, *inputs, **options), strict=True):
        assert torch.equal(got, right), "a replay differs from a call"


def two_sorts(x: torch.Tensor) -> torch.Tensor:
    """The distance as published with its paper: the target drawn anew, both sorted."""
    target = torch.randn_like(x).sign()
    return (target.sort(dim=0).values - x.sort(dim=0).values).square().mean()


def merged_reflections(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """FastH++: neighbouring products I - Y^T W merged in pairs; the number of reflections is a power of two."""
    y = v[:, None]
    w = 2 * y / y.square().sum(2, keepdim=True)
    while len(y) > 1:
        w = torch.cat([w[::2] - w[::2] @ y[1::2].mT @ w[1::2], w[1::2]], 1)
        y = torch.cat([y[::2], y[1::2]], 1)
    return x - (x @ w[0].T) @ y[0]


def forward_and_backward(function: Callable[..., torch.Tensor], *leaves: torch.Tensor) -> Callable[[], object]:
    y = function(*leaves)
    dy = torch.ones_like(y)
    return lambda: torch.autograd.grad(function(*leaves), leaves, dy)


PRECISIONS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def time_training(bench: Bench) -> None:
    long, wide = bench.sized(65536, 300), bench.sized(512, 16)
    for dtype, (n, m) in itertools.product(PRECISIONS, ((128, 64), (bench.sized(4096, 100), 128), (long, wide))):
        x = bench.normal(n, m, dtype=dtype).requires_grad_()
        group = f"hswd forward and backward, {n} x {m} {dtype}".replace("torch.", "")
        info = {"n_bytes": 3 * x.nbytes}  # x is read for the loss and for the gradient, which is written
        if n == long:
            info["share"] = 0.7
        elif dtype == torch.float32:
            milliseconds = 0.015 if n == 128 else 0.04
            info["target_ms"] = bench.target(H200=milliseconds, H100=milliseconds)
        bench.time(group, "fasthash", forward_and_backward(wasserstein.hswd, x), graph=True, **info)
        bench.time(group, "torch: two sorts", forward_and_backward(two_sorts, x), graph=True, wanted="20 times")
    for dtype, k in itertools.product(PRECISIONS[:2], (16, 64, 128)):
        x, v = bench.normal(128, k, dtype=dtype), bench.normal(k, k, dtype=dtype).requires_grad_()
        with bench.check(f"merged reflections (the baseline), k={k}: float64"):
            expected = householder.householder_apply(x.double(), v.detach().double(), kernel="reference")
            assert_near(merged_reflections(x.double(), v.detach().double()), expected)
        x.requires_grad_()
        group = f"householder_apply forward and backward, 128 x {k} {dtype}".replace("torch.", "")
        target = bench.target(H200=0.015, H100=0.015) if (k, dtype) == (64, torch.float32) else None
        function = forward_and_backward(householder.householder_apply, x, v)
        bench.time(group, "fasthash", function, graph=True, target_ms=target)
        function = forward_and_backward(merged_reflections, x, v)
        bench.time(group, "torch: FastH++", function, graph=True, wanted="10 times")
