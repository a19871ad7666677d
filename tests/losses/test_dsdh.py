from __future__ import annotations

import math

import pytest
import torch

from fasthash import losses
from fasthash.losses.base import MAX_CELLS
from fasthash.losses.training_set import descend_bits
from tests.losses import conftest
from tests.losses.conftest import likelihood, mean_over_pairs
from tests.losses.training_sets import BATCH, BITS, CLASSES, LABELS, SINGLE, U, indicator, signs, similarities


def make(labels, **settings):
    return losses.DSDH(labels, conftest.BITS, conftest.CLASSES, **settings)


def similarity(u, labels, loss):
    """The batch is all that the training set holds."""
    return mean_over_pairs(labels, lambda i, j, s: likelihood(u[i] @ u[j] / 2, s))


def original(u, loss):
    return 0.01 * ((u - loss.codes.numpy()) ** 2).mean()


def test_by_hand():
    loss = losses.DSDH(torch.tensor([0, 1]), 1, 2, mu=0.5, nu=2, eta=0.25).double()
    loss.codes.copy_(torch.tensor([[1.0], [1.0]]))
    loss.outputs.copy_(torch.tensor([[7.0], [-1.0]]))
    u = torch.tensor([[2.0]], dtype=torch.float64, requires_grad=True)
    value = loss(u, torch.tensor([0]), torch.tensor([0]))
    # t is 2 * 2 / 2 with itself, 2 * -1 / 2 with the other.
    assert value.item() == pytest.approx((math.log1p(math.e**2) - 2 + math.log1p(1 / math.e)) / 2 + 0.25)
    value.backward()
    by_hand = ((1 / (1 + math.e**-2) - 1) * 2 / 2 + 1 / (1 + math.e) * -1 / 2) / 2 + 0.25 * 2
    assert u.grad.item() == pytest.approx(by_hand)
    loss.end_epoch()
    assert loss.classifier.tolist() == [[pytest.approx(1 / 6), pytest.approx(1 / 6)]]  # 1 / (2 + 2 / 0.5)
    assert loss.codes.tolist() == [[1], [-1]]  # the signs of 1 / 6 + 0.5 * 2 and 1 / 6 - 0.5


@LABELS
@pytest.mark.parametrize("cells", [7, MAX_CELLS])
def test_it_compares_a_batch_with_the_whole_training_set(monkeypatch, labels, cells):
    monkeypatch.setattr(losses.dsdh, "MAX_CELLS", cells)
    loss = losses.DSDH(labels, BITS, CLASSES, quantization="none").double()
    loss.outputs.copy_(U.roll(1, 0))
    u = U[BATCH].clone().requires_grad_()
    loss(u, labels[BATCH], BATCH).backward()
    kept = U.roll(1, 0)
    kept[BATCH] = U[BATCH]
    assert torch.equal(loss.outputs, kept)
    v = U[BATCH].clone().requires_grad_()
    t = v @ kept.T / 2
    expected = (torch.log1p(t.exp()) - similarities(labels)[BATCH] * t).mean()
    expected.backward()
    torch.testing.assert_close(loss(u, labels[BATCH], BATCH), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(u.grad, v.grad, rtol=1e-10, atol=1e-14)


def test_a_second_derivative_is_an_error():
    """It would be taken for zero: what is kept is the first."""
    loss = losses.DSDH(SINGLE, BITS, CLASSES, quantization="none").double().eval()
    u = U.clone().requires_grad_()
    loss.outputs.copy_(U)
    (gradient,) = torch.autograd.grad(loss(u, SINGLE, torch.arange(len(U))), u, create_graph=True)
    with pytest.raises(RuntimeError, match="DSDH: expected one derivative to be taken, got a second"):
        gradient.sum().backward()
    once = torch.func.grad(lambda u: loss(u, SINGLE, torch.arange(len(U))))
    with pytest.raises(RuntimeError, match="DSDH: expected one derivative"):
        torch.func.grad(lambda u: once(u).sum())(U)


def objective(loss, labels):
    classified = (indicator(labels) - loss.codes @ loss.classifier).square().sum()
    return classified + loss.eta / loss.mu * (loss.codes - loss.outputs).square().sum()


@LABELS
@pytest.mark.parametrize("n_sweeps", [1, 10])
def test_it_finds_the_codes_of_the_textbook(labels, n_sweeps):
    loss = losses.DSDH(labels, BITS, CLASSES, mu=0.5, nu=0.2, eta=0.1, n_sweeps=n_sweeps).double()
    loss.outputs.copy_(U)
    y, b = indicator(labels), loss.codes.clone()
    for _ in range(3):
        loss.end_epoch()
        w = torch.linalg.inv(b.T @ b + 0.2 / 0.5 * torch.eye(BITS)) @ b.T @ y
        torch.testing.assert_close(loss.classifier, w)
        for _ in range(n_sweeps):
            for bit in range(BITS):
                rest = [other for other in range(BITS) if other != bit]
                p = y @ w.T + 0.1 / 0.5 * U
                b[:, bit] = signs(p[:, bit] - b[:, rest] @ w[rest] @ w[bit], b[:, bit])
        assert torch.equal(loss.codes, b)


@LABELS
def test_the_objective_never_rises(monkeypatch, labels):
    loss = losses.DSDH(labels, BITS, CLASSES, mu=0.5, nu=1e-9, eta=0.1).double()
    loss.outputs.copy_(U)
    before = objective(loss, labels)
    values = []

    def watched(codes, linear, gram, n_sweeps):
        values.append(objective(loss, labels))  # the classifier is new
        return descend_bits(codes, linear, gram, n_sweeps)

    monkeypatch.setattr(losses.dsdh, "descend_bits", watched)
    for _ in range(4):
        loss.end_epoch()
        values.append(objective(loss, labels))
    assert all(after <= value + 1e-9 for value, after in zip([before, *values], values, strict=False))
    assert values[-1] < 0.8 * before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mu": -1.0}, "expected mu above 0 and finite, got -1"),
        ({"nu": 0}, "expected nu above 0 and finite, got 0"),
        ({"eta": -1}, "expected eta at least 0 and finite, got -1"),
        ({"n_sweeps": 0}, "expected n_sweeps at least 1, got 0"),
    ],
    ids=str,
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=f"DSDH: {message}"):
        losses.DSDH(SINGLE, BITS, CLASSES, **settings)
