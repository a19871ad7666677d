from __future__ import annotations

import math
import os
import signal
import threading

import numpy as np
import pytest
import torch

from fasthash import _core
from fasthash.hashers import H2Q, ITQ
from fasthash.ops.householder.reference import reflect
from tests.hashers.conftest import LOSSES, TRAINERS, TRITON, clustered, objective, scaled, trainer


def steps():
    """Sizes, objectives and trainers; a GPU's takes the interpreter seconds."""
    some = [(k, loss) for k in (1, 2, 5, 16, 31, 33, 64, 100) for loss in LOSSES]
    few = [(k, loss) for k, loss in some if k in (1, 5, 33) or (k, loss) == (100, "l2")]
    for kernel in _core.runnable_isas():
        yield from (pytest.param(*case, kernel, id=f"{kernel}-{case}") for case in some)
    for kernel in TRITON:
        for case in few if os.environ.get("TRITON_INTERPRET") else some:
            yield pytest.param(*case, *kernel.values, id=f"triton-{case}", marks=kernel.marks)


@pytest.mark.parametrize(("k", "loss", "kernel"), list(steps()))
def test_a_step_is_that_of_autograd_through_reflections(k, loss, kernel):
    x = scaled(clustered(37, k))
    v = torch.randn(1, k, k, generator=torch.Generator().manual_seed(1))
    rate = 20.0 * k  # the mean over elements makes small gradients
    run = trainer(x.numpy(), v.numpy(), loss=loss, rate=rate, kernel=kernel)
    run.train(1)
    leaf = v[0].double().requires_grad_()
    expected = objective(reflect(x.double(), leaf, False), loss)
    (gradient,) = torch.autograd.grad(expected, leaf)
    step = torch.from_numpy(run.best(0)).double() - v[0]
    scale = rate * gradient.abs().max() + 1e-6
    np.testing.assert_allclose(step / scale, -rate * gradient / scale, atol=1e-3)
    np.testing.assert_allclose(run.history(0)[0, 0], expected.item(), rtol=1e-5, atol=1e-9)
    after = objective(reflect(x.double(), torch.from_numpy(run.best(0)).double(), False), loss)
    np.testing.assert_allclose(run.history(0)[0, 1], after, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kernel", TRAINERS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_many_steps_are_those_of_torch(optimizer, schedule, kernel):
    """One batch an epoch, so that the order of rows does not matter."""
    x, epochs = scaled(clustered(50, 6)), 8
    v = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(1))
    rate = 0.05 if optimizer == "adam" else 0.3
    cosine = schedule == "cosine"
    settings = {"optimizer": optimizer, "rate": rate, "cosine": cosine, "renormalize": cosine, "epochs": epochs}
    run = trainer(x.numpy(), v.numpy(), kernel=kernel, **settings)
    run.train(5)
    assert not run.finished
    run.train(100)
    assert run.finished
    leaf = v[0].double().requires_grad_()
    torch_optimizer = (torch.optim.Adam if optimizer == "adam" else torch.optim.SGD)([leaf], lr=rate)
    objectives = []
    for epoch in range(epochs):
        loss = objective(reflect(x.double(), leaf, False), "l2")
        objectives.append(loss.item())
        if cosine:
            torch_optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
        torch_optimizer.zero_grad()
        loss.backward()
        torch_optimizer.step()
        if cosine:
            leaf.data /= leaf.data.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(run.history(0)[:, 0], objectives, rtol=1e-4)
    assert len(run.history(0)) == epochs
    assert run.history(0)[:, 2].max() < 1e-5


@pytest.mark.parametrize("kernel", TRAINERS)
def test_epochs_visit_every_row_once_in_an_order_of_their_own(kernel):
    """With a rate of nearly nothing, the mean of the steps' objectives is the objective."""
    x = scaled(clustered(41, 4))
    v = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(1))
    run = trainer(x.numpy(), v.numpy(), rate=1e-30, batch=16, epochs=2, kernel=kernel)
    run.train(2)
    for i in range(2):
        expected = objective(reflect(x.double(), v[i].double(), False), "l2")
        np.testing.assert_allclose(run.history(i)[:, :2], expected, rtol=1e-5)
    settings = {"rate": 10.0, "batch": 16, "epochs": 2, "kernel": kernel}
    moving = [trainer(x.numpy(), v[[0, 0]].numpy(), seed=seed, **settings) for seed in (5, 5, 6)]
    for one in moving:
        one.train(1)
    a, same, other = (one.best(0) for one in moving)
    np.testing.assert_array_equal(a, same)
    assert not np.array_equal(a, other)
    assert not np.array_equal(a, moving[0].best(1))  # nor have two runs the same order


