from __future__ import annotations

import math

import pytest

from fasthash import losses
from tests.losses.conftest import (
    SEVERAL,
    SINGLE,
    TRAINING,
    U,
    cosine,
    hamming,
    mean_over_pairs,
    square_error_to_sign,
    weights,
)

ALPHA = 0.1


def make(labels, **settings):
    return losses.WGLHH(alpha=ALPHA, **settings)


def similarity(u, labels, loss, w=None):
    w = w or weights(labels)

    def gaussian(i, j, s):
        e = math.exp(-ALPHA * hamming(u[i], u[j]) ** 2)
        divergence = e * math.log(2 * e / (e + s)) + (math.log(2 / (1 + e)) if s else 0)
        return math.exp(abs(s - (1 + cosine(u[i], u[j])) / 2)) * w[s] * divergence

    return mean_over_pairs(labels, gaussian)


def original(u, loss):
    return 0.001 * square_error_to_sign(u)


@pytest.mark.parametrize("labels", [SINGLE, SEVERAL], ids=["single", "several"])
def test_similar_pairs_weigh_more_as_in_the_authors_code(labels):
    loss = losses.WGLHH(alpha=ALPHA, similar_weight=0.4, quantization="none")
    expected = similarity(U.numpy(), labels, loss, {True: 1.4, False: 1})
    assert loss(U, labels).item() == pytest.approx(expected, rel=1e-9)


def test_settings():
    assert (losses.WGLHH().alpha, losses.WGLHH().similar_weight) == (0.1, None)
    with pytest.raises(ValueError, match="WGLHH: expected alpha above 0 and finite, got 0"):
        losses.WGLHH(alpha=0)
    with pytest.raises(ValueError, match="WGLHH: expected similar_weight at least 0 and finite, got -1"):
        losses.WGLHH(alpha=0.1, similar_weight=-1)


@pytest.mark.parametrize("training", TRAINING.values(), ids=TRAINING)
@pytest.mark.parametrize("labels", [SINGLE, SEVERAL], ids=["single", "several"])
def test_pairs_weigh_by_the_training_set_s_share_of_similar_ones(labels, training):
    loss = losses.WGLHH(alpha=ALPHA, labels=training)
    expected = similarity(U.numpy(), labels, loss, weights(training))
    assert loss(U, labels).item() - original(U.numpy(), loss) == pytest.approx(expected, rel=1e-9)
    assert expected != pytest.approx(similarity(U.numpy(), labels, loss), rel=1e-3)
