"""The recipes without labels: the autoencoders, SGH, SSDH and their commands."""

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
from fasthash.data import Dataset, ImageFiles, load_dataset
from fasthash.recipes import autoencoder, sgh, ssdh
from fasthash.recipes.autoencoder import train_autoencoder
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import Split, split
from fasthash.recipes.settings import DISTANCES, AutoencoderSettings, SGHSettings
from fasthash.recipes.sgh import train_sgh
from fasthash.recipes.ssdh import (
    SSDHSettings,
    cosine_distances,
    semantic_structure,
    structure_bounds,
    structure_loss,
    train_ssdh,
)

SHORT = AutoencoderSettings(dataset="digits", protocol="digits-v1", bits=16, epochs=3, learning_rate=1e-3)
IN_SHORT = {"dataset": "digits", "protocol": "digits-v1", "bits": 16, "epochs": 3}
RECIPES = {
    "idr": (train_autoencoder, dataclasses.replace(SHORT, target="bernoulli")),
    "swd": (train_autoencoder, dataclasses.replace(SHORT, distance="swd", n_projections=20)),
    "wgan": (train_autoencoder, dataclasses.replace(SHORT, distance="wgan", steps="sum")),
    "sgh": (train_sgh, SGHSettings(**IN_SHORT, batch_size=50)),
    "ssdh": (train_ssdh, SSDHSettings(**IN_SHORT, learning_rate=1e-3)),
}


@pytest.fixture(scope="module")
def images():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def features(images):
    return Dataset(
        "features", images.items.reshape(-1, 64).astype(np.float32) / 40 + 7, images.labels, {}, tuple("0123456789")
    )


def training(dataset, settings, module=autoencoder):
    return module._Training(settings, dataset, None, None, torch.device("cpu"))


def batch_of(dataset, n=64):
    return torch.from_numpy(dataset.items[:n]), torch.from_numpy(dataset.labels[:n]), torch.arange(n)


def weights_of(module):
    return [tensor.clone() for tensor in module.parameters()]


