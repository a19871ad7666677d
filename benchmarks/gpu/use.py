"""Checks of what users do on a GPU beyond single calls: whole training steps, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch

import fasthash as fh
from benchmarks.gpu.bench import Bench
from fasthash.layers import HouseholderRotation
from fasthash.losses import CSQ
from fasthash.ops import hamming, householder, wasserstein

BITS, CLASSES, BATCH = 32, 10, 128


class Training:
    """A layer, our rotation and our loss with HSWD, from the same start each time."""

    def __init__(
        self, device: torch.device, quantization: str | torch.nn.Module = "hswd", dtype: torch.dtype = torch.float32
    ) -> None:
        torch.manual_seed(0)
        layer = torch.nn.Linear(64, BITS)
        self.network: torch.nn.Module = torch.nn.Sequential(layer, HouseholderRotation(BITS)).to(device, dtype)
        self.loss = CSQ(BITS, CLASSES, quantization=quantization).to(device, dtype)
        graphs = {"capturable": True} if device.type == "cuda" else {}
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3, **graphs)
        self.x = torch.randn(BATCH, 64).to(device, dtype)
        self.labels = torch.arange(BATCH, device=device) % CLASSES

    def step(self) -> torch.Tensor:
        loss = self.loss(self.network(self.x), self.labels)
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.network.parameters()])


def check_training_steps(bench: Bench) -> None:
    steps = 20
    plain = Training(bench.device)
    for _ in range(steps):
        plain.step()
    with bench.check("torch.compile: a step's loss and gradients are the eager ones"):
        eager, compiled = Training(bench.device), Training(bench.device)
        for training, function in ((eager, eager.network), (compiled, torch.compile(compiled.network))):
            training.loss(function(training.x), training.labels).backward()
        for got, right in zip(compiled.network.parameters(), eager.network.parameters(), strict=True):
            torch.testing.assert_close(got.grad, right.grad, rtol=1e-4, atol=1e-5)
    for dtype in (torch.float16, torch.bfloat16):
        with bench.check(f"autocast to {dtype}: steps lower the loss, gradients are finite"):
            training = Training(bench.device)
            with torch.autocast(bench.device.type, dtype):
                losses = [float(training.step()) for _ in range(steps)]
            assert losses[-1] < losses[0], losses
            assert bool(training.weights().isfinite().all())
    if bench.device.type == "cuda":
        with bench.check(f"{steps} steps of loss, rotation and optimiser in one CUDA graph, as eager ones"):
            captured = Training(bench.device)
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    captured.step()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                captured.step()
            for _ in range(steps - 3):
                graph.replay()
            torch.testing.assert_close(captured.weights(), plain.weights(), rtol=1e-4, atol=1e-5)


def refused(kinds: type[Exception] | tuple[type[Exception], ...], function: Callable[[], object]) -> Exception:
    """Return the error of a kind that a call ends with, or raise an AssertionError."""
    try:
        function()
    except kinds as error:
        return error
    raise AssertionError("nothing was refused")


def check_what_goes_wrong(bench: Bench) -> None:
    x = bench.normal(bench.sized(70_000, 60), 8)
    x[3, 2] = float("nan")
    with bench.check("a NaN makes hswd NaN, and is refused by pack_bits where it is"):
        for rows in (x[:50], x):
            assert bool(wasserstein.hswd(rows).isnan())
        assert "row 3, column 2" in str(refused(ValueError, lambda: fh.pack_bits(x)))
    if bench.device.type != "cuda":
        return
    with bench.check("a vector of zeros makes householder_apply NaN"):
        assert bool(householder.householder_apply(x[5:13], torch.zeros(2, 8, device=bench.device)).isnan().any())
    with bench.check("out of memory in a search, and a good one afterwards"):
        codes, queries = bench.codes(10**6, 64), bench.codes(3, 64, seed=1)
        expected = hamming.hamming_topk(queries, codes, 10)
        refused((MemoryError, RuntimeError, ValueError), lambda: hamming.hamming_topk(queries, codes, 10**11))
        for got, right in zip(hamming.hamming_topk(queries, codes, 10), expected, strict=True):
            assert torch.equal(got, right)
