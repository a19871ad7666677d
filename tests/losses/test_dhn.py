from __future__ import annotations

import math

from fasthash import losses
from tests.losses.conftest import likelihood, mean, mean_over_pairs


def make(labels, **settings):
    return losses.DHN(**settings)


def similarity(u, labels, loss):
    return mean_over_pairs(labels, lambda i, j, s: likelihood(u[i] @ u[j], s))


def original(u, loss):
    return 0.1 * mean(sum(math.log(math.cosh(abs(value) - 1)) for value in row) for row in u)
