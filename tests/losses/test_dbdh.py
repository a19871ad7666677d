from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fasthash import losses
from tests.losses.conftest import BITS, SINGLE, N, U, likelihood, mean, mean_over_pairs, pairs


def make(labels, **settings):
    return losses.DBDH(**settings)


def similarity(u, labels, loss):
    h = np.sign(u)
    return mean_over_pairs(labels, lambda i, j, s: likelihood(h[i] @ h[j] / 2, s))


def original(u, loss):
    return 0.1 * mean(mean(row) ** 2 for row in np.sign(u))


def test_the_gradient_of_the_signs_passes_straight_through():
    """The slope of the likelihood is sigmoid(t) - s, that of the balance 2 (mean of h) / n_bits, over n items."""
    u = U.clone().requires_grad_()
    losses.DBDH()(u, SINGLE).backward()
    h, expected = np.sign(U.numpy()), np.zeros((N, BITS))
    for i, j, s in pairs(SINGLE):
        slope = (1 / (1 + math.exp(-h[i] @ h[j] / 2)) - s) / 2 / N**2
        expected[i] += slope * h[j]
        expected[j] += slope * h[i]
    expected += 0.1 * 2 * h.mean(1, keepdims=True) / BITS / N
    assert np.abs(U.numpy()).max() > 1
    np.testing.assert_allclose(u.grad.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("signs", [False, 0])
def test_the_clamp_of_public_code(signs):
    u = U.clone().requires_grad_()
    h = np.clip(U.numpy(), -1, 1)
    loss = losses.DBDH(signs=signs)(u, SINGLE)
    expected = mean_over_pairs(SINGLE, lambda i, j, s: likelihood(h[i] @ h[j] / 2, s))
    assert loss.item() == pytest.approx(expected + 0.1 * mean(mean(row) ** 2 for row in h), rel=1e-9)
    loss.backward()
    assert torch.equal(u.grad != 0, U.abs() < 1)


def test_signs_are_a_flag():
    with pytest.raises(ValueError, match="^DBDH: expected signs from 0 to 1, got 2$"):
        losses.DBDH(signs=2)
