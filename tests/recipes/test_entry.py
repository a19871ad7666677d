"""What `train` refuses before it trains, and what it does not resume."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from fasthash.recipes import IGANSettings, Parts, SGHSettings, train
from tests.recipes.conftest import SHORT, OwnLoss, OwnNetwork, own_function, trained


def test_another_network_or_loss_does_not_resume_a_training(images, tmp_path):
    trained(images, out=tmp_path)
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["given_network"] == "tests.recipes.conftest.OwnNetwork"
    assert settings["given_loss"] == "tests.recipes.conftest.own_function"
    with pytest.raises(ValueError, match=r"given_loss: '.*own_function' there, '.*OwnLoss' now"):
        trained(images, out=tmp_path, resume=True, loss=OwnLoss())
    with pytest.raises(ValueError, match=r"given_network: '.*OwnNetwork' there, None now"):
        trained(images, out=tmp_path, resume=True, network=None)


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


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"loss": lambda u, labels: None}, TypeError, "expected loss to return a scalar tensor, got NoneType"),
        ({"loss": lambda u, labels: 0.5}, TypeError, "expected loss to return a scalar tensor, got float"),
        (
            {"loss": lambda u, labels: u.detach().sum()},
            ValueError,
            "expected loss to have a gradient in what is trained",
        ),
        ({"loss": lambda u, labels: u.mean() * torch.nan}, FloatingPointError, "the loss is nan in epoch 1"),
        ({"loss": "csq"}, TypeError, "expected loss to be a module or a function, got str"),
        ({"network": lambda x: x}, TypeError, "expected network to be an nn.Module, got function"),
        (
            {"network": nn.Flatten()},
            ValueError,
            "expected parameters to train, got a network and a loss that",
        ),
        ({"network": OwnNetwork().requires_grad_(False)}, ValueError, "expected loss to have a gradient"),
        ({"device": "gpu"}, ValueError, "expected device to be a device of this machine, got 'gpu'"),
        ({"device": "cuda:7"}, ValueError, "expected device to be a device of this machine, got 'cuda:7'"),
        ({"workers": -1}, ValueError, "expected workers at least 0, got -1"),
    ],
)
def test_what_cannot_train_is_refused(images, given, error, message):
    with pytest.raises(error, match=f"^train: {message}"):
        train(SHORT, dataset=images, **{"network": OwnNetwork(), "loss": own_function, "device": "cpu", **given})


def positions(*parts):
    return Parts(*(np.array(part, dtype=np.int64) for part in parts))


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        (
            positions(range(200), [], [5000], [300]),
            ValueError,
            "from 0 to 1796 of digits, got query from 5000",
        ),
        (
            positions(range(200), [], [-1], [300]),
            ValueError,
            "from 0 to 1796 of digits, got query from -1 to -1",
        ),
        (positions(range(200), [], [], [300]), ValueError, "parts with at least one item each, got none to search for"),
        (positions(range(200), [], [250], []), ValueError, "parts with at least one item each, got none to search$"),
        (positions(range(200), [], [7], [300]), ValueError, "queries that are in no other part, got item 7 of digits"),
        (
            positions(range(200), [], [300], [300]),
            ValueError,
            "queries that are in no other part, got item 300",
        ),
        (positions(range(200), [7], [300], [301]), ValueError, "validation items that do not train, got item 7"),
        (
            positions(range(200), [], [300, 301, 300], [400]),
            ValueError,
            "parts of distinct positions, got item 300 of digits twice to search for",
        ),
        (positions(np.arange(200)[:, None], [], [300], [301]), TypeError, "int64 positions .*, got train of int64"),
        (Parts([1], [], [2], [3]), TypeError, "int64 positions .*, got train of list"),
    ],
)
def test_parts_that_do_not_fit_are_refused(images, parts, error, message):
    with pytest.raises(error, match=f"^train: expected .*{message}"):
        trained(images, parts=parts)


def test_other_items_or_parts_do_not_resume_a_training(images, tmp_path):
    run = trained(images, out=tmp_path)
    fewer = dataclasses.replace(images, items=images.items[:1700], labels=images.labels[:1700])
    with pytest.raises(ValueError, match="items_of_dataset: '1797 of digits, parts .*' there, '1700 of digits, parts"):
        trained(fewer, out=tmp_path, resume=True)
    parts = dataclasses.replace(run.parts, query=run.parts.query[1:])
    with pytest.raises(ValueError, match="items_of_dataset: '1797 of digits, parts .*' there, '1797 of digits, parts"):
        trained(images, out=tmp_path, resume=True, parts=parts)
    assert trained(images, out=tmp_path, resume=True).results == run.results
