"""Semantic structure-based hashing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fasthash.data import Dataset
from fasthash.recipes import train
from fasthash.recipes.settings import SSDHSettings
from fasthash.recipes.ssdh import (
    cosine_distances,
    semantic_structure,
    structure_bounds,
    structure_loss,
)
from tests.recipes.conftest import training

SHORT = SSDHSettings(dataset="digits", protocol="digits-v1", bits=16, epochs=3)


def test_inputs_have_a_mean_variance_of_1(images, features):
    for dataset in (images, features):
        learner = training(dataset, SHORT)
        x = learner.inputs(torch.from_numpy(dataset.items[learner.parts.train]))
        assert x.mean().item() == pytest.approx(0, abs=1e-4)
        assert x.var(dim=0).mean().item() == pytest.approx(1 if dataset is features else 0.52, rel=0.01)
    assert training(images, SHORT).network.architecture == "linear"
    assert training(images, replace(SHORT, network="mlp")).network.architecture == "mlp"


@pytest.mark.slow
def test_classes_whose_pairs_are_certain_have_codes_of_their_own(rng):
    means = 3 * rng.standard_normal((6, 40)).clip(0)
    labels = np.tile(np.arange(6), 100)
    items = (means[labels] + 0.5 * rng.standard_normal((600, 40))).astype(np.float32)
    dataset = Dataset("made", items, labels, {}, tuple("abcdef"))
    run = train(replace(SHORT, protocol="domains-v1", epochs=20), dataset=dataset, device="cpu")
    assert run.results["mAP"] > 0.9
    assert len(np.unique(run.encode(items), axis=0)) >= 6


def test_ssdhs_structure_is_that_by_hand():
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0], [0.0, 3.0], [-1.0, 0.0]])
    diagonal = 1 - 2**-0.5
    expected = [
        [0, 0, diagonal, 1, 2],
        [0, 0, diagonal, 1, 2],
        [diagonal, diagonal, 0, diagonal, 2 - diagonal],
        [1, 1, diagonal, 0, 1],
        [2, 2, 2 - diagonal, 1, 0],
    ]
    distances = cosine_distances(x)
    torch.testing.assert_close(distances, torch.tensor(expected), atol=1e-6, rtol=0)
    structure = semantic_structure(distances, 0.2, 1.5)
    assert structure.tolist() == [
        [1, 1, 0, 0, -1],
        [1, 1, 0, 0, -1],
        [0, 0, 1, 0, -1],
        [0, 0, 0, 1, 0],
        [-1, -1, -1, 0, 1],
    ]
    u = torch.tensor([[0.5, -1.0], [0.2, 0.3]])
    b = torch.tanh(u)
    likeness = [[float(b[i] @ b[j]) / 2 for j in range(2)] for i in range(2)]
    by_hand = ((likeness[0][0] - 1) ** 2 + (likeness[0][1] + 1) ** 2 + (likeness[1][0] + 1) ** 2) / 4
    value = structure_loss(u, torch.tensor([[1.0, -1.0], [-1.0, 0.0]]))
    assert value.item() == pytest.approx(by_hand)


def test_ssdhs_bounds_are_deviations_of_mirrored_halves():
    distances = torch.tensor([0.803, 0.803, 0.808, 0.7, 0.6, 1.0, 1.3])
    low, high = structure_bounds(distances, 2.0)  # the fullest bin is that from 0.80 to 0.81
    below = ((2 * 0.002**2 + 0.105**2 + 0.205**2) / 4) ** 0.5
    above = ((0.003**2 + 0.195**2 + 0.495**2) / 3) ** 0.5
    assert low == pytest.approx(0.805 - 2 * below, abs=1e-5)
    assert high == pytest.approx(0.805 + 2 * above, abs=1e-5)
