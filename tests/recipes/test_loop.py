"""Networks and losses of others, and what `train` refuses."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import nn

import fasthash as fh
from fasthash.cli import main
from fasthash.recipes import IGANSettings, SGHSettings, SupervisedSettings, train
from fasthash.recipes.supervised import SupervisedTraining
from tests.recipes.conftest import interrupted_after, without_seconds

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


@pytest.mark.parametrize("loss", [own_function, OwnLoss, fh.losses.DCH, lambda: fh.losses.CSQ(16, 10)])
def test_a_network_and_a_loss_of_others_are_resumed_as_if_not_interrupted(images, tmp_path, monkeypatch, loss):
    def made():
        return {"loss": loss if loss is own_function else loss()}

    whole = trained(images, out=tmp_path / "whole", **made())
    go_on = interrupted_after(monkeypatch, SupervisedTraining, 10)
    with pytest.raises(KeyboardInterrupt):
        trained(images, out=tmp_path / "parts", **made())
    go_on()
    resumed = trained(images, out=tmp_path / "parts", resume=True, **made())
    assert without_seconds(resumed) == without_seconds(whole)
    for before, after in ((whole.network, resumed.network), (whole.modules["loss"], resumed.modules["loss"])):
        for name, tensor in before.state_dict().items():
            assert torch.equal(after.state_dict()[name], tensor), name


def test_the_parameters_of_a_loss_are_trained(images):
    loss = OwnLoss()
    start = loss.centers.detach().clone()
    run = trained(images, loss=loss)
    assert run.modules["loss"] is loss
    assert not torch.equal(loss.centers, start)


def test_a_network_of_others_is_saved_encodes_and_is_searched(images, tmp_path):
    run = trained(images, dataclasses.replace(SHORT, rotation="itq", epochs=12), out=tmp_path)
    assert not run.network.training
    network = OwnNetwork()
    network.load_state_dict(load_file(tmp_path / "network.safetensors"))
    codes = run.encode(images.items[run.parts.database])
    with torch.no_grad():
        outputs = network.eval()(torch.from_numpy(images.items[run.parts.database]))
    assert np.array_equal(codes, run.rotation.encode(outputs).numpy())
    assert run.encode(images.items[:0]).shape == (0, 2)
    index = fh.FlatIndex(16)
    index.add(codes)
    hits = index.search(run.encode(torch.from_numpy(images.items[run.parts.query])), 10)
    found = images.labels[run.parts.database][hits.ids]
    assert (found == images.labels[run.parts.query][:, None]).mean() > 0.6  # 0.1 by chance
    np.save(tmp_path / "items.npy", images.items)
    arguments = ["encode", *(str(tmp_path / name) for name in ("network.safetensors", "items.npy", "codes.npy"))]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert f"got weights of {__name__}.OwnNetwork at" in result.output


def test_another_network_or_loss_does_not_resume_a_training(images, tmp_path):
    trained(images, out=tmp_path)
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["given_network"] == f"{__name__}.OwnNetwork"
    assert settings["given_loss"] == f"{__name__}.own_function"
    with pytest.raises(ValueError, match=r"given_loss: '.*own_function' there, '.*OwnLoss' now"):
        trained(images, out=tmp_path, resume=True, loss=OwnLoss())
    with pytest.raises(ValueError, match=r"given_network: '.*OwnNetwork' there, None now"):
        trained(images, out=tmp_path, resume=True, network=None)


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        (
            {},
            {"network": OwnNetwork(12)},
            r"train: expected network to return .* \[128, 16\] for 128 items, got float32",
        ),
        ({}, {"loss": lambda u, labels: u}, r"train: expected loss to return a scalar, got \[128, 16\]"),
        ({"network": "mlp"}, {}, "train: expected network or the settings network, got both"),
        ({"method": "dch", "quantization": "none"}, {}, "loss or the settings method, quantization, got both"),
    ],
)
def test_what_does_not_fit_a_network_or_a_loss_is_refused(images, tmp_path, changes, given, message):
    with pytest.raises(ValueError, match=message):
        trained(images, dataclasses.replace(SHORT, **changes), **given)


@pytest.mark.parametrize(
    ("settings", "arguments", "error", "message"),
    [
        ({"bits": 8}, {}, TypeError, "train: expected settings of a recipe, SupervisedSettings say, got dict"),
        (SGHSettings(), {"network": nn.Flatten()}, ValueError, "train: expected no network for SGHSettings"),
        (IGANSettings(), {"loss": own_function}, ValueError, "train: expected no loss for IGANSettings"),
        (SHORT, {"dataset": "digits"}, TypeError, "train: expected dataset to be a Dataset, or a tuple .*, got str"),
        (SHORT, {"parts": [1]}, TypeError, "train: expected parts to be a Parts, or a tuple of them, got list"),
    ],
)
def test_arguments_of_another_kind_are_refused(tmp_path, settings, arguments, error, message):
    with pytest.raises(error, match=message):
        train(settings, out=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_a_recipe_of_two_domains_takes_two_data_sets(images):
    with pytest.raises(ValueError, match="train: expected dataset for source and target, 2, got 1"):
        train(IGANSettings(), dataset=images)