@pytest.mark.parametrize("kernel", TRAINERS)
def test_the_best_epoch_on_the_held_out_rows_is_kept(kernel):
    x = scaled(clustered(60, 8))
    training, held_out = x[:40].numpy(), x[40:].numpy()
    start = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(1)).numpy()
    run = trainer(training, start, held_out=held_out, rate=3.0, optimizer="adam", epochs=1000, kernel=kernel)
    run.train(10)
    while run.history(0)[:, 1].argmin() == len(run.history(0)) - 1:
        run.train(1)
    best = objective(reflect(x[40:].double(), torch.from_numpy(run.best(0)).double(), False), "l2")
    np.testing.assert_allclose(best, run.history(0)[:, 1].min(), rtol=1e-4)
    settings = {"rate": 100.0, "optimizer": "adam", "epochs": 1000, "patience": 3, "kernel": kernel}
    patient = trainer(training, run.best(0)[None], held_out=held_out, **settings)
    patient.train(1000)
    assert patient.finished
    assert len(patient.history(0)) == patient.history(0)[:, 1].argmin() + 1 + 3


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n_bits", [16, 64])
def test_it_lowers_the_objective_by_a_rotation(loss, n_bits):
    x = clustered(2000, 64)
    hasher = H2Q(n_bits, loss=loss, epochs=60).fit(x)
    np.testing.assert_allclose(hasher.projection_.T @ hasher.projection_, np.eye(n_bits), atol=1e-5)
    z = scaled(hasher.transform(x)).double()
    assert objective(z, loss) == pytest.approx(hasher.objective_, abs=1e-4)
    unrotated = scaled((x - x.mean(0)) @ (hasher.projection_ @ torch.linalg.qr(torch.randn(n_bits, n_bits)).Q))
    start = objective(unrotated.double(), loss)
    assert hasher.objective_ < start - 0.002
    assert all(len(values) == 60 for values in hasher.history_.values())
    assert hasher.history_["orthogonality_error"].max() < 1e-5
    assert hasher.objective_ == hasher.history_["held_out"].min()


def test_it_comes_closer_than_itq():
    x = scaled(clustered(4000, 32))
    x = scaled(x - x.mean(0))
    itq = objective(scaled(ITQ(32).fit(x).transform(x)), "l2")
    for init in ("identity", "itq"):
        hasher = H2Q(32, center=False, init=init).fit(x)
        assert objective(scaled(hasher.transform(x)), "l2") < itq - 0.005
    np.testing.assert_array_equal(hasher.mean_, np.zeros(32))
    warm, cold = (H2Q(32, init=start, epochs=1, learning_rate=1e-6).fit(x) for start in ("itq", "identity"))
    assert warm.objective_ < 0.9 * cold.objective_


def test_wide_codes_start_from_itq_and_take_fewer_steps():
    """Of more than 128 bits, where the training of narrow codes would take many times as long as ITQ's."""
    x = scaled(clustered(1500, 144))
    x = scaled(x - x.mean(0))
    itq = objective(scaled(ITQ(144).fit(x).transform(x)), "l2")
    hasher = H2Q(144, center=False).fit(x)
    assert len(hasher.history_["objective"]) == 40
    assert objective(scaled(hasher.transform(x)), "l2") < itq - 0.002
    assert len(H2Q(144).fit(x[:200]).history_["objective"]) == 100  # steps, as all rows are one batch
    stated = H2Q(144, init="itq", batch_size=576, epochs=40, center=False).fit(x)
    assert torch.equal(stated.projection_, hasher.projection_)
    narrow, from_itq = (H2Q(128, epochs=1, init=init).fit(x).objective_ for init in (None, "itq"))
    assert narrow > from_itq


def test_the_best_of_several_trainings_is_kept(monkeypatch):
    x = clustered(600, 16)
    single = H2Q(16, epochs=3).fit(x)
    several = []
    for threads in ("1", "3"):
        monkeypatch.setenv("FASTHASH_THREADS", threads)
        several.append(H2Q(16, epochs=3, restarts=5).fit(x))
    assert several[0].objective_ <= single.objective_
    np.testing.assert_array_equal(several[0].projection_, several[1].projection_)


def test_a_progress_bar(capsys):
    H2Q(8, epochs=7).fit(clustered(100, 8))
    assert capsys.readouterr().err == ""
    H2Q(8, epochs=7, progress=True).fit(clustered(100, 8))
    assert "7/7" in capsys.readouterr().err


def test_few_rows_and_rows_of_zeros():
    x = torch.zeros(5, 4)
    assert torch.isfinite(H2Q(4, epochs=2).fit(x).projection_).all()
    x[1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    for rows in (x[1:2], x):
        assert torch.isfinite(H2Q(4, epochs=2, center=False).fit(rows).projection_).all()


@pytest.mark.slow
def test_an_interrupt_stops_training():
    x = clustered(1000, 64)
    hasher = H2Q(64, epochs=10**6)
    interrupt = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        hasher.fit(x)
    interrupt.join()
    assert not hasattr(hasher, "projection_")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"loss": "l3"}, ValueError, "expected loss to be one of 'l2', 'l1', 'min_entry', 'bit_var', got 'l3'"),
        ({"optimizer": "lbfgs"}, ValueError, "expected optimizer to be one of 'adam', 'sgd', got 'lbfgs'"),
        ({"schedule": "linear"}, ValueError, "expected schedule to be one of"),
        ({"init": "pca"}, ValueError, "expected init to be one of 'identity', 'itq', got 'pca'"),
        ({"learning_rate": 0}, ValueError, "expected learning_rate above 0 and finite, got 0"),
        ({"learning_rate": "fast"}, TypeError, "expected learning_rate to be a number, got str"),
        ({"epochs": 0}, ValueError, "expected epochs at least 1, got 0"),
        ({"epochs": 2.5}, TypeError, "expected epochs to be an integer, got float"),
        ({"batch_size": 0}, ValueError, "expected batch_size at least 1, got 0"),
        ({"restarts": 0}, ValueError, "expected restarts at least 1, got 0"),
        ({"patience": 0}, ValueError, "expected patience at least 1, got 0"),
        ({"validation_fraction": 1}, ValueError, "expected validation_fraction at least 0 and below 1, got 1"),
        ({"n_bits": 65}, ValueError, "expected n_bits for X of 64 columns from 1 to 64, got 65"),
    ],
    ids=str,
)
def test_bad_parameters(settings, error, message):
    with pytest.raises(error, match=f"H2Q.fit: {message}"):
        H2Q(**{"n_bits": 8, **settings}).fit(clustered(10, 64))
