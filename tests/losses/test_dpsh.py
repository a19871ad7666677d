from __future__ import annotations

import pytest

from fasthash import losses
from tests.losses.conftest import SINGLE, U, likelihood, mean_over_pairs, square_error_to_sign


def make(labels, **settings):
    return losses.DPSH(**settings)


def similarity(u, labels, loss):
    return mean_over_pairs(labels, lambda i, j, s: likelihood(u[i] @ u[j] / 2, s))


def original(u, loss):
    return 0.1 * square_error_to_sign(u)


def test_scale():
    u = U.numpy()
    expected = mean_over_pairs(SINGLE, lambda i, j, s: likelihood(u[i] @ u[j], s))
    assert losses.DPSH(scale=1, quantization="none")(U, SINGLE).item() == pytest.approx(expected)