def moved(before, module):
    return any(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("distance", ["idr", "ot", "swd"])
def test_steps_of_each_distance_bring_outputs_to_bits(images, distance, activation):
    settings = dataclasses.replace(
        SHORT, distance=distance, activation=activation, weight=1.0, learning_rate=3e-3, n_projections=50
    )
    learner = training(images, settings)
    learner.turns = ["match"]
    squash, values = (torch.tanh, (-1.0, 1.0)) if activation == "tanh" else (torch.sigmoid, (0.0, 1.0))

    def distance_to_bits():
        with torch.no_grad():
            return float(fh.hswd(squash(learner.encoder(batch_of(images, 500)[0])), values=values))

    before = distance_to_bits()
    for number in range(80):
        learner._step(number, *(x[number % 4 :: 4] for x in batch_of(images, 500)))
    assert distance_to_bits() < 0.8 * before


@pytest.mark.slow
@pytest.mark.parametrize("distance", ["wgan", "js"])
def test_a_critic_finds_a_distance_and_the_encoder_lessens_it(images, distance):
    learner = training(images, dataclasses.replace(SHORT, distance=distance, weight=1.0))
    items, labels, indices = batch_of(images, 200)
    bits = torch.randint(0, 2, (200, 16), generator=torch.Generator().manual_seed(0)).float() * 2 - 1

    def distances():
        with torch.no_grad():
            b = learner.encoder(items).tanh()
            return learner.critic(b, bits).item(), learner.critic.own_loss(b, bits).item()

    start = distances()
    learner.turns = ["criticise"]
    for number in range(60):
        learner._step(number, items, labels, indices)
    criticised = distances()
    assert criticised[1] < start[1]
    assert criticised[0] > start[0]
    learner.turns = ["match"]
    for number in range(5):
        learner._step(number, items, labels, indices)
    assert distances()[0] < criticised[0]


@pytest.mark.parametrize(("distance", "critic_steps"), [("idr", 1), ("ot", 1), ("wgan", 2), ("js", 1)])
def test_steps_take_turns_as_the_authors_have_it(images, distance, critic_steps):
    learner = training(images, dataclasses.replace(SHORT, distance=distance, critic_steps=critic_steps))
    taught = []
    for number in range(2 * (6 + critic_steps)):
        before = {name: weights_of(part) for name, part in learner.parts.items() if "optimizer" not in name}
        learner._step(number, *batch_of(images))
        taught.append({name for name, weights in before.items() if moved(weights, learner.parts[name])})
    adversary = [{"critic"}] * critic_steps if distance in ("wgan", "js") else []
    turns = [{"encoder", "decoder"}] * 5 + adversary + [{"encoder"}]
    assert taught == (turns * 3)[: len(taught)]


def test_turns_go_on_from_epoch_to_epoch(images):
    learner = training(images, SHORT)  # 7 batches an epoch, 6 turns
    numbers = []
    learner._step = lambda number, *batch: numbers.append(number) or {}
    for epoch in (1, 2):
        learner._epoch(epoch)
    assert numbers == list(range(14))


def test_a_plain_autoencoder_only_reconstructs(images):
    learner = training(images, dataclasses.replace(SHORT, distance="none"))
    for number in range(12):
        assert set(learner._step(number, *batch_of(images))) == {"loss"}


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_the_sum_is_the_papers_equation_11(images, activation):
    settings = dataclasses.replace(SHORT, steps="sum", weight=0.3, activation=activation)
    learner = training(images, settings)
    x = batch_of(images)[0].reshape(64, -1) / 127.5 - 1
    u = learner.encoder(batch_of(images)[0])
    b = u.tanh() if activation == "tanh" else u.sigmoid()
    errors = (learner.decoder(u if activation == "tanh" else b) - x).square().mean()
    train = images.items[split(images, "digits-v1").train].reshape(1000, -1) / 127.5 - 1
    distance = fh.hswd(b, values=(-1.0 if activation == "tanh" else 0.0, 1.0))
    loss = errors / train.var(axis=0).mean() + 0.3 * distance
    expected = torch.autograd.grad(loss, [*learner.encoder.parameters(), *learner.decoder.parameters()])
    terms = learner._step(0, *batch_of(images))
    assert terms["distance"].item() == pytest.approx(distance.item())
    for gradient, weights in zip(expected, learner.optimizer.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(weights.grad, gradient, rtol=1e-3, atol=1e-7)


def test_both_conventions_are_one_distance_but_for_a_factor(images):
    u = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    by_tanh = training(images, SHORT)._distance(u.tanh())
    by_sigmoid = training(images, dataclasses.replace(SHORT, activation="sigmoid"))._distance((2 * u).sigmoid())
    torch.testing.assert_close(by_tanh, 4 * by_sigmoid)


def test_networks_start_as_the_authors_have_it(images):
    learner = training(images, dataclasses.replace(SHORT, distance="wgan"))
    shapes = [tuple(weight.shape) for weight in learner.encoder.parameters() if weight.ndim == 2]
    assert shapes == [(500, 64), (500, 500), (100, 500), (16, 100)]
    shapes = [tuple(weight.shape) for weight in learner.decoder.parameters() if weight.ndim == 2]
    assert shapes == [(100, 16), (500, 100), (500, 500), (64, 500)]
    shapes = [tuple(weight.shape) for weight in learner.critic.parameters() if weight.ndim == 2]
    assert shapes == [(50, 16), (50, 50), (100, 50), (1, 100)]
    for weights in [*learner.encoder.parameters(), *learner.decoder.parameters(), *learner.critic.parameters()]:
        if weights.ndim == 2:
            assert weights.std().item() == pytest.approx(0.02, rel=0.2)
        else:
            assert (weights == 0).all()


def test_wgans_critic_keeps_bounded_weights(images):
    learner = training(images, dataclasses.replace(SHORT, distance="wgan", critic_clamp=0.03))
    for number in range(7):
        learner._step(number, *batch_of(images))
    largest = max(weights.abs().max().item() for weights in learner.critic.parameters())
    assert largest == pytest.approx(0.03)


def test_inputs_are_from_minus_1_to_1_and_keep_the_ratios_of_distances(images, features):
    x = training(images, SHORT)._inputs(torch.from_numpy(images.items))
    assert (x.min(), x.max()) == (-1, 1)
    learner = training(features, SHORT)
    train = torch.from_numpy(features.items[learner.split.train])
    x = learner._inputs(train)
    assert x.abs().max().item() == pytest.approx(1)
    assert x.mean(dim=0).abs().max() < 1e-5
    ratios = torch.pdist(x[:50]) / torch.pdist(train[:50])
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios), rtol=1e-4, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("distance", DISTANCES)
def test_autoencoders_learn(images, distance):
    settings = dataclasses.replace(SHORT, distance=distance, batch_size=32, epochs=12, n_projections=50)
    run = train_autoencoder(settings, dataset=images, device="cpu")
    assert run.history[-1]["loss"] < 0.8 * run.history[0]["loss"]
    assert run.results["mAP"] > 0.25  # 0.1 by chance
    assert ("distance" in run.history[-1]) == (distance != "none")


@pytest.mark.slow
@pytest.mark.parametrize(("train", "settings"), [RECIPES["sgh"], RECIPES["ssdh"]], ids=["sgh", "ssdh"])
def test_other_recipes_learn(images, train, settings):
    run = train(dataclasses.replace(settings, epochs=12), dataset=images, device="cpu")
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    assert run.results["mAP"] > 0.25


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(images, tmp_path, monkeypatch, recipe):
    train, settings = RECIPES[recipe]
    whole = train(settings, dataset=images, device="cpu", out=tmp_path / "whole")
    module = {train_autoencoder: autoencoder, train_sgh: sgh, train_ssdh: ssdh}[train]
    run_step, steps = module._Training._step, []

    def interrupted(self, number, *batch):
        if len(steps) == 17:
            raise KeyboardInterrupt
        steps.append(number)
        return run_step(self, number, *batch)

    monkeypatch.setattr(module._Training, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings, dataset=images, device="cpu", out=tmp_path / "parts")
    monkeypatch.setattr(module._Training, "_step", run_step)
    resumed = train(settings, dataset=images, device="cpu", out=tmp_path / "parts", resume=True)
    for name, tensor in whole.encoder.state_dict().items():
        assert torch.equal(resumed.encoder.state_dict()[name], tensor), name
    assert without_seconds(resumed) == without_seconds(whole)


def without_seconds(run):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in [run.results, *run.history]]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(images, recipe):
    train, settings = RECIPES[recipe]
    settings = dataclasses.replace(settings, epochs=1)
    first, again = (without_seconds(train(settings, dataset=images, device="cpu")) for _ in range(2))
    assert first == again
    assert without_seconds(train(dataclasses.replace(settings, seed=1), dataset=images, device="cpu")) != first


