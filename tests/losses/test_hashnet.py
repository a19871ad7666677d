from __future__ import annotations

import numpy as np
import pytest

from fasthash import losses
from tests.losses.conftest import BITS, SEVERAL, SINGLE, TRAINING, U, likelihood, mean_over_pairs, weights


def make(labels, **settings):
    return losses.HashNet(**settings)


def similarity(u, labels, loss, w=None):
    h, w = np.tanh(float(loss.beta) * u), w or weights(labels)
    return mean_over_pairs(labels, lambda i, j, s: w[s] * likelihood(10 / BITS * (h[i] @ h[j]), s))


def original(u, loss):
    return 0


def test_continuation():
    loss = losses.HashNet()
    assert loss.beta == 1
    for _ in range(399):
        loss(U, SINGLE)
    assert loss.beta == pytest.approx(2**0.5)
    state = loss.state_dict()
    loss.eval()
    for _ in range(10):
        loss(U, SINGLE)
    assert loss.n_steps == 399
    other = losses.HashNet()
    other.load_state_dict(state)
    assert other.beta == loss.beta


def test_a_continued_loss_against_its_formula():
    loss = losses.HashNet()
    loss.n_steps.fill_(1000)
    assert loss(U, SINGLE).item() == pytest.approx(similarity(U.numpy(), SINGLE, loss), rel=1e-6)  # beta is float32
    assert loss.beta == pytest.approx(6**0.5)


@pytest.mark.parametrize("training", TRAINING.values(), ids=TRAINING)
@pytest.mark.parametrize("labels", [SINGLE, SEVERAL], ids=["single", "several"])
def test_pairs_weigh_by_the_training_set_s_share_of_similar_ones(labels, training):
    loss = losses.HashNet(training)
    expected = similarity(U.numpy(), labels, loss, weights(training))
    assert loss(U, labels).item() - original(U.numpy(), loss) == pytest.approx(expected, rel=1e-9)
    assert expected != pytest.approx(similarity(U.numpy(), labels, loss), rel=1e-3)
