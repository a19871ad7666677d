"""The supervised recipe: splits, networks, trainings that are interrupted and resumed, ranks, the command."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import fasthash as fh
from fasthash.cli import main
from fasthash.data import Dataset, ImageFiles, load_dataset
from fasthash.errors import MissingDependencyError
from fasthash.hashers import Hasher
from fasthash.losses.names import METHODS
from fasthash.recipes import supervised
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import PROTOCOLS, Split, at_random, split
from fasthash.recipes.settings import SupervisedSettings
from fasthash.recipes.supervised import build_loss, fit_rotation, train_supervised
from fasthash.recipes.training import Loaded, write_csv

SHORT = SupervisedSettings(dataset="digits", protocol="digits-v1", network="mlp", bits=16, epochs=6, validate_every=2)


@pytest.fixture(scope="module")
def images():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def many_labels():
    rng = np.random.default_rng(0)
    labels = rng.random((400, 4)) < 0.3
    items = (labels @ rng.standard_normal((4, 12)) + 0.1 * rng.standard_normal((400, 12))).astype(np.float32)
    return Dataset("made", items, labels, {}, tuple("abcd"))


def train(dataset, settings=SHORT, **arguments):
    return train_supervised(settings, dataset=dataset, device="cpu", **arguments)


def counts(dataset, positions):
    return np.bincount(dataset.labels[positions], minlength=dataset.n_classes)


def test_a_split_by_class_has_as_many_of_each_and_no_common_item():
    dataset = Dataset("d", np.zeros((8000, 2), np.float32), np.arange(8000) % 10, {}, tuple("0123456789"))
    parts = split(dataset, "per-class-v1", seed=3)
    assert (counts(dataset, parts.train) == 500).all()
    assert (counts(dataset, parts.query) == 100).all()
    assert (counts(dataset, parts.validation) == 100).all()
    everything = np.concatenate([parts.train, parts.query, parts.validation, parts.database])
    assert np.array_equal(np.sort(everything), np.arange(8000))
    again, other = split(dataset, "per-class-v1", seed=3), split(dataset, "per-class-v1", seed=4)
    assert np.array_equal(parts.train, again.train)
    assert not np.array_equal(parts.train, other.train)


def test_training_items_are_searched_where_the_protocol_says_so(images):
    parts = split(images, "digits-v1")
    assert np.isin(parts.train, parts.database).all()
    assert not np.isin(np.concatenate([parts.query, parts.validation]), parts.database).any()


def test_unsupervised_protocol_trains_on_all_but_the_queries():
    dataset = Dataset("d", np.zeros((30_000, 1), np.float32), np.arange(30_000) % 10, {}, tuple("0123456789"))
    parts = split(dataset, "unsupervised-v1")
    assert len(parts.query) == 10_000
    assert np.array_equal(parts.train, parts.database)
    assert len(parts.train) == 20_000


def test_a_split_at_random_takes_items_of_several_labels(many_labels):
    parts = at_random(200, 50, 30, map_at=100).draw(many_labels, np.random.default_rng(0))
    assert [len(x) for x in (parts.train, parts.query, parts.validation, parts.database)] == [200, 50, 30, 120]
    assert len(np.unique(np.concatenate([parts.train, parts.query, parts.validation, parts.database]))) == 400


def test_published_lists_are_kept():
    published = {"train": np.arange(20), "test": np.arange(20, 30), "database": np.arange(30, 60)}
    dataset = Dataset("d", np.zeros((60, 1), np.float32), np.zeros(60, np.int64), published, ("a",))
    parts = split(dataset, "imagenet100-v1")
    assert np.array_equal(parts.train, np.arange(20))
    assert np.array_equal(parts.database, np.arange(30, 60))
    assert np.array_equal(np.sort(np.concatenate([parts.query, parts.validation])), np.arange(20, 30))
    parts = split(dataset, "published-v1")
    assert len(parts.train) == 18
    assert np.array_equal(parts.query, np.arange(20, 30))
    without = dataclasses.replace(dataset, splits={name: published[name] for name in ("train", "test")})
    assert np.array_equal(split(without, "published-v1").database, split(without, "published-v1").train)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("per-class-v1", "expected more than 700 items of each class, but digits has 178 of class 0"),
        ("coco-v1", "expected more than 20000 items, but digits has 1797"),
        ("imagenet100-v1", "published with a test part; digits has none"),
        ("per-class-v2", "expected protocol to be one of 'per-class-v1'"),
    ],
)
def test_a_split_that_cannot_be_drawn_says_what_is_missing(images, protocol, message):
    with pytest.raises(ValueError, match=message):
        split(images, protocol)


def test_a_split_by_class_refuses_items_of_several_labels(many_labels):
    with pytest.raises(ValueError, match="made has several"):
        split(many_labels, "per-class-v1")


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ("linear", (5,)),
        ("mlp", (5,)),
        ("encoder", (5,)),
        ("linear", (6, 7)),
        ("mlp", (6, 7, 3)),
        ("encoder", (6, 7, 3)),
        ("cnn", (16, 16)),
        ("cnn", (32, 32, 3)),
    ],
)
def test_networks_are_restored_from_their_files(tmp_path, architecture, shape):
    torch.manual_seed(0)
    network = HashingNetwork(architecture, shape, 12).eval()
    items = torch.rand(4, *shape) if len(shape) == 1 else torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    network.standardize(torch.full_like(network.mean, 0.5), torch.full_like(network.deviation, 2))
    u = network(items)
    assert u.shape == (4, 12)
    network.save(tmp_path / "network.safetensors")
    assert torch.equal(HashingNetwork.load(tmp_path / "network.safetensors")(items), u)


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


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["alexnet", "vgg11", "vgg16"])
def test_the_real_networks_of_torchvision(architecture):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    network = HashingNetwork(architecture, (40, 50, 3), 16).eval()
    items = torch.randint(0, 256, (2, 40, 50, 3), dtype=torch.uint8)
    prepared = network.prepare(items)
    whole = models.get_model(architecture, weights=None).eval()
    missing = whole.load_state_dict(network.backbone.state_dict(), strict=False)
    last = f"classifier.{len(whole.classifier) - 1}"
    assert missing.missing_keys == [f"{last}.weight", f"{last}.bias"]
    assert missing.unexpected_keys == []
    features = whole.classifier[:-1](whole.avgpool(whole.features(prepared)).flatten(1))
    u = network(items)
    assert u.shape == (2, 16)
    torch.testing.assert_close(u, network.head(features))
    u.square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize("architecture", ["alexnet", "vgg11", "vgg16"])
def test_networks_of_torchvision_keep_all_but_their_last_layer(torchvision_models, architecture):
    network = HashingNetwork(architecture, (32, 32, 3), 24, pretrained=True).eval()
    assert torchvision_models.calls == [(architecture, "IMAGENET1K_V1")]
    assert network.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert network.head.in_features == 6
    assert network(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).shape == (2, 24)
    HashingNetwork(architecture, (32, 32, 3), 24)
    assert torchvision_models.calls[1] == (architecture, None)


def test_networks_of_torchvision_see_crops_of_three_colours(torchvision_models):
    network = HashingNetwork("alexnet", (256, 256), 8, augmentation="crop")
    image = torch.randint(0, 256, (4, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    middle = image[:, None, 16:240, 16:240].expand(-1, 3, -1, -1) / 255
    assert torch.equal(network.eval().prepare(image), middle)
    torch.manual_seed(0)
    assert not torch.equal(network.train().prepare(image), middle)


@pytest.mark.slow
def test_image_files_are_brought_to_one_size(torchvision_models, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    paths = []
    for i in range(40):
        size = (300 + i, 280) if i % 2 else (120, 400)
        paths.append(tmp_path / f"{i}.png")
        image_module.new("RGB", size, (250, 0, 0) if i % 4 < 2 else (0, 0, 250)).save(paths[-1])
    labels = np.arange(40) % 4 // 2
    parts = Split(np.arange(16), np.arange(16, 24), np.arange(24, 28), np.arange(28, 40))
    dataset = Dataset("files", ImageFiles(paths), labels, {}, ("red", "blue"))
    settings = SupervisedSettings(network="vgg11", bits=8, epochs=8, batch_size=8, method="csq", learning_rate=0.05)
    run = train_supervised(settings, dataset=dataset, parts=parts, device="cpu", workers=1)
    assert run.network.item_shape == (256, 256, 3)
    assert run.results["mAP"] == 1
    with pytest.raises(ValueError, match="expected a network of torchvision for image files"):
        train_supervised(dataclasses.replace(settings, network="cnn"), dataset=dataset, parts=parts, device="cpu")


def test_without_torchvision_or_its_weights_the_error_says_what_to_do(torchvision_models, monkeypatch):
    def unreachable(name, *, weights):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision_models, "get_model", unreachable)
    with pytest.raises(OSError, match="expected the ImageNet weights of vgg16 in torch's cache.*no route to host"):
        HashingNetwork("vgg16", (32, 32, 3), 8, pretrained=True)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'torch-fasthash\[vision\]'"):
        HashingNetwork("vgg16", (32, 32, 3), 8)


def test_images_are_augmented_in_training_alone():
    torch.manual_seed(0)
    network = HashingNetwork("cnn", (8, 8), 4, augmentation="flip-crop")
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8).expand(50, -1, -1)
    plain = network.eval().prepare(image)
    assert torch.equal(plain[0, 0] * 255, image[0].float())
    varied = network.train().prepare(image)
    assert varied.shape == plain.shape
    assert len(torch.unique(varied, dim=0)) > 30
    values = {round(float(x) * 255) for x in varied.unique()}
    assert values <= set(range(64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cnn", (5,), 8), "expected images for cnn"),
        (("mlp", (5, 5, 4), 8), r"expected item_shape \[d\]"),
        (("resnet", (5,), 8), "expected architecture to be one of"),
        (("mlp", (5,), 0), "expected n_bits from 1"),
    ],
)
def test_networks_that_cannot_be_made(arguments, message):
    with pytest.raises(ValueError, match=message):
        HashingNetwork(*arguments)


def test_a_foreign_file_is_no_network(tmp_path, images):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="expected a network written by save"):
        HashingNetwork.load(path)
    fh.hashers.LSH(8).fit(np.eye(8, dtype=np.float32)).save(path)
    with pytest.raises(ValueError, match="expected a file of format 'fasthash network 1'"):
        HashingNetwork.load(path)


def test_every_loss_has_a_name():
    kinds = [getattr(fh.losses, name) for name in fh.losses.__all__]
    methods = {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, fh.losses.HashingLoss)}
    assert {getattr(fh.losses, name) for name in METHODS.values()} == methods - {fh.losses.HashingLoss}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(images, method):
    run = train(images, dataclasses.replace(SHORT, method=method, epochs=12))
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    assert run.results["mAP"] > 0.4  # an untrained network: 0.25
    assert 0 < run.results["quantization_angle"] < np.pi / 2
    assert 0 < run.results["bit_entropy"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["none", "original", "swd", "hswd"])
def test_methods_learn_from_items_of_several_labels(many_labels, quantization, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "test-v1", at_random(200, 50, 50, map_at=40))
    fields = [f for f in dataclasses.fields(SupervisedSettings) if f.name == "protocol"]
    monkeypatch.setattr(fields[0], "metadata", {"choices": tuple(PROTOCOLS)})
    settings = dataclasses.replace(SHORT, protocol="test-v1", method="hashnet", quantization=quantization, epochs=20)
    assert train(many_labels, dataclasses.replace(settings, batch_size=50)).results["mAP"] > 0.8


def test_hswd_brings_outputs_closer_to_bits(images):
    runs = {
        name: train(images, dataclasses.replace(SHORT, method="dhn", quantization=name, quantization_weight=None))
        for name in ("none", "hswd")
    }
    assert runs["hswd"].results["quantization_angle"] < runs["none"].results["quantization_angle"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["csq", "dsdh", "greedyhash", "hashnet"])
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(images, tmp_path, monkeypatch, method):
    settings = dataclasses.replace(SHORT, method=method, network="cnn", augmentation="crop", rotation="h2q")
    whole = train(images, settings, out=tmp_path / "whole")

    run_epoch, done = supervised._Training._epoch, []

    def interrupted(self, epoch):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(epoch)
        return run_epoch(self, epoch)

    monkeypatch.setattr(supervised._Training, "_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(images, settings, out=tmp_path / "parts")
    monkeypatch.setattr(supervised._Training, "_epoch", run_epoch)
    resumed = train(images, settings, out=tmp_path / "parts", resume=True)

    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], tensor), name
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    drop = {"seconds"}
    assert {k: v for k, v in resumed.results.items() if k not in drop} == {
        k: v for k, v in whole.results.items() if k not in drop
    }


def test_the_folder_of_a_training_holds_what_is_needed_later(images, tmp_path):
    run = train(images, dataclasses.replace(SHORT, rotation="itq"), out=tmp_path / "run")
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
    assert log[0] == "epoch,loss,seconds,validation_mAP"
    assert len(log) == 1 + SHORT.epochs
    items = torch.from_numpy(images.items[:20])
    network = HashingNetwork.load(tmp_path / "run" / "network.safetensors")
    rotation = Hasher.load(tmp_path / "run" / "rotation.safetensors")
    with torch.no_grad():
        assert torch.equal(rotation.encode(network(items)), run.rotation.encode(run.network(items)))


@pytest.mark.slow
def test_the_epoch_that_did_best_on_the_validation_items_is_kept(images):
    run = train(images)
    values = {row["epoch"]: row["validation_mAP"] for row in run.history if "validation_mAP" in row}
    assert list(values) == [2, 4, 6]
    assert run.results["validation_mAP"] == max(values.values()) == values[run.results["epoch"]]


def test_a_folder_with_a_training_is_not_overwritten(images, tmp_path):
    train(images, dataclasses.replace(SHORT, epochs=1), out=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match="without a training in it, or to resume it"):
        train(images, dataclasses.replace(SHORT, epochs=1), out=tmp_path)
    with pytest.raises(ValueError, match=r"bits: 16 there, 8 now.*epochs: 1 there, 6 now"):
        train(images, dataclasses.replace(SHORT, bits=8), out=tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_table_that_fails_halfway_leaves_the_old_one(tmp_path):
    write_csv(tmp_path / "a.csv", [{"x": 1}])

    class Unprintable:
        def __str__(self):
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        write_csv(tmp_path / "a.csv", [{"x": 2}, {"x": Unprintable()}])
    assert (tmp_path / "a.csv").read_text().split() == ["x", "1"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 0}, "expected bits at least 1, got 0"),
        ({"method": "md5"}, "expected method to be one of"),
        ({"learning_rate": 0.0}, "expected learning_rate above"),
        ({"weight_decay": -1.0}, "expected weight_decay at least 0"),
        ({"quantization": "ot"}, "expected quantization to be one of"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        SupervisedSettings(**changes)


def test_what_does_not_fit_the_data_is_refused_before_training(images, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="expected batch_size of at most the 1000 training items, got 2000"):
        train(images, dataclasses.replace(SHORT, batch_size=2000), out=tmp_path / "a")
    with pytest.raises(ValueError, match=r"expected arguments of cel \(.*\), got alpha"):
        train(images, dataclasses.replace(SHORT, method="cel", loss_arguments={"alpha": 1}), out=tmp_path / "a")
    monkeypatch.setattr(supervised, "joined_ranks", lambda device: contextlib.nullcontext((0, 2)))
    with pytest.raises(ValueError, match="expected one process for dsdh, which keeps a code for each .* got 2"):
        train(images, dataclasses.replace(SHORT, method="dsdh"), out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_loss_that_is_not_finite_stops_the_training(images):
    settings = dataclasses.replace(SHORT, method="dpsh", optimizer="sgd", learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="in epoch 1; lower the learning rate"):
        train(images, settings)


def test_loss_arguments_reach_the_loss():
    loss = build_loss("wglhh", 16, 10, torch.zeros(4, dtype=torch.int64), alpha=0.5, quantization="hswd")
    assert loss.alpha == 0.5
    assert loss.quantization == "hswd"


@pytest.mark.slow
def test_bfloat16_trains(images):
    assert train(images, dataclasses.replace(SHORT, precision="bfloat16", network="cnn")).results["mAP"] > 0.4


def test_a_schedule_and_shares_of_the_learning_rate(images):
    settings = dataclasses.replace(SHORT, backbone_rate=0.0, network="mlp", optimizer="sgd", weight_decay=0.0)
    start = HashingNetwork("mlp", (8, 8), 16)
    run = train(images, settings)
    torch.manual_seed(0)
    assert start.backbone[1].weight.shape == run.network.backbone[1].weight.shape
    frozen = train(images, dataclasses.replace(settings, epochs=1, validate_every=1))
    assert torch.equal(frozen.network.backbone[1].weight, run.network.backbone[1].weight)
    assert not torch.equal(frozen.network.head.weight, run.network.head.weight)


def test_rotations_keep_distances_between_outputs():
    u = torch.randn(300, 16, generator=torch.Generator().manual_seed(0)) + 0.3
    for name in ("itq", "h2q"):
        z = fit_rotation(name, u).transform(u)
        assert torch.allclose(torch.pdist(z), torch.pdist(u), atol=1e-4)
    assert fit_rotation("none", u) is None


def test_batches_depend_on_seed_and_epoch_and_are_shared_out_to_ranks(images):
    loaded = Loaded(images.items, images.labels, np.arange(100, 200))
    whole = list(loaded.epoch(20, seed=1, epoch=2))
    assert len(whole) == 5
    again, later = (next(iter(loaded.epoch(20, seed=1, epoch=e)))[2] for e in (2, 3))
    assert torch.equal(whole[0][2], again)
    assert not torch.equal(whole[0][2], later)
    parts = [list(loaded.epoch(10, seed=1, epoch=2, rank=rank, n_ranks=2)) for rank in (0, 1)]
    for i, (_, _, indices) in enumerate(whole):
        assert set(indices.tolist()) == {*parts[0][i][2].tolist(), *parts[1][i][2].tolist()}
    items, labels, indices = whole[0]
    assert np.array_equal(items, images.items[100 + indices])
    assert np.array_equal(labels, images.labels[100 + indices])


RANKS = """
import sys
from fasthash.recipes.supervised import SupervisedSettings, train_supervised

