from __future__ import annotations

import math

import pytest

from fasthash import losses
from tests.losses.conftest import cosine, hamming, mean_over_pairs, square_error_to_sign

ALPHA, SIMILAR_WEIGHT = 0.1, 0.4


def make(labels, **settings):
    return losses.WGLHH(ALPHA, SIMILAR_WEIGHT, **settings)


def similarity(u, labels, loss):
    def gaussian(i, j, s):
        e = math.exp(-ALPHA * hamming(u[i], u[j]) ** 2)
        divergence = e * math.log(2 * e / (e + s)) + (math.log(2 / (1 + e)) if s else 0)
        return math.exp(abs(s - (1 + cosine(u[i], u[j])) / 2)) * (1 + SIMILAR_WEIGHT * s) * divergence

    return mean_over_pairs(labels, gaussian)


def original(u, loss):
    return 0.001 * square_error_to_sign(u)


def test_settings():
    assert (losses.WGLHH().alpha, losses.WGLHH().similar_weight) == (0.1, 0.1)
    with pytest.raises(ValueError, match="WGLHH: expected alpha above 0 and finite, got 0"):
        losses.WGLHH(0)
    with pytest.raises(ValueError, match="WGLHH: expected similar_weight at least 0 and finite, got -1"):
        losses.WGLHH(0.1, -1)
