"""What holds for every recipe without labels."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import fasthash as fh
from fasthash.cli import main
from fasthash.data import Dataset, ImageFiles
from fasthash.plugins import located
from fasthash.recipes import entry, train
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import Parts, split
from fasthash.recipes.ranks import Ranks
from fasthash.recipes.settings import AutoencoderSettings, SGHSettings, SSDHSettings
from tests.recipes.conftest import interrupted_after, training, without_seconds

pytestmark = pytest.mark.filterwarnings("ignore:train. the codes have collapsed")  # after few steps

SHORT = AutoencoderSettings(dataset="digits", protocol="digits-v1", bits=16, epochs=3)
IN_SHORT = {"dataset": "digits", "protocol": "digits-v1", "bits": 16, "epochs": 3}
SETTINGS = {
    "idr": dataclasses.replace(SHORT, target="bernoulli"),
    "swd": dataclasses.replace(SHORT, distance="swd", n_projections=20),
    "wgan": dataclasses.replace(SHORT, distance="wgan", steps="sum"),
    "sgh": SGHSettings(**IN_SHORT, batch_size=50),
    "ssdh": SSDHSettings(**IN_SHORT, batch_size=128),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["sgh", "ssdh"])
def test_other_recipes_learn(images, recipe):
    run = train(dataclasses.replace(SETTINGS[recipe], epochs=12), dataset=images, device="cpu")
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    assert run.results["mAP"] > 0.25


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SETTINGS)
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(images, tmp_path, monkeypatch, recipe):
    settings = SETTINGS[recipe]
    whole = train(settings, dataset=images, device="cpu", out=tmp_path / "whole")
    go_on = interrupted_after(monkeypatch, located(settings.training), 17)
    with pytest.raises(KeyboardInterrupt):
        train(settings, dataset=images, device="cpu", out=tmp_path / "parts")
    go_on()
    resumed = train(settings, dataset=images, device="cpu", out=tmp_path / "parts", resume=True)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], tensor), name
    assert without_seconds(resumed) == without_seconds(whole)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SETTINGS)
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(images, recipe):
    settings = SETTINGS[recipe]
    settings = dataclasses.replace(settings, epochs=1)
    first, again = (without_seconds(train(settings, dataset=images, device="cpu")) for _ in range(2))
    assert first == again
    assert without_seconds(train(dataclasses.replace(settings, seed=1), dataset=images, device="cpu")) != first


@pytest.mark.slow
def test_the_encoder_is_restored_from_its_file(images, tmp_path):
    run = train(SHORT, dataset=images, out=tmp_path / "run", device="cpu")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"settings.json", "log.csv", "checkpoint.pt", "network.safetensors", "results.json"}
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == run.results
    encoder = HashingNetwork.load(tmp_path / "run" / "network.safetensors")
    items = torch.from_numpy(images.items[:50])
    with torch.no_grad():
        assert torch.equal(fh.pack_bits(encoder(items)), fh.pack_bits(run.network(items)))


@pytest.mark.slow
def test_the_last_epoch_is_kept_and_labels_change_nothing_but_the_results(images, tmp_path):
    parts = split(images, "digits-v1")
    shuffled = np.random.default_rng(0).permutation(images.labels)
    other = Dataset("digits", images.items, shuffled, {}, images.class_names)
    run, blind = (train(SHORT, dataset=d, parts=parts, device="cpu") for d in (images, other))
    for name, tensor in run.network.state_dict().items():
        assert torch.equal(blind.network.state_dict()[name], tensor)
    assert blind.results["mAP"] != run.results["mAP"]


@pytest.mark.parametrize("recipe", ["idr", "sgh", "ssdh"])
def test_what_does_not_fit_is_refused_before_training(images, tmp_path, monkeypatch, recipe):
    pytest.importorskip("PIL.Image")
    settings = SETTINGS[recipe]
    with pytest.raises(ValueError, match="expected batch_size of at most the 1000 training items, got 2000"):
        train(dataclasses.replace(settings, batch_size=2000), dataset=images, out=tmp_path / "a")
    parts = Parts(np.arange(1), np.arange(0), np.arange(1, 2), np.arange(1))
    files = Dataset("files", ImageFiles([Path("a.png"), Path("b.png")]), np.zeros(2, np.int64), {}, ("a",))
    with pytest.raises(ValueError, match="expected features or images in memory for .*, but files is of image files"):
        train(dataclasses.replace(settings, batch_size=1), dataset=files, parts=parts, out=tmp_path / "a")
    monkeypatch.setattr(entry, "join_ranks", lambda device: (torch.device("cpu"), Ranks(0, 3)))
    with pytest.raises(ValueError, match="expected batches of a multiple of the 3 processes, got [0-9]+ items"):
        train(settings, dataset=images, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_loss_that_is_not_finite_stops_the_training(images):
    with pytest.raises(FloatingPointError, match=r"train: the loss is .* in epoch 1; lower the learning rate"):
        train(SGHSettings(**IN_SHORT, batch_size=10, learning_rate=1e30), dataset=images, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("command", [["autoencoder", "--distance", "ot", "--steps", "sum"], ["sgh"], ["ssdh"]])
def test_the_commands_train_and_resume(tmp_path, command):
    options = ["--dataset", "digits", "--protocol", "digits-v1", "--epochs", "2", "--bits", "8", "--batch-size", "100"]
    command = ["train", *command, *options, "--device", "cpu", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "precision_at_1000" in result.output
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert "Error: train: expected a folder without a training in it, or to resume it" in again.output
    resumed = CliRunner().invoke(main, [*command, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout == result.stdout


def test_a_distance_that_does_not_exist_is_refused_by_the_command(tmp_path):
    result = CliRunner().invoke(main, ["train", "autoencoder", "--distance", "mmd", "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert "'mmd' is not one of 'idr', 'ot', 'swd', 'wgan', 'js', 'none'" in result.output


def test_inputs_are_from_minus_1_to_1_and_keep_the_ratios_of_distances(images, features):
    x = training(images, SHORT).inputs(torch.from_numpy(images.items))
    assert (x.min(), x.max()) == (-1, 1)
    learner = training(features, SHORT)
    items = torch.from_numpy(features.items[learner.parts.train])
    x = learner.inputs(items)
    assert x.abs().max().item() == pytest.approx(1)
    assert x.mean(dim=0).abs().max() < 1e-5
    ratios = torch.pdist(x[:50]) / torch.pdist(items[:50])
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios), rtol=1e-4, atol=0)