@pytest.mark.slow
def test_the_encoder_is_restored_from_its_file(images, tmp_path):
    run = train_autoencoder(SHORT, dataset=images, out=tmp_path / "run", device="cpu")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"settings.json", "log.csv", "checkpoint.pt", "network.safetensors", "results.json"}
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == run.results
    encoder = HashingNetwork.load(tmp_path / "run" / "network.safetensors")
    items = torch.from_numpy(images.items[:50])
    with torch.no_grad():
        assert torch.equal(fh.pack_bits(encoder(items)), fh.pack_bits(run.encoder(items)))


@pytest.mark.slow
def test_the_last_epoch_is_kept_and_labels_change_nothing_but_the_results(images, tmp_path):
    parts = split(images, "digits-v1")
    shuffled = np.random.default_rng(0).permutation(images.labels)
    other = Dataset("digits", images.items, shuffled, {}, images.class_names)
    run, blind = (train_autoencoder(SHORT, dataset=d, parts=parts, device="cpu") for d in (images, other))
    for name, tensor in run.encoder.state_dict().items():
        assert torch.equal(blind.encoder.state_dict()[name], tensor)
    assert blind.results["mAP"] != run.results["mAP"]


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
    learner = training(dataset_of(rng, images), RECIPES["sgh"][1], sgh)
    for epoch in range(1, 7):
        learner._epoch(epoch)
    items = torch.from_numpy(learner.dataset.items[learner.split.train])
    u = learner.encoder(items)
    shares = (u > 0).double().mean(dim=0)
    assert shares.min() > 0.01
    assert shares.max() < 0.99
    x = (learner._inputs(items) - learner.mean) / learner.deviation
    assert x.mean(dim=0).abs().max() < 1e-4
    assert x.var(dim=0, correction=0).mean().item() == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(u, learner.linear(x), rtol=1e-3, atol=1e-3)


