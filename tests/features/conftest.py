"""A network and data sets that features are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fasthash.data import Dataset


class Small(nn.Module):
    """Two layers on pixels, with a ReLU in place, as torchvision's networks have them."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 5), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.map = nn.Unflatten(1, (5, 1, 1))
        self.end = nn.Sequential(nn.Flatten(), nn.Linear(5, 2))

    def transform(self, image):
        assert image.dtype == torch.uint8
        return image[:, :4, :4].float() / 255

    def forward(self, images):
        return self.end(self.map(self.body(images)))


def by_hand(network, images):
    """What the layers of `Small` return for gray images [n, 4, 4]: before the ReLU, after it, at the end."""
    pixels = torch.from_numpy(np.repeat(images[:, None], 3, 1).reshape(len(images), -1)).float() / 255
    hidden = pixels @ network.body[1].weight.T + network.body[1].bias
    return hidden, hidden.relu(), hidden.relu() @ network.end[1].weight.T + network.end[1].bias


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def gray(rng):
    """Ten gray images of two classes, whose splits share items and leave some out."""
    splits = {"train": np.array([7, 0, 3]), "test": np.array([1]), "database": np.array([0, 3, 4, 5, 7, 8])}
    images = rng.integers(0, 256, (10, 4, 4), dtype=np.uint8)
    return Dataset("gray", images, np.arange(10) % 2, splits, ("a", "b"))
