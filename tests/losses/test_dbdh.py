from __future__ import annotations

import numpy as np
import torch

from fasthash import losses
from tests.losses.conftest import likelihood, mean, mean_over_pairs


def make(labels, **settings):
    return losses.DBDH(**settings)


def similarity(u, labels, loss):
    h = np.clip(u, -1, 1)
    return mean_over_pairs(labels, lambda i, j, s: likelihood(h[i] @ h[j] / 2, s))


def original(u, loss):
    return 0.1 * mean(mean(row) ** 2 for row in np.clip(u, -1, 1))


def test_the_clamp_passes_gradients_only_inside():
    u = torch.tensor([[0.5, 1.5], [-2.0, 0.25]], dtype=torch.float64, requires_grad=True)
    losses.DBDH()(u, torch.tensor([0, 1])).backward()
    assert (u.grad != 0).tolist() == [[True, False], [False, True]]
