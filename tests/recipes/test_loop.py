"""Networks and losses of others: trained, interrupted, resumed, saved, and what of them is refused."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import nn

import fasthash as fh
from fasthash.cli import main
from fasthash.data import Dataset, ImageFiles
from fasthash.recipes import HashingNetwork, Parts, loop, train
from fasthash.recipes.supervised import SupervisedTraining
from tests.recipes.conftest import SHORT, OwnLoss, OwnNetwork, interrupted_after, own_function, trained, without_seconds


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


def test_progress_is_told_by_steps(images, monkeypatch, capsys):
    monkeypatch.setattr(loop, "tqdm", functools.partial(loop.tqdm, mininterval=0, miniters=0))
    run = trained(images, loss=own_function, progress=True)
    steps = len(run.parts.train) // SHORT.batch_size
    told = capsys.readouterr().err
    for n in (1 / steps, 1 + 2 / steps, SHORT.epochs):
        assert f"| {n:.2f}/{SHORT.epochs} epochs [" in told
    assert f"loss={run.history[-1]['loss']:.4g}" in told


@pytest.mark.parametrize("steps", [9, 20, 50])  # as many shares of an epoch add up to more than one
def test_the_steps_told_are_never_more_than_the_epochs(images, monkeypatch, steps):
    monkeypatch.setattr(loop, "tqdm", functools.partial(loop.tqdm, mininterval=0, miniters=0))
    settings = dataclasses.replace(SHORT, epochs=1, batch_size=1000 // steps)
    run = trained(images, settings, loss=own_function, progress=True)
    assert len(run.parts.train) // settings.batch_size == steps


def test_a_training_that_fails_at_once_leaves_its_folder_to_others(images, tmp_path):
    with pytest.raises(ValueError, match="expected network to return"):
        trained(images, network=OwnNetwork(8), out=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert trained(images, network=OwnNetwork(), out=tmp_path).history
    with pytest.raises(ValueError, match=r"got others \(learning_rate: .*\); another training needs another folder"):
        trained(images, dataclasses.replace(SHORT, learning_rate=0.5), out=tmp_path, resume=True)
    assert (tmp_path / "settings.json").exists()


def test_a_loss_is_no_class(images):
    with pytest.raises(TypeError, match="expected loss to be a module or a function, got the class HashNet"):
        trained(images, loss=fh.losses.HashNet)


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
    assert "network.safetensors, got weights of tests.recipes.conftest.OwnNetwork" in result.output


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


class Returning(nn.Module):
    """A network that returns a function of its outputs, in training or else."""

    def __init__(self, function, mode):
        super().__init__()
        self.layer, self.function, self.mode = nn.Linear(64, 16), function, mode

    def forward(self, images):
        u = self.layer(images.flatten(1) / 255)
        return self.function(u) if self.training == self.mode else u


@pytest.mark.parametrize("mode", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(
    "function", [lambda u: (u, u), lambda u: None, lambda u: u[:, :8], lambda u: u > 0, lambda u: u[1:]]
)
def test_what_a_network_returns_is_checked(images, function, mode):
    with pytest.raises(
        (TypeError, ValueError), match=r"train: expected network to return floating-point \[\d+, 16\] for"
    ):
        trained(images, network=Returning(function, mode))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("checkpoint.pt", b"", "expected a checkpoint at .*checkpoint.pt, got one that is cut off or damaged"),
        (
            "checkpoint.pt",
            b"cut off" * 100,
            "expected a checkpoint at .*checkpoint.pt, got one that is cut off or damaged",
        ),
        ("settings.json", b"", "expected the settings of a training in .*settings.json, got no JSON"),
        ("settings.json", b"[1]", "expected the settings of a training in .*settings.json, got a list"),
        ("settings.json", b"[" * 99999, "expected the settings of a training in .*settings.json, got no JSON"),
        ("settings.json", b"\xff", "expected the settings of a training in .*settings.json, got no JSON"),
        ("settings.json", None, "expected settings.json beside checkpoint.pt in .*, got none"),
    ],
)
def test_damaged_files_are_named_and_left_as_they_are(images, tmp_path, file, content, message):
    trained(images, dataclasses.replace(SHORT, epochs=1), out=tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for resume in (True, False) if content is None else (True,):
        with pytest.raises(ValueError, match=f"^train: {message}"):
            trained(images, dataclasses.replace(SHORT, epochs=1), out=tmp_path, resume=resume)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_network_whose_layers_share_weights_is_saved(images, tmp_path):
    network = nn.Sequential(OwnNetwork(32), nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 16))
    network[2].weight = network[1].weight
    run = trained(images, network=network, out=tmp_path)
    assert trained(images, network=network, out=tmp_path, resume=True).results == run.results
    assert (tmp_path / "network.safetensors").exists()


def test_encoding_images_of_another_dtype_is_refused(images):
    run = train(dataclasses.replace(SHORT, network="mlp"), dataset=images, device="cpu")
    with pytest.raises(TypeError, match="HashingNetwork: expected images of dtype uint8, got float64"):
        run.encode(images.items / 255)
    with pytest.raises(TypeError, match="encode: expected items to be a numeric array, got dtype <U3"):
        run.encode("abc")


def test_the_command_encodes_by_the_rotation_that_was_trained(images, tmp_path):
    settings = dataclasses.replace(SHORT, network="mlp", rotation="itq")
    run = train(settings, dataset=images, device="cpu", out=tmp_path / "run")
    np.save(tmp_path / "items.npy", images.items)
    names = ("run/network.safetensors", "items.npy", "codes.npy")
    result = CliRunner().invoke(main, ["encode", *(str(tmp_path / name) for name in names)])
    assert "rotated as it was trained" in result.output, result.output
    assert np.array_equal(np.load(tmp_path / "codes.npy"), run.encode(images.items))
    same = CliRunner().invoke(main, ["encode", *(str(tmp_path / name) for name in (*names[:2], names[1]))])
    assert same.exit_code == 2
    assert "expected another file for CODES than for ITEMS" in same.output
    assert np.array_equal(np.load(tmp_path / "items.npy"), images.items)


@pytest.mark.parametrize(("fitted", "n_bits"), [(24, 24), (32, 24)])
def test_the_command_refuses_the_rotation_of_another_network(images, tmp_path, fitted, n_bits):
    HashingNetwork("linear", (8, 8), 32).save(tmp_path / "network.safetensors")
    fh.hashers.ITQ(n_bits).fit(np.random.default_rng(0).standard_normal((99, fitted))).save(
        tmp_path / "rotation.safetensors"
    )
    np.save(tmp_path / "items.npy", images.items)
    names = ("network.safetensors", "items.npy", "codes.npy")
    result = CliRunner().invoke(main, ["encode", *(str(tmp_path / name) for name in names)])
    assert result.exit_code == 1
    assert f"expected a rotation of 32 bits at {tmp_path / 'rotation.safetensors'}" in result.output


def test_image_files_are_brought_to_the_size_that_a_network_of_others_asks_for(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    paths = [tmp_path / f"{i}.png" for i in range(24)]
    for i, path in enumerate(paths):
        image_module.new("RGB", (20 + i, 30), (250 * (i % 2), 0, 90)).save(path)
    dataset = Dataset("files", ImageFiles(paths), np.arange(24) % 2, {}, ("blue", "red"))
    parts = Parts(np.arange(12), np.arange(0), np.arange(12, 16), np.arange(16, 24))
    network = nn.Sequential(Float(), nn.Flatten(), nn.Linear(8 * 8 * 3, 16))
    settings = dataclasses.replace(SHORT, batch_size=4)
    with pytest.raises(ValueError, match="expected a network with an attribute image_size for image files, got Seq"):
        trained(dataset, settings, network=network, parts=parts)
    network.image_size = 8
    run = trained(dataset, settings, network=network, parts=parts)
    assert run.encode(dataset.items).shape == (24, 2)


class Float(nn.Module):
    def forward(self, images):
        return images / 255


@pytest.mark.parametrize("changes", [{"augmentation": "crop"}, {"pretrained": True}, {"loss_arguments": {"alpha": 1}}])
def test_a_setting_of_what_is_given_is_refused(images, changes):
    with pytest.raises(ValueError, match=f"or the settings {next(iter(changes))}, got both"):
        trained(images, dataclasses.replace(SHORT, **changes))


class Constant(nn.Module):
    """Of one code, whatever the items are."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.ones(16))

    def forward(self, images):
        return self.bias.expand(len(images), 16)


def test_a_training_whose_codes_collapse_says_so(images):
    with pytest.warns(UserWarning, match="train: the codes have collapsed: 1 distinct ones for 10 classes"):
        trained(images, network=Constant(), loss=lambda u, labels: (u - 1).square().mean())
