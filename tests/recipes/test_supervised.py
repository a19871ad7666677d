"""The supervised recipe."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import fasthash as fh
from fasthash import losses
from fasthash.cli import main
from fasthash.data import Dataset, ImageFiles
from fasthash.hashers import Hasher
from fasthash.losses import LOSSES
from fasthash.recipes import supervised, train
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import PROTOCOLS, Parts, at_random, split
from fasthash.recipes.settings import SupervisedSettings
from fasthash.recipes.supervised import (
    BestEpoch,
    SupervisedTraining,
    build_loss,
    build_optimizer,
    fit_rotation,
    validation_splits,
)
from tests.recipes.conftest import interrupted_after, training, without_seconds

SHORT = SupervisedSettings(dataset="digits", protocol="digits-v1", network="mlp", bits=16, epochs=6, validate_every=2)


def trained(dataset, settings=SHORT, **arguments):
    return train(settings, dataset=dataset, device="cpu", **arguments)


@pytest.mark.slow
def test_image_files_are_brought_to_one_size(torchvision_models, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    paths = []
    for i in range(40):
        size = (300 + i, 280) if i % 2 else (120, 400)
        paths.append(tmp_path / f"{i}.png")
        image_module.new("RGB", size, (250, 0, 0) if i % 4 < 2 else (0, 0, 250)).save(paths[-1])
    labels = np.arange(40) % 4 // 2
    parts = Parts(np.arange(16), np.arange(16, 24), np.arange(24, 28), np.arange(28, 40))
    dataset = Dataset("files", ImageFiles(paths), labels, {}, ("red", "blue"))
    settings = SupervisedSettings(network="vgg11", bits=8, epochs=8, batch_size=8, method="csq", learning_rate=0.05)
    run = train(settings, dataset=dataset, parts=parts, device="cpu", workers=1)
    assert run.network.item_shape == (256, 256, 3)
    assert run.results["mAP"] == 1
    with pytest.raises(ValueError, match="expected a network of ImageNet .* for image files"):
        train(dataclasses.replace(settings, network="cnn"), dataset=dataset, parts=parts, device="cpu")


def test_every_loss_has_a_name():
    kinds = [getattr(fh.losses, name) for name in fh.losses.__all__]
    methods = {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, fh.losses.HashingLoss)}
    assert set(LOSSES.values()) == methods - {fh.losses.HashingLoss}


@pytest.mark.slow
@pytest.mark.parametrize("method", LOSSES)
def test_every_method_learns(images, method):
    run = trained(images, dataclasses.replace(SHORT, method=method, epochs=12))
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    assert run.results["mAP"] > (0.3 if method == "dbdh" else 0.4)  # an untrained network: 0.25
    assert 0 < run.results["quantization_angle"] < np.pi / 2
    assert 0 < run.results["bit_entropy"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["none", "original", "swd", "hswd"])
def test_methods_learn_from_items_of_several_labels(many_labels, quantization, monkeypatch):
    monkeypatch.setitem(PROTOCOLS._own, "test-v1", at_random(200, 50, 50, map_at=40))
    settings = dataclasses.replace(SHORT, protocol="test-v1", method="hashnet", quantization=quantization, epochs=20)
    assert trained(many_labels, dataclasses.replace(settings, batch_size=50)).results["mAP"] > 0.8


def test_hswd_brings_outputs_closer_to_bits(images):
    runs = {
        name: trained(images, dataclasses.replace(SHORT, method="dhn", quantization=name, quantization_weight=None))
        for name in ("none", "hswd")
    }
    assert runs["hswd"].results["quantization_angle"] < runs["none"].results["quantization_angle"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:train. the codes have collapsed")  # of few steps of a network with batch norms
@pytest.mark.parametrize("method", ["csq", "dsdh", "greedyhash", "hashnet"])
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(images, tmp_path, monkeypatch, method):
    settings = dataclasses.replace(SHORT, method=method, network="cnn", augmentation="crop", rotation="h2q")
    whole = trained(images, settings, out=tmp_path / "whole")

    go_on = interrupted_after(monkeypatch, SupervisedTraining, 40)
    with pytest.raises(KeyboardInterrupt):
        trained(images, settings, out=tmp_path / "parts")
    go_on()
    resumed = trained(images, settings, out=tmp_path / "parts", resume=True)

    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], tensor), name
    assert without_seconds(resumed) == without_seconds(whole)


def test_the_folder_of_a_training_holds_what_is_needed_later(images, tmp_path):
    run = trained(images, dataclasses.replace(SHORT, rotation="itq"), out=tmp_path / "run")
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {
        "settings.json",
        "log.csv",
        "checkpoint.pt",
        "network.safetensors",
        "rotation.safetensors",
        "results.json",
    }
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == run.results
    log = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert log[0] == "epoch,loss,similarity,quantization,seconds,validation_mAP,hswd,swd"
    assert len(log) == 1 + SHORT.epochs
    items = torch.from_numpy(images.items[:20])
    network = HashingNetwork.load(tmp_path / "run" / "network.safetensors")
    rotation = Hasher.load(tmp_path / "run" / "rotation.safetensors")
    with torch.no_grad():
        assert torch.equal(rotation.encode(network(items)), run.rotation.encode(run.network(items)))


@pytest.mark.slow
def test_the_epoch_that_did_best_on_the_validation_items_is_kept(images):
    run = trained(images)
    values = {row["epoch"]: row["validation_mAP"] for row in run.history if "validation_mAP" in row}
    assert list(values) == [2, 4, 6]
    assert run.results["validation_mAP"] == max(values.values()) == values[run.results["epoch"]]


def test_a_folder_with_a_training_is_not_overwritten(images, tmp_path):
    trained(images, dataclasses.replace(SHORT, epochs=1), out=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match="without a training in it, or to resume it"):
        trained(images, dataclasses.replace(SHORT, epochs=1), out=tmp_path)
    with pytest.raises(ValueError, match=r"bits: 16 there, 8 now.*epochs: 1 there, 6 now"):
        trained(images, dataclasses.replace(SHORT, bits=8), out=tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_does_not_fit_the_data_is_refused_before_training(images, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="expected batch_size of at most the 1000 training items, got 2000"):
        trained(images, dataclasses.replace(SHORT, batch_size=2000), out=tmp_path / "a")
    with pytest.raises(ValueError, match=r"expected arguments of cel \(.*\), got alpha"):
        trained(images, dataclasses.replace(SHORT, method="cel", loss_arguments={"alpha": 1}), out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("augmentation", ["crop", "flip-crop"])
def test_features_cannot_be_augmented(features, augmentation, tmp_path):
    settings = dataclasses.replace(SHORT, augmentation=augmentation)
    message = f"^train: expected augmentation 'none' for features, which are not images, got '{augmentation}'$"
    with pytest.raises(ValueError, match=message):
        trained(features, settings, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_loss_that_is_not_finite_stops_the_training(images):
    settings = dataclasses.replace(SHORT, method="dpsh", optimizer="sgd", learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="in epoch 1; lower the learning rate"):
        trained(images, settings)


def test_the_last_layer_of_imagenet_s_networks_starts_from_small_weights(images, torchvision_models):
    head = training(images, dataclasses.replace(SHORT, network="vgg11", bits=2000, method="dch")).network.head
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert abs(head.weight.mean().item()) < 5e-4
    assert not head.bias.any()
    assert training(images, SHORT).network.head.bias.any()


@pytest.mark.parametrize("method", ["dch", "hashnet", "wglhh"])
def test_pairs_weigh_by_the_training_items(images, method):
    learner = training(images, dataclasses.replace(SHORT, method=method))
    assert learner.loss.similar_share == pytest.approx(0.1)  # a hundred items of each of ten classes


def test_loss_arguments_reach_the_loss():
    loss = build_loss("wglhh", 16, 10, torch.zeros(4, dtype=torch.int64), alpha=0.5, quantization="hswd")
    assert loss.alpha == 0.5
    assert loss.quantization == "hswd"


@pytest.mark.slow
def test_bfloat16_trains(images):
    assert trained(images, dataclasses.replace(SHORT, precision="bfloat16", network="cnn")).results["mAP"] > 0.4


def test_a_schedule_and_shares_of_the_learning_rate(images):
    settings = dataclasses.replace(SHORT, backbone_rate=0.0, network="mlp", optimizer="sgd", weight_decay=0.0)
    start = HashingNetwork("mlp", (8, 8), 16)
    run = trained(images, settings)
    torch.manual_seed(0)
    assert start.backbone[1].weight.shape == run.network.backbone[1].weight.shape
    frozen = trained(images, dataclasses.replace(settings, epochs=1, validate_every=1))
    assert torch.equal(frozen.network.backbone[1].weight, run.network.backbone[1].weight)
    assert not torch.equal(frozen.network.head.weight, run.network.head.weight)


def test_rotations_keep_distances_between_outputs():
    u = torch.randn(300, 16, generator=torch.Generator().manual_seed(0)) + 0.3
    for name in ("itq", "h2q"):
        z = fit_rotation(name, u).transform(u)
        assert torch.allclose(torch.pdist(z), torch.pdist(u), atol=1e-4)
    assert fit_rotation("none", u) is None


def test_the_command_trains_and_resumes(tmp_path):
    options = ["--dataset", "digits", "--protocol", "digits-v1", "--network", "mlp", "--epochs", "2", "--bits", "16"]
    options += ["--method", "wglhh", "--loss-arguments", "alpha=0.2", "--rotation", "h2q", "--device", "cpu"]
    command = ["train", "supervised", *options, "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "mAP" in result.output
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["loss_arguments"] == {"alpha": 0.2}
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert "Error: train: expected a folder without a training in it, or to resume it" in again.output
    resumed = CliRunner().invoke(main, [*command, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout == result.stdout
    bad = CliRunner().invoke(main, [*command, "--loss-arguments", "alpha=x"])
    assert bad.exit_code == 2
    assert "expected NAME=NUMBER, got 'alpha=x'" in bad.output


def steps_of(settings, weight, gradients):
    """The weights of a layer after steps on given gradients."""
    network = torch.nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(weight))
    optimizer = build_optimizer(settings, network, torch.nn.Identity())
    for gradient in gradients:
        network.weight.grad = torch.from_numpy(gradient)
        optimizer.step()
    return network.weight.detach().numpy()


def test_sgd_has_nesterovs_momentum_and_decays_weights(rng):
    w, gradients = rng.standard_normal((1, 3)), rng.standard_normal((3, 1, 3))
    rate, decay = 0.1, 0.3
    settings = SupervisedSettings(optimizer="sgd", learning_rate=rate, weight_decay=decay)
    found = steps_of(settings, w, gradients)
    velocity = np.zeros_like(w)
    for gradient in gradients:
        g = gradient + decay * w
        velocity = 0.9 * velocity + g
        w = w - rate * (g + 0.9 * velocity)
    np.testing.assert_allclose(found, w, rtol=1e-12)


def test_adam_has_an_l2_penalty(rng):
    w, gradients = rng.standard_normal((1, 3)), rng.standard_normal((3, 1, 3))
    rate, decay = 0.1, 0.3
    found = steps_of(SupervisedSettings(learning_rate=rate, weight_decay=decay), w, gradients)
    mean, square = np.zeros_like(w), np.zeros_like(w)
    for step, gradient in enumerate(gradients, start=1):
        g = gradient + decay * w
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        w = w - rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    np.testing.assert_allclose(found, w, rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_backbone_has_its_share_of_the_learning_rate(optimizer):
    settings = SupervisedSettings(optimizer=optimizer, learning_rate=0.4, backbone_rate=0.25)
    network, loss = HashingNetwork("mlp", (5,), 8), torch.nn.Linear(8, 3)
    groups = build_optimizer(settings, network, loss).param_groups
    assert [group["lr"] for group in groups] == [0.1, 0.4]
    found = [{id(weights) for weights in group["params"]} for group in groups]
    others = [*network.head.parameters(), *loss.parameters()]
    assert found == [{id(w) for w in weights} for weights in (network.backbone.parameters(), others)]


def test_the_split_seed_decides_who_asks_and_validates(images):
    first, again, other = (training(images, dataclasses.replace(SHORT, split_seed=seed)) for seed in (1, 1, 2))
    same_parts = training(images, dataclasses.replace(SHORT, split_seed=7), first.parts)
    for positions in (
        [each.query.positions for each in (first, again, other)],
        [each.validation_splits[0][0] for each in (first, again, same_parts)],
    ):
        assert np.array_equal(*positions[:2])
        assert not np.array_equal(*positions[1:])


@pytest.mark.parametrize(("n", "share", "n_asked"), [(200, 0.2, 40), (1000, 0.1, 100), (3, 0.9, 2), (2, 0.1, 1)])
def test_validation_splits(n, share, n_asked):
    settings = dataclasses.replace(SHORT, validation_splits=3, validation_share=share)
    splits = validation_splits(n, settings)
    assert [len(asked) for asked, _ in splits] == [n_asked] * 3
    assert all(np.array_equal(np.sort(np.concatenate(split)), np.arange(n)) for split in splits)
    if n > 3:
        assert not np.array_equal(splits[0][0], splits[1][0])


def test_the_log_has_the_terms_and_the_distances_to_bits(images):
    settings = dataclasses.replace(SHORT, method="dhn", quantization="hswd", epochs=2, validate_every=2)
    run = trained(images, settings)
    for row in run.history:
        assert row["loss"] == pytest.approx(row["similarity"] + 0.1 * row["quantization"])
    u = run.network(torch.from_numpy(images.items[run.parts.validation])).detach()
    assert run.results["epoch"] == 2
    assert run.history[1]["hswd"] == pytest.approx(losses.HSWD()(u).item(), rel=1e-5)
    directions = torch.Generator().manual_seed(0)
    assert run.history[1]["swd"] == pytest.approx(losses.SlicedWasserstein()(u, generator=directions).item(), rel=1e-4)
    bare = trained(images, dataclasses.replace(settings, quantization="none"))
    assert "quantization" not in bare.history[0]
    assert bare.history[0]["loss"] == bare.history[0]["similarity"]


class Halved(losses.DHN):
    def forward(self, u, labels, indices=None):
        return super().forward(u, labels, indices) / 2


def test_a_loss_whose_sum_is_another_is_trained_by_it(images):
    learner = training(images, SHORT)
    u = learner.learner.outputs(torch.from_numpy(images.items[:8]))
    batch = u, torch.from_numpy(images.labels[:8]), torch.arange(8)
    learner.learner.loss = losses.DHN()
    whole = learner.learner(*batch)
    learner.learner.loss = Halved()
    assert set(whole) == {"loss", "similarity", "quantization"}
    assert learner.learner(*batch) == {"loss": whole["loss"] / 2}


def test_validations_are_averaged_over_splits_by_the_metric_of_the_settings(images):
    rule = {"map_at": 30, "ties": "cosine"}
    settings = dataclasses.replace(SHORT, epochs=1, validation_splits=3, validation_share=0.1, **rule)
    run = trained(images, settings)
    u = run.network(torch.from_numpy(images.items[run.parts.validation])).detach()
    labels, values = torch.from_numpy(images.labels[run.parts.validation]), []
    for asked, searched in validation_splits(len(u), settings):
        codes = [fh.pack_bits(u[x]) for x in (asked, searched)]
        values.append(
            fh.evaluate.mean_average_precision(
                *(codes[0], labels[asked], codes[1], labels[searched]),
                **{"at": 30, "ties": "cosine", "query_embeddings": u[asked], "embeddings": u[searched]},
            )
        )
    assert run.results["validation_mAP"] == pytest.approx(np.mean(values))
    query, database = (
        run.network(torch.from_numpy(images.items[x])).detach() for x in (run.parts.query, run.parts.database)
    )
    retrieval = (fh.pack_bits(query), images.labels[run.parts.query], fh.pack_bits(database))
    expected = fh.evaluate.mean_average_precision(
        *retrieval, images.labels[run.parts.database], at=30, ties="cosine", query_embeddings=query, embeddings=database
    )
    assert run.results["mAP"] == pytest.approx(expected)
    of_all = trained(images, dataclasses.replace(settings, map_at=0, ties="expected"))
    assert run.results["mAP"] != pytest.approx(of_all.results["mAP"], abs=1e-3)


def test_patience_ends_a_training_also_one_that_is_resumed(images, tmp_path, monkeypatch):
    settings = dataclasses.replace(SHORT, epochs=12, validate_every=1, patience=3, network="linear")
    values = iter([0.1, 0.5, 0.4, 0.5, 0.2, 0.9])
    monkeypatch.setattr(supervised, "mean_average_precision", lambda *arguments, **named: next(values))
    run = trained(images, settings, out=tmp_path)
    assert len(run.history) == 5
    assert run.results["epoch"] == 2
    assert trained(images, settings, out=tmp_path, resume=True).history == run.history


def test_patience_that_is_shorter_than_from_one_validation_to_the_next(images, monkeypatch):
    """It runs out at a validation that went no better, not before there was one."""
    settings = dataclasses.replace(SHORT, epochs=20, validate_every=4, patience=2, network="linear")
    values = iter([0.1, 0.5, 0.4, 0.9])
    monkeypatch.setattr(supervised, "mean_average_precision", lambda *arguments, **named: next(values))
    run = trained(images, settings)
    assert len(run.history) == 12
    assert run.results["epoch"] == 8


def test_patience_without_validation_is_refused(images):
    parts = dataclasses.replace(split(images, SHORT.protocol), validation=np.array([], np.int64))
    with pytest.raises(ValueError, match="train: expected validation items to have patience with, got 0 of"):
        trained(images, dataclasses.replace(SHORT, patience=3), parts=parts)


def test_a_network_whose_state_is_no_tensors_is_refused_before_any_work(images):
    class Noting(torch.nn.Linear):
        def get_extra_state(self):
            return {"note": "made by hand"}

        def set_extra_state(self, state):
            pass

    network = torch.nn.Sequential(torch.nn.Flatten(), Noting(images.items[0].size, SHORT.bits))
    with pytest.raises(TypeError, match="expected network to have a state of tensors, got 1._extra_state of dict"):
        trained(images, dataclasses.replace(SHORT, network="cnn"), network=network)


def test_an_argument_that_the_loss_refuses_is_named(images):
    settings = dataclasses.replace(SHORT, method="dsdh", loss_arguments={"mu": 0.1, "seed": 1.5})
    with pytest.raises(TypeError, match=r"expected loss_arguments that dsdh takes, got seed=1.5 \(DSDH: expected"):
        trained(images, settings)


def test_numpys_numbers_are_kept_as_pythons(images, tmp_path):
    numbers = {"learning_rate": np.float32(0.5), "weight_decay": np.float64(0), "epochs": np.int64(1)}
    arguments = {"alpha": np.float32(0.25)}
    settings = dataclasses.replace(SHORT, method="wglhh", loss_arguments=arguments, **numbers)
    trained(images, settings, out=tmp_path)
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert (kept["learning_rate"], kept["epochs"], kept["loss_arguments"]) == (0.5, 1, {"alpha": 0.25})


def test_tanh_is_between_the_outputs_and_the_loss(images):
    settings = dataclasses.replace(SHORT, method="dhn", activation="tanh", epochs=3)
    learner = training(images, settings)
    items, labels = torch.from_numpy(images.items[:8]), torch.from_numpy(images.labels[:8])
    loss = learner.learner(learner.learner.outputs(items), labels, torch.arange(8))["loss"]
    torch.testing.assert_close(loss, losses.DHN()(learner.network(items).tanh(), labels))
    run = trained(images, settings)
    u = run.network(torch.from_numpy(images.items[run.parts.database])).detach()
    assert run.results["quantization_angle"] == pytest.approx(fh.evaluate.quantization_angle(u.tanh()))
    assert run.results["bit_entropy"] == pytest.approx(float(fh.evaluate.bit_entropy(fh.pack_bits(u)).mean()))


def test_items_are_standardised_by_those_that_train(images):
    learner = training(images, SHORT)
    items = images.items[learner.parts.train].astype(np.float64) / 255
    torch.testing.assert_close(learner.network.mean.double(), torch.tensor([items.mean()]), rtol=1e-6, atol=0)
    torch.testing.assert_close(learner.network.deviation.double(), torch.tensor([items.std()]), rtol=1e-6, atol=0)
    assert learner.network.mean.item() != pytest.approx(images.items.mean() / 255, rel=1e-6)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_learning_rates_follow_the_schedule(images, schedule):
    settings = dataclasses.replace(SHORT, epochs=4, learning_rate=0.2, backbone_rate=0.5, schedule=schedule)
    learner, rates = training(images, settings), []
    for epoch in range(1, 5):
        learner.begin_epoch(epoch)
        rates.append([group["lr"] for group in learner.optimizer.param_groups])
    factors = [1.0] * 4 if schedule == "constant" else [0.5 * (1 + math.cos(math.pi * e / 4)) for e in range(4)]
    np.testing.assert_allclose(rates, [[0.1 * factor, 0.2 * factor] for factor in factors])


def test_the_last_epoch_is_kept_where_nothing_validates(images):
    parts = split(images, "digits-v1")
    parts = dataclasses.replace(parts, validation=parts.validation[:0])
    run = trained(images, dataclasses.replace(SHORT, epochs=4), parts=parts)
    assert run.results["epoch"] == 4
    assert "validation_mAP" not in run.results


def test_of_epochs_that_do_as_well_the_first_is_kept():
    best, network = BestEpoch(), torch.nn.Linear(2, 2)
    for epoch, value in ((1, 0.2), (2, 0.5), (3, 0.5), (4, 0.1)):
        best.keep(epoch, value, network)
    assert (best.epoch, best.value) == (2, 0.5)


class Scaled(torch.nn.Module):
    def forward(self, images):
        return torch.nn.functional.dropout(images.flatten(1) / 255, 0.2, self.training)


def test_the_seed_decides_order_dropout_and_rotation(images):
    def loss_of(seed):
        torch.manual_seed(0)
        network = torch.nn.Sequential(Scaled(), torch.nn.Linear(64, 16))
        settings = SupervisedSettings(protocol="digits-v1", bits=16, epochs=1, seed=seed)
        return trained(images, settings, network=network, loss=losses.CSQ(16, 10)).history[0]["loss"]

    assert loss_of(1) == loss_of(1) != loss_of(2)
    u = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    rotations = [fit_rotation("itq", u, seed).projection_ for seed in (1, 1, 2)]
    assert torch.equal(*rotations[:2])
    assert not torch.equal(*rotations[1:])


def test_bfloat16_is_the_networks_and_not_the_losss(images, monkeypatch):
    learner = training(images, dataclasses.replace(SHORT, precision="bfloat16"))
    seen = {}
    learner.network.head.register_forward_hook(lambda module, inputs, output: seen.update(network=output.dtype))
    monkeypatch.setattr(learner.loss, "similarity", lambda u, labels: (seen.update(loss=u.dtype), u.sum())[1])
    u = learner.learner.outputs(torch.from_numpy(images.items[:8]))
    learner.learner(u, torch.from_numpy(images.labels[:8]), torch.arange(8))
    assert seen == {"network": torch.bfloat16, "loss": torch.float32}


def test_a_loss_without_a_quantisation_term_takes_none(monkeypatch):
    monkeypatch.setattr(LOSSES, "_own", dict(LOSSES._own))
    LOSSES.register("plain", lambda n_bits: lambda u, labels: u.sum())
    labels = torch.zeros(4, dtype=torch.int64)
    loss = build_loss("plain", 8, 2, labels, quantization="original", quantization_weight=None)
    assert loss(torch.ones(2, 3), labels) == 6
    with pytest.raises(ValueError, match=r"expected arguments of plain \(none\), got quantization"):
        build_loss("plain", 8, 2, labels, quantization="hswd")
    with pytest.raises(ValueError, match=r"expected arguments of plain \(none\), got quantization_weight"):
        build_loss("plain", 8, 2, labels, quantization_weight=0.5)


def test_seconds_are_those_of_all_epochs(images):
    run = trained(images, dataclasses.replace(SHORT, epochs=3))
    assert run.results["seconds"] == pytest.approx(sum(row["seconds"] for row in run.history))


def test_the_seed_decides_the_order_of_items(images):
    def order(seed, epoch=1):
        batches = training(images, dataclasses.replace(SHORT, seed=seed)).batches(epoch)
        return torch.cat([indices for _, _, indices in batches])

    assert torch.equal(order(1), order(1))
    assert not torch.equal(order(1), order(2))
    assert not torch.equal(order(1), order(1, epoch=2))