batch_size, out = sys.argv[1:]
settings = SupervisedSettings(
    dataset="digits", protocol="digits-v1", network="mlp", bits=16, epochs=2, validate_every=1,
    batch_size=int(batch_size), method="csq", quantization="hswd",
)
train_supervised(settings, device="cpu", out=out)
"""


@pytest.mark.slow
def test_two_ranks_train_as_one_on_their_common_batch(tmp_path):
    """CSQ and HSWD are of the global batch whatever its parts are; pairwise losses see the pairs of each part."""
    script = tmp_path / "train.py"
    script.write_text(RANKS)
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run([sys.executable, script, "64", one], check=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*torchrun, script, "32", two], check=True, env=environment)
    weights = [HashingNetwork.load(folder / "network.safetensors").state_dict() for folder in (one, two)]
    for name, tensor in weights[0].items():
        assert torch.allclose(weights[1][name], tensor, atol=2e-4), name


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
    assert "Error: expected a folder without a training in it, or to resume it" in again.output
    resumed = CliRunner().invoke(main, [*command, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout == result.stdout
    bad = CliRunner().invoke(main, [*command, "--loss-arguments", "alpha=x"])
    assert bad.exit_code == 2
    assert "expected NAME=NUMBER, got 'alpha=x'" in bad.output
