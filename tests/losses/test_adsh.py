from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash import losses
from tests.losses import conftest
from tests.losses.conftest import mean_over_pairs, weights
from tests.losses.training_sets import BATCH, BITS, CLASSES, LABELS, SINGLE, N, U, signs, similarities


def make(labels, **settings):
    return losses.ADSH(labels, conftest.BITS, conftest.CLASSES, **settings)


def similarity(u, labels, loss):
    h, v, w = np.tanh(u), loss.codes.numpy(), weights(labels)
    ratio = w[False] / w[True]
    return mean_over_pairs(labels, lambda i, j, s: (h[i] @ v[j] - conftest.BITS * (1 if s else -ratio)) ** 2)


def original(u, loss):
    return 200 * ((np.tanh(u) - loss.codes.numpy()) ** 2).sum() / len(u) ** 2


def test_by_hand():
    loss = losses.ADSH(torch.tensor([0, 1, 1]), 2, 2, gamma=3, n_inner=1).double()
    assert loss.ratio == 5 / 4
    loss.codes.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]]))
    loss._sum_codes()
    h = torch.tensor([[0.5, -0.25]], dtype=torch.float64)
    value = loss(h.atanh(), torch.tensor([0]), torch.tensor([0]))
    squares = (0.25 - 2) ** 2 + (0.75 + 2.5) ** 2 + (-0.75 + 2.5) ** 2
    assert value.item() == pytest.approx((squares + 3 * (0.5**2 + 1.25**2)) / 3)
    loss.end_epoch()
    # Only item 0 was seen: item 0 wants 2 h + 3 h, the others -2.5 h; and each bit less h_1 h_2 times the other.
    assert loss.codes.tolist() == [[1, -1], [-1, 1], [-1, 1]]
    assert not loss.outputs.any()


@LABELS
def test_it_compares_a_batch_with_all_codes(monkeypatch, labels):
    whole = losses.ADSH(labels, BITS, CLASSES)
    monkeypatch.setattr(losses.adsh, "MAX_CELLS", 7)
    loss = losses.ADSH(labels, BITS, CLASSES).double()
    assert loss.ratio == whole.ratio
    s = similarities(labels)
    ratio = s.sum() / (1 - s).sum()
    s = s * (1 + ratio) - ratio
    u, v = U[BATCH].clone().requires_grad_(), U[BATCH].clone().requires_grad_()
    h = v.tanh()
    squares = (h @ loss.codes.T - BITS * s[BATCH]).square().sum() + 200 * (loss.codes[BATCH] - h).square().sum()
    expected = squares / (N * len(BATCH))
    value = loss(u, labels[BATCH], BATCH)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    value.backward()
    expected.backward()
    torch.testing.assert_close(u.grad, v.grad, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(loss.outputs[BATCH], h.detach())


@LABELS
def test_it_finds_the_codes_of_the_textbook(labels):
    loss = losses.ADSH(labels, BITS, CLASSES, gamma=20, n_inner=2).double()
    s = similarities(labels)
    s = s * (1 + loss.ratio) - loss.ratio
    v = loss.codes.clone()
    for omega in (BATCH, torch.arange(N), torch.arange(0, N, 3)):
        loss(U[omega] + 1, labels[omega], omega)
        loss.end_epoch()
        assert torch.equal(loss.codes, v)  # after one of two epochs
        loss(U[omega], labels[omega], omega)
        loss.end_epoch()
        u, spread = U[omega].tanh(), torch.zeros(N, BITS).double()
        spread[omega] = u

        def objective(v, omega=omega, u=u):
            return (u @ v.T - BITS * s[omega]).square().sum() + 20 * (v[omega] - u).square().sum()

        q = -2 * BITS * s[omega].T @ u - 2 * 20 * spread
        for bit in range(BITS):
            rest = [other for other in range(BITS) if other != bit]
            before = objective(v)
            v[:, bit] = signs(-(q[:, bit] + 2 * v[:, rest] @ (u[:, rest].T @ u[:, bit])), v[:, bit])
            assert objective(v) <= before + 1e-9
        assert torch.equal(loss.codes, v)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": -1.0}, "expected gamma at least 0 and finite, got -1"),
        ({"n_inner": 0}, "expected n_inner at least 1, got 0"),
    ],
    ids=str,
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=f"ADSH: {message}"):
        losses.ADSH(SINGLE, BITS, CLASSES, **settings)
