"""Data and networks that the recipes are tested with."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from fasthash.data import Dataset, load_dataset
from fasthash.plugins import located
from fasthash.recipes import SupervisedSettings, train
from fasthash.recipes.loop import Given
from fasthash.recipes.protocols import split


@pytest.fixture(scope="module")
def many_labels():
    rng = np.random.default_rng(0)
    labels = rng.random((400, 4)) < 0.3
    items = (labels @ rng.standard_normal((4, 12)) + 0.1 * rng.standard_normal((400, 12))).astype(np.float32)
    return Dataset("made", items, labels, {}, tuple("abcd"))


class TorchvisionLike(torch.nn.Module):
    """What the networks of torchvision that end in `classifier` have in common, in small."""

    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 11, stride=8), torch.nn.AdaptiveAvgPool2d(3))
        self.classifier = torch.nn.Sequential(torch.nn.Linear(18, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1000))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


@pytest.fixture
def torchvision_models(monkeypatch):
    """In place of torchvision, which not every build of torch has: `models.get_model`, which notes its calls."""
    models = types.ModuleType("torchvision.models")
    models.calls = []

    def get_model(name, *, weights):
        models.calls.append((name, weights))
        return TorchvisionLike()

    models.get_model = get_model
    package = types.ModuleType("torchvision")
    package.models = models
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    return models


@pytest.fixture(scope="module")
def images():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def features(images):
    return Dataset(
        "features", images.items.reshape(-1, 64).astype(np.float32) / 40 + 7, images.labels, {}, tuple("0123456789")
    )


def training(dataset, settings, parts=None):
    """A training that has not begun."""
    datasets = dataset if isinstance(dataset, list) else [dataset]
    data = [(dataset, parts or split(dataset, settings.protocol, settings.split_seed)) for dataset in datasets]
    return located(settings.training)(settings, Given(data, torch.device("cpu")))


def batch_of(dataset, n=64):
    return torch.from_numpy(dataset.items[:n]), torch.from_numpy(dataset.labels[:n]), torch.arange(n)


def weights_of(module):
    return [tensor.detach().clone() for tensor in module.parameters()]


def moved(before, module):
    return any(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def without_seconds(run):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in [run.results, *run.history]]


def interrupted_after(monkeypatch, training, n_steps):
    """Let a training be interrupted in place of its next step after so many; what is returned lets it go on again."""
    step, made = training.step, []

    def interrupted(self, number, *batch):
        if len(made) == n_steps:
            raise KeyboardInterrupt
        made.append(number)
        return step(self, number, *batch)

    monkeypatch.setattr(training, "step", interrupted)
    return lambda: monkeypatch.setattr(training, "step", step)


SHORT = SupervisedSettings(protocol="digits-v1", bits=16, epochs=3, validate_every=1)


class OwnNetwork(nn.Module):
    def __init__(self, n_bits=16):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(0.1), nn.Linear(32, n_bits))

    def forward(self, images):
        return self.layers(images / 255)


class OwnLoss(nn.Module):
    """With a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.centers = nn.Parameter(torch.randn(10, 16, generator=torch.Generator().manual_seed(0)))

    def forward(self, u, labels):
        return nn.functional.cross_entropy(u @ self.centers.T, labels)


def own_function(u, labels):
    alike = (labels[:, None] == labels).float() * 2 - 1
    return (u.tanh() @ u.tanh().T / u.shape[1] - alike).square().mean()


def trained(dataset, settings=SHORT, **arguments):
    torch.manual_seed(0)
    given = {"network": OwnNetwork(), "loss": own_function} | arguments
    return train(settings, dataset=dataset, device="cpu", **given)
