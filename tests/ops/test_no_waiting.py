"""Training ops on a GPU never wait for it, so that they can be captured in a CUDA graph.

Checked without one: torch's meta tensors, which have a device of their own and no values, stand for those on a GPU, and
every look at values (item, nonzero, a comparison in an if) or copy to the host raises. The Triton kernels are replaced:
what a launch itself does is not covered.
"""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fasthash as fh
from fasthash import losses
from fasthash.ops import registry
from fasthash.ops.wasserstein import distributed

pytest.importorskip("triton")
from fasthash.ops.householder import kernel_triton as householder
from fasthash.ops.wasserstein import kernel_triton as wasserstein
from fasthash.ops.wasserstein import kernel_triton_long as long_columns

N, M, CLASSES = 24, 16, 3


class Launches:
    """Stands for a Triton kernel."""

    def __init__(self, name, launched):
        self.name, self.launched = name, launched

    def __getitem__(self, grid):
        return lambda *arguments, **options: self.launched.append(self.name)


@pytest.fixture
def launched(monkeypatch):
    """The names of the kernels that are launched, where the meta device is a GPU."""
    names = []
    for module in (householder, wasserstein, long_columns):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            monkeypatch.setattr(module, name, Launches(name, names))
    monkeypatch.setitem(registry._DEFAULTS, "meta", ("triton",))
    monkeypatch.setattr(distributed, "fair_coins", lambda trials, generator: trials.long())  # no binomials on meta
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)  # meta has no autocast either
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **settings: contextlib.nullcontext())
    torch.use_deterministic_algorithms(False)  # new memory that is filled with NaN has to exist
    return names


def on_gpu(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta", requires_grad=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("rows", "columns", "n_launched"), [(128, 64, 2), (4096, 128, 3), (65536, 512, 5)])
def test_hswd(launched, rows, columns, n_launched, dtype):
    for target in ("balanced", "bernoulli"):
        x = on_gpu(rows, columns, dtype=dtype)
        fh.hswd(x, target=target, root=True).backward()
        assert (x.grad.shape, x.grad.dtype) == (x.shape, dtype)
    assert len(launched) == 2 * n_launched


def test_hswd_of_a_batch_is_one_launch_each_way(launched):
    """No fill, sum, cast or product by torch comes with it."""

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            called.add(function.name())
            return function(*args, **(kwargs or {}))

    called = set()
    x = on_gpu(128, 64)
    with Calls():
        loss = fh.hswd(x)
        torch.autograd.grad(loss, x, torch.empty_like(loss))
    assert launched == ["two_point_kernel", "two_point_backward_kernel"]
    assert called == {"aten::empty.memory_format", "aten::empty_like", "aten::detach"}


def test_distances_between_samples(launched):
    for distance in (fh.wasserstein_1d, fh.sliced_wasserstein):
        x, y = on_gpu(N, M), on_gpu(N + 3, M)
        distance(x, y, root=True).backward()
        assert (x.grad.shape, y.grad.shape) == (x.shape, y.shape)


@pytest.mark.parametrize("columns", [M, 130])
def test_householder_products(launched, columns):
    x, v = on_gpu(N, columns), on_gpu(5, columns)
    (fh.householder_apply(x, v) @ fh.householder_product(v)).sum().backward()
    assert (x.grad.shape, v.grad.shape) == (x.shape, v.shape)
    assert len(launched) == (6 if columns == M else 0)


@pytest.mark.parametrize("quantization", ["original", "hswd", "swd"])
@pytest.mark.parametrize(
    "loss",
    [
        lambda **settings: losses.CEL(margin=0.1, **settings),
        lambda **settings: losses.CSQ(M, CLASSES, **settings),
        losses.DBDH,
        lambda **settings: losses.DCH(gamma=10, **settings),
        losses.DHN,
        losses.DPSH,
        lambda **settings: losses.GreedyHash(M, CLASSES, **settings),
        losses.HashNet,
        lambda **settings: losses.HyP2(M, CLASSES, 0.1, 0.7, **settings),
        lambda **settings: losses.WGLHH(alpha=0.1, similar_weight=0.4, **settings),
    ],
    ids=["CEL", "CSQ", "DBDH", "DCH", "DHN", "DPSH", "GreedyHash", "HashNet", "HyP2", "WGLHH"],
)
def test_losses(launched, loss, quantization):
    u, labels = on_gpu(N, M), torch.empty(N, dtype=torch.int64, device="meta")
    loss(quantization=quantization).to("meta")(u, labels).backward()
    assert u.grad.shape == u.shape


@pytest.mark.parametrize("quantization", ["original", "hswd", "swd"])
@pytest.mark.parametrize("loss", [losses.ADSH, losses.DSDH])
def test_losses_of_a_training_set(launched, loss, quantization):
    module = loss(torch.arange(N) % CLASSES, M, CLASSES, quantization=quantization).to("meta")
    u, labels = on_gpu(N, M), torch.empty(N, dtype=torch.int64, device="meta")
    module(u, labels, torch.empty(N, dtype=torch.int64, device="meta")).backward()
    assert u.grad.shape == u.shape


def test_what_would_wait_fails(launched):
    x = on_gpu(3)
    for look in (
        lambda: x.sum().item(),
        lambda: bool((x > 0).all()),
        lambda: x.nonzero(),
        lambda: x.cpu(),
        lambda: x[x > 0],
    ):
        with pytest.raises((RuntimeError, NotImplementedError)):
            look()
