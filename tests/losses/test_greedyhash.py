from __future__ import annotations

import math

import numpy as np
import torch

from fasthash import losses
from tests.losses.conftest import BITS, CLASSES, SEVERAL, U, labels_of, mean


def make(labels, **settings):
    return losses.GreedyHash(BITS, CLASSES, **settings)


def similarity(u, labels, loss):
    w = loss.classifier.weight.detach().numpy()
    total = []
    for i, row in enumerate(u):
        logits = w @ np.where(row > 0, 1, -1)
        normaliser = math.log(np.exp(logits).sum())
        total.append(mean(normaliser - logits[label] for label in labels_of(i, labels)))
    return mean(total)


def original(u, loss):
    return 0.1 * mean(abs(abs(value) - 1) ** 3 for value in u.flatten())


def test_the_sign_passes_gradients_straight_through():
    u = torch.tensor([[0.3, -2.0, 0.0]], requires_grad=True)
    signs = losses.greedyhash.straight_through_sign(u)
    assert signs.tolist() == [[1, -1, -1]]
    (signs * torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
    assert u.grad.tolist() == [[1, 2, 3]]


def test_the_gradient_is_that_of_the_classifier_at_the_signs():
    torch.manual_seed(0)
    loss = make(SEVERAL, quantization="none").double()
    u, signs = U.clone().requires_grad_(), U.sign().requires_grad_()
    loss(u, SEVERAL).backward()
    logits = signs @ loss.classifier.weight.T
    wanted = SEVERAL / SEVERAL.sum(1, keepdim=True)
    (-(wanted * logits.log_softmax(1)).sum() / len(U)).backward()
    torch.testing.assert_close(u.grad, signs.grad)
