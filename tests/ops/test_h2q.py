from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.ops.h2q import KERNELS, LOSSES, Plan, op
from fasthash.ops.h2q.reference import objective
from fasthash.ops.householder.reference import reflect
from tests.conftest import on_kernel_device, runnable

SETTINGS = {
    "loss": "l2", "optimizer": "sgd", "rate": 0.1, "cosine": False, "renormalize": False,
    "epochs": 1, "batch_size": 10**6, "patience": 0, "seed": 0,
}  # fmt: skip


def scaled(n, k, seed=0):
    """Rows of length sqrt(k)."""
    x = torch.randn(n, k, generator=torch.Generator().manual_seed(seed))
    return x / x.norm(dim=1, keepdim=True) * k**0.5


def starts(runs, k):
    return torch.randn(runs, k, k, generator=torch.Generator().manual_seed(1)).numpy()


def runs_of(kernel, x, held_out, v, **settings):
    x, held_out = on_kernel_device(kernel, x, held_out)
    return kernel.function("H2QTrainer")(x, held_out, v, Plan(**(SETTINGS | settings)))


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("cosine", [True, False], ids=["cosine", "constant"])
def test_kernels_make_the_steps_of_the_reference(kernel, loss, optimizer, cosine):
    """With one batch an epoch, in which the order of rows does not matter."""
    k = 6 if kernel.package == "triton" else 33
    x, v = scaled(50, k), starts(2, k)
    settings = {"loss": loss, "optimizer": optimizer, "rate": 0.01 if optimizer == "adam" else 0.05 * k}
    settings |= {"cosine": cosine, "renormalize": cosine, "epochs": 5}
    found, expected = (runs_of(one, x, x[:9], v, **settings) for one in (kernel, KERNELS["reference"]))
    for epochs in (2, 7):
        found.train(epochs)
        expected.train(epochs)
        assert found.finished == expected.finished == (epochs == 7)
    for run in range(2):
        assert found.history(run).dtype == np.float64
        np.testing.assert_allclose(found.history(run)[:, :2], expected.history(run)[:, :2], rtol=1e-4, atol=1e-6)
        assert found.history(run)[:, 2].max() < 1e-5
        assert found.best(run).dtype == np.float32
        np.testing.assert_allclose(found.best(run), expected.best(run), atol=1e-4)


@pytest.mark.parametrize("kernel", runnable({"triton": KERNELS["triton"]}))
def test_blocks_of_reflections_follow_each_other(kernel):
    """Two of 16 for 24 vectors, the last of which are nearly parallel."""
    x, v = scaled(40, 24), starts(1, 24)
    v[0, 20:] = v[0, 19] + 0.03 * v[0, 20:]
    settings = {"optimizer": "adam", "rate": 0.01, "renormalize": True, "batch_size": 40, "epochs": 2}
    found, expected = (runs_of(one, x, x[:9], v, **settings) for one in (kernel, KERNELS["reference"]))
    found.train(2)
    expected.train(2)
    np.testing.assert_allclose(found.history(0)[:, :2], expected.history(0)[:, :2], rtol=1e-5)
    assert found.history(0)[:, 2].max() < 1e-5
    np.testing.assert_allclose(found.best(0), expected.best(0), atol=1e-5)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_batches_are_parts_of_an_order_that_has_every_row_once(kernel):
    """Where nothing moves, the mean of the steps' objectives is the objective, and the epoch kept is the first."""
    x, v = scaled(41, 4), starts(2, 4)
    runs = runs_of(kernel, x, x[:5], v, rate=1e-30, batch_size=16, epochs=2)
    runs.train(2)
    for run in range(2):
        z = reflect(x.double(), torch.from_numpy(v[run]).double(), False)
        np.testing.assert_allclose(runs.history(run)[:, 0], [objective(z, "l2")] * 2, rtol=1e-5)
        np.testing.assert_allclose(runs.history(run)[:, 1], [objective(z[:5], "l2")] * 2, rtol=1e-5)
        np.testing.assert_allclose(runs.best(run), v[run], rtol=1e-6)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_patience_ends_a_run(kernel):
    """The rate is so large that no epoch is better than some early one for long."""
    runs = runs_of(kernel, scaled(30, 5), scaled(9, 5, seed=3), starts(1, 5), rate=300.0, epochs=500, patience=3)
    runs.train(500)
    assert runs.finished
    held_out = runs.history(0)[:, 1]
    assert len(held_out) == held_out.argmin() + 1 + 3 < 500


def test_an_unknown_kernel_is_named_by_the_function_that_the_user_called():
    x = scaled(3, 2)
    with pytest.raises(ValueError, match=r"H2Q\.fit: expected kernel to be one of 'reference', 'cpu', .*, got 'x'"):
        op.trainer(x, x, starts(1, 2), Plan(**SETTINGS), kernel="x", where="H2Q.fit")


@pytest.mark.parametrize("kernel", runnable({name: KERNELS[name] for name in ("reference", "cpu")}))
def test_runs_from_one_start_take_rows_in_orders_of_their_own(kernel):
    x, v = scaled(60, 6), starts(1, 6)
    runs = runs_of(kernel, x, x[:20], v[[0, 0]], batch_size=7, epochs=2)
    runs.train(2)
    assert not torch.equal(torch.from_numpy(runs.best(0)), torch.from_numpy(runs.best(1)))
