from __future__ import annotations

import pytest
import torch

from fasthash import losses
from tests.losses.conftest import (
    BITS,
    CLASSES,
    SEVERAL,
    SINGLE,
    U,
    cosine,
    labels_of,
    mean,
    pairs,
    square_error_to_sign,
)

MARGIN, BETA = 0.1, 0.7


def make(labels, **settings):
    return losses.HyP2(BITS, CLASSES, MARGIN, BETA, **settings)


def similarity(u, labels, loss):
    proxies = loss.proxies.detach().numpy()
    items = range(len(u))
    near = [1 - cosine(u[i], proxies[c]) for i in items for c in labels_of(i, labels)]
    far = [
        max(0, cosine(u[i], proxies[c]) - MARGIN)
        for i in items
        for c in range(CLASSES)
        if c not in labels_of(i, labels)
    ]
    enough = [len(labels_of(i, labels)) >= loss.min_labels for i in items]
    apart = [max(0, cosine(u[i], u[j]) - MARGIN) for i, j, s in pairs(labels) if not s and enough[i] and enough[j]]
    return mean(near) + mean(far) + BETA * (mean(apart) if apart else 0)


def original(u, loss):
    return 0


def test_a_weight_brings_the_square_error_to_the_sign():
    torch.manual_seed(0)
    loss = make(SEVERAL, quantization_weight=0.3).double()
    expected = similarity(U.numpy(), SEVERAL, loss) + 0.3 * square_error_to_sign(U.numpy())
    assert loss(U, SEVERAL).item() == pytest.approx(expected)


def test_settings():
    default = losses.HyP2(BITS, 4)
    assert (default.margin, default.beta, default.min_labels) == (0, 0.5, 1)
    for margin in (-1.1, 1):
        with pytest.raises(ValueError, match=f"^HyP2: expected margin at least -1 and below 1, got {margin}$"):
            losses.HyP2(BITS, 4, margin)
    with pytest.raises(ValueError, match="^HyP2: expected beta at least 0 and finite, got -1$"):
        losses.HyP2(BITS, 4, 0, -1)
    with pytest.raises(ValueError, match="^HyP2: expected min_labels at least 1, got 0$"):
        losses.HyP2(BITS, 4, min_labels=0)


@pytest.mark.parametrize("min_labels", [1, 2])
@pytest.mark.parametrize("labels", [SINGLE, SEVERAL], ids=["single", "several"])
def test_pairs_are_of_items_of_enough_labels(labels, min_labels):
    torch.manual_seed(0)
    loss = make(labels, min_labels=min_labels).double()
    assert loss(U, labels).item() == pytest.approx(similarity(U.numpy(), labels, loss), rel=1e-9)


def test_dissimilar_items_of_several_labels_are_apart():
    """In the paper's pairs, of which the batch of the other tests has none."""
    labels = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 1]])
    loss, alone = (losses.HyP2(BITS, 4, -0.2, beta, 2).double() for beta in (0.7, 0))
    alone.load_state_dict(loss.state_dict())
    u = U.numpy()
    apart = [max(0, cosine(u[i], u[j]) + 0.2) for i, j in ((0, 1), (0, 2), (1, 0), (2, 0))]
    assert mean(apart) > 0
    assert (loss(U, labels) - alone(U, labels)).item() == pytest.approx(0.7 * mean(apart))


def test_labels_of_more_columns_are_refused():
    with pytest.raises(ValueError, match="HyP2: expected labels of 4 columns, got 3"):
        losses.HyP2(BITS, 4)(U, SEVERAL)
