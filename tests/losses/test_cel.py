from __future__ import annotations

import pytest

from fasthash import losses
from tests.losses.conftest import cosine, mean_over_pairs, square_error_to_sign


def make(labels, **settings):
    return losses.CEL(margin=0.1, **settings)


def similarity(u, labels, loss):
    return mean_over_pairs(labels, lambda i, j, s: 1 - cosine(u[i], u[j]) if s else max(0, cosine(u[i], u[j]) - 0.1))


def original(u, loss):
    return 0.01 * square_error_to_sign(u)


def test_margin():
    assert losses.CEL().margin == 0
    for margin in (-1.1, 1):
        with pytest.raises(ValueError, match=f"CEL: expected margin at least -1 and below 1, got {margin}"):
            losses.CEL(margin=margin)
