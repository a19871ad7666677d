"""The worked examples of CONTRIBUTING.md and of the recipes' README work as they stand."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
import torch

from fasthash.data import load_dataset
from fasthash.recipes import BACKBONES, HashingNetwork, SupervisedSettings, train
from tests.recipes.conftest import interrupted_after, without_seconds

ROOT = Path(__file__).parents[1]


def block_with(file, text):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)
    return next(block for block in blocks if text in block)


def run(monkeypatch, name, *sources):
    """A module of that name, made of the sources."""
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    for source in sources:
        exec(compile(source, f"{name} of a README", "exec", dont_inherit=True), vars(module))
    return module


def test_the_loss_trains(monkeypatch):
    loss = run(monkeypatch, "contrastive", block_with("CONTRIBUTING.md", "class Contrastive")).Contrastive(0.1)
    u = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20) % 4
    c = torch.nn.functional.cosine_similarity(u[:, None], u[None], dim=2)
    costs = torch.where(labels[:, None] == labels, 1 - c, (c - 0.1).clamp(min=0)) ** 2
    torch.testing.assert_close(loss(u, labels), costs.mean())
    settings = SupervisedSettings(protocol="digits-v1", network="mlp", bits=16, epochs=8)
    assert train(settings, dataset=load_dataset("digits"), loss=loss, device="cpu").results["mAP"] > 0.5


def test_the_hasher_fits(monkeypatch, digits):
    hasher = run(monkeypatch, "pca", block_with("CONTRIBUTING.md", "class PCA")).PCA(16).fit(digits[0])
    axes = hasher.projection_
    torch.testing.assert_close(axes.T @ axes, torch.eye(16), atol=1e-4, rtol=0)
    assert hasher.encode(digits[0]).shape == (1797, 2)


def test_the_recipe_trains_and_is_resumed(monkeypatch, tmp_path):
    sources = (block_with("CONTRIBUTING.md", f"class LeastSquares{part}") for part in ("Settings", "Training"))
    module = run(monkeypatch, "fasthash.recipes.least_squares", *sources)
    settings = module.LeastSquaresSettings(epochs=8)
    whole = train(settings, out=tmp_path / "whole", device="cpu")
    assert whole.results["mAP"] > 0.5
    go_on = interrupted_after(monkeypatch, module.LeastSquaresTraining, 20)
    with pytest.raises(KeyboardInterrupt):
        train(settings, out=tmp_path / "parts", device="cpu")
    go_on()
    resumed = train(settings, out=tmp_path / "parts", resume=True, device="cpu")
    assert without_seconds(resumed) == without_seconds(whole)


def test_the_backbone_is_offered(monkeypatch):
    monkeypatch.setattr(BACKBONES, "_own", dict(BACKBONES._own))
    run(monkeypatch, "wide", block_with("fasthash/recipes/README.md", "def wide"))
    network = HashingNetwork("wide", (8, 8), 16)
    assert network(torch.zeros(3, 8, 8, dtype=torch.uint8)).shape == (3, 16)