def test_sgh_shrinks_both_matrices(images):
    settings = SGHSettings(**IN_SHORT, weight_decay=0.5, code_weight=0.0)
    learner = training(images, settings, sgh)
    patterns, weights = learner.sgh.patterns.detach().clone(), learner.linear.weight.detach().clone()
    items, labels, indices = batch_of(images)
    x = (learner._inputs(items) - learner.mean) / learner.deviation
    plain = learner.sgh(learner.linear(x), x).item()
    reported = learner._step(0, items, labels, indices)["loss"].item()
    squares = (patterns.square().sum() + weights.square().sum()).item()
    assert reported * 64 == pytest.approx(plain + 0.25 * squares, rel=1e-5)


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


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        (AutoencoderSettings, {"distance": "mmd"}, "train_autoencoder: expected distance to be one of 'idr', 'ot'"),
        (AutoencoderSettings, {"bits": 0}, "expected bits at least 1, got 0"),
        (AutoencoderSettings, {"weight": -0.1}, "expected weight at least 0"),
        (AutoencoderSettings, {"reconstruction_steps": 0}, "expected reconstruction_steps at least 1, got 0"),
        (AutoencoderSettings, {"critic_clamp": 0.0}, "expected critic_clamp above 0"),
        (AutoencoderSettings, {"activation": "relu"}, "expected activation to be one of 'tanh', 'sigmoid'"),
        (SGHSettings, {"code_weight": -1.0}, "train_sgh: expected code_weight at least 0"),
        (SSDHSettings, {"deviations": 0.0}, "train_ssdh: expected deviations above 0"),
    ],
)
def test_settings_are_checked(settings, changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)


@pytest.mark.parametrize("recipe", ["idr", "sgh", "ssdh"])
def test_what_does_not_fit_is_refused_before_training(images, tmp_path, monkeypatch, recipe):
    pytest.importorskip("PIL.Image")
    train, settings = RECIPES[recipe]
    with pytest.raises(ValueError, match="expected batch_size of at most the 1000 training items, got 2000"):
        train(dataclasses.replace(settings, batch_size=2000), dataset=images, out=tmp_path / "a")
    parts = Split(*(np.arange(2),) * 4)
    files = Dataset("files", ImageFiles([Path("a.png"), Path("b.png")]), np.zeros(2, np.int64), {}, ("a",))
    with pytest.raises(ValueError, match="expected features or images in memory, but files is of image files"):
        train(dataclasses.replace(settings, batch_size=1), dataset=files, parts=parts, out=tmp_path / "a")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="expected one process, got 2"):
        train(settings, dataset=images, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_items_that_are_all_the_same_are_refused(images):
    same = Dataset("same", np.ones_like(images.items), images.labels, {}, images.class_names)
    with pytest.raises(ValueError, match="train_autoencoder: expected training items that differ"):
        train_autoencoder(SHORT, dataset=same, device="cpu")


def test_a_loss_that_is_not_finite_stops_the_training(images):
    with pytest.raises(FloatingPointError, match=r"train_sgh: the loss is .* in epoch 1; lower the learning rate"):
        train_sgh(SGHSettings(**IN_SHORT, batch_size=10, learning_rate=1e30), dataset=images, device="cpu")


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
    assert "Error: expected a folder without a training in it, or to resume it" in again.output
    resumed = CliRunner().invoke(main, [*command, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout == result.stdout


def test_a_distance_that_does_not_exist_is_refused_by_the_command(tmp_path):
    result = CliRunner().invoke(main, ["train", "autoencoder", "--distance", "mmd", "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert "'mmd' is not one of 'idr', 'ot', 'swd', 'wgan', 'js', 'none'" in result.output
