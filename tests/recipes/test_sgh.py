"""Stochastic generative hashing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tqdm import tqdm

from fasthash.data import Dataset
from fasthash.recipes import sgh
from fasthash.recipes.settings import SGHSettings
from tests.recipes.conftest import batch_of, training

SHORT = SGHSettings(dataset="digits", protocol="digits-v1", bits=16, epochs=3, batch_size=50)


def test_sghs_gradient_is_the_formulas(rng):
    n, d, m, weight = 7, 5, 3, 0.2
    x, h = rng.standard_normal((n, d)), rng.standard_normal((n, m))
    torch.manual_seed(0)
    generative = sgh.SGH(torch.from_numpy(x), m, weight).double()
    logits = torch.from_numpy(h).requires_grad_()
    loss = generative(logits, torch.from_numpy(x))
    loss.backward()
    patterns = generative.patterns.detach().numpy()
    scale, shift = x.var(axis=0), x.mean(axis=0)
    y, p = (h > 0).astype(float), 1 / (1 + np.exp(-h))
    error = (y @ patterns) * scale + shift - x
    length = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum()
    assert loss.item() == pytest.approx(0.5 * (error**2).sum() + weight * length)
    dy = (error * scale) @ patterns.T - weight * h  # the reconstruction's, and the description length's
    dh = p * (1 - p) * dy + weight * (p - y)
    np.testing.assert_allclose(logits.grad.numpy(), dh, rtol=1e-9)
    np.testing.assert_allclose(generative.patterns.grad.numpy(), y.T @ (error * scale), rtol=1e-9)
    np.testing.assert_allclose(generative.shift.grad.numpy(), error.sum(axis=0), rtol=1e-9)


def decaying(rng, images):
    """Features of few strong directions, as principal components are: the deviation is a twentieth of the largest."""
    x = rng.standard_normal((len(images.items), 128)) * 0.9 ** np.arange(128)
    return Dataset("decaying", x.astype(np.float32), images.labels, {}, images.class_names)


def offset(rng, images):
    """Images as MNIST's: mostly background, as far from 0 as the strokes are."""
    return dataclasses.replace(images, items=np.pad(images.items, ((0, 0), (8, 8), (8, 8))))


@pytest.mark.parametrize("dataset_of", [decaying, offset])
def test_all_bits_of_sgh_depend_on_the_items(images, rng, dataset_of):
    learner = training(dataset_of(rng, images), SHORT)
    for epoch in range(1, 7):
        learner._epoch(epoch, tqdm(disable=True))
    items = torch.from_numpy(learner.dataset.items[learner.parts.train])
    u = learner.network(items)
    shares = (u > 0).double().mean(dim=0)
    assert shares.min() > 0.01
    assert shares.max() < 0.99
    x = (learner.inputs(items) - learner.mean) / learner.deviation
    assert x.mean(dim=0).abs().max() < 1e-4
    assert x.var(dim=0, correction=0).mean().item() == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(u, learner.linear(x), rtol=1e-3, atol=1e-3)


def test_sgh_shrinks_both_matrices(images):
    settings = dataclasses.replace(SHORT, weight_decay=0.5, code_weight=0.0)
    learner = training(images, settings)
    patterns, weights = learner.sgh.patterns.detach().clone(), learner.linear.weight.detach().clone()
    items, labels, indices = batch_of(images)
    x = (learner.inputs(items) - learner.mean) / learner.deviation
    plain = learner.sgh(learner.linear(x), x).item()
    reported = learner.step(0, items, labels, indices)["loss"].item()
    squares = (patterns.square().sum() + weights.square().sum()).item()
    assert reported * 64 == pytest.approx(plain + 0.25 * squares, rel=1e-5)


def test_logits_that_are_nan_have_no_bits():
    h = torch.tensor([[torch.nan, 0.0, 2.0]])
    assert sgh.straight_through_bits(h).tolist()[0][1:] == [0, 1]
    assert sgh.straight_through_bits(h)[0, 0].isnan()
