from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.hashers import H2Q
from fasthash.ops import registry
from fasthash.ops.h2q import KERNELS
from fasthash.ops.householder.reference import reflect
from tests.conftest import DEVICE
from tests.hashers.conftest import TRITON, clustered, objective, scaled, trainer


@pytest.mark.parametrize("kernel", TRITON)
def test_a_gpu_shuffles_rows(kernel):
    """Every order has all rows, and says nothing about another one, or about where a row was or what came before it."""
    n, runs = 300, 3
    run, orders = trainer(np.ones((n, 1), np.float32), np.ones((runs, 1, 1), np.float32), epochs=2, kernel=kernel), []
    for _ in range(2):
        run.train(1)
        orders += list(run.order.copy())
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
        steps = np.abs(np.diff(order))
        assert abs(steps.mean() - n / 3) < 5 * n / (18 * n) ** 0.5
        assert (steps == 1).sum() < 15  # 2 are expected
    related = np.corrcoef([np.arange(n), *orders]) - np.eye(1 + 2 * runs)
    assert np.abs(related).max() < 5 / n**0.5


@pytest.mark.parametrize("kernel", TRITON)
def test_a_gpu_takes_a_large_batch_in_tiles_and_a_small_last_one(kernel, monkeypatch):
    """In the order of the kernel, the steps are those of the compiled core."""
    monkeypatch.setattr("fasthash.ops.h2q.kernel_triton.ROWS", 16)
    x = scaled(clustered(50, 6))
    v = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(1)).numpy()
    settings = {"optimizer": "adam", "rate": 0.05, "epochs": 2, "held_out": x[:7].numpy().copy()}
    run = trainer(x.numpy(), v, batch=37, kernel=kernel, **settings)
    run.train(1)
    leaf = torch.from_numpy(v[0]).double().requires_grad_()
    adam = torch.optim.Adam([leaf], lr=0.05)
    objectives = []
    for batch in torch.from_numpy(run.order[0]).split(37):
        loss = objective(reflect(x[batch].double(), leaf, False), "l2")
        objectives.append(loss.item() * len(batch))
        adam.zero_grad()
        loss.backward()
        adam.step()
    np.testing.assert_allclose(run.best(0), leaf.detach(), atol=1e-5)
    assert run.history(0)[0, 0] == pytest.approx(sum(objectives) / 50, rel=1e-5)
    after = objective(reflect(x[:7].double(), leaf.detach(), False), "l2")
    assert run.history(0)[0, 1] == pytest.approx(after.item(), rel=1e-5)


@pytest.mark.parametrize("kernel", TRITON)
def test_fitting_on_a_gpu(kernel, monkeypatch):
    """By as many steps of all rows as the compiled core takes, from the same starts."""
    x = clustered(30, 6)
    settings = {"epochs": 4, "batch_size": 30, "restarts": 2, "validation_fraction": 0.2, "patience": 9}
    by_core = H2Q(5, **settings).fit(x)
    if DEVICE == "cpu":
        monkeypatch.setitem(registry._DEFAULTS, "cpu", ("triton",))
        monkeypatch.setitem(KERNELS, "cpu", kernel)
    on_gpu = H2Q(5, **settings).fit(x.to(DEVICE))
    for name, values in by_core.history_.items():
        np.testing.assert_allclose(on_gpu.history_[name], values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(on_gpu.projection_, by_core.projection_, atol=1e-4)
