from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fasthash import losses
from tests.losses.conftest import BITS, SEVERAL, SINGLE, TRAINING, U, hamming, mean, mean_over_pairs, weights

GAMMA = 10


def make(labels, **settings):
    return losses.DCH(gamma=GAMMA, **settings)


def similarity(u, labels, loss, w=None):
    w = w or weights(labels)

    def cauchy(i, j, s):
        p = GAMMA / (GAMMA + hamming(u[i], u[j]))
        return -w[s] * math.log(p if s else 1 - p)

    return mean_over_pairs(labels, cauchy)


def original(u, loss):
    return 0.1 * mean(math.log1p(hamming(np.abs(row), np.ones(BITS)) / GAMMA) for row in u)


def test_gamma():
    assert losses.DCH().gamma == 10
    with pytest.raises(ValueError, match="DCH: expected gamma above 0 and finite, got 0"):
        losses.DCH(gamma=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_outputs_that_point_the_same_way_have_a_loss_in_half_precision(dtype):
    u = torch.ones(4, 8, dtype=dtype)  # where cosines round to more than 1
    labels = torch.tensor([0, 0, 1, 1])
    torch.testing.assert_close(
        losses.DCH()(u * 0.37, labels), losses.DCH()(u.float() * 0.37, labels), rtol=2e-2, atol=0
    )


@pytest.mark.parametrize("training", TRAINING.values(), ids=TRAINING)
@pytest.mark.parametrize("labels", [SINGLE, SEVERAL], ids=["single", "several"])
def test_pairs_weigh_by_the_training_set_s_share_of_similar_ones(labels, training):
    loss = losses.DCH(gamma=GAMMA, labels=training)
    expected = similarity(U.numpy(), labels, loss, weights(training))
    assert loss(U, labels).item() - original(U.numpy(), loss) == pytest.approx(expected, rel=1e-9)
    assert expected != pytest.approx(similarity(U.numpy(), labels, loss), rel=1e-3)
