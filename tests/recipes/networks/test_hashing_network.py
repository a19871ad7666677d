"""From items to outputs: preparation, augmentation, files."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

import fasthash as fh
from fasthash.recipes.networks import HashingNetwork

MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # of ImageNet's colours


@pytest.fixture
def torchvision(monkeypatch):
    """Stands for torchvision, which not every build of torch has: every model is one convolution and two layers."""

    def get_model(name, weights):
        features = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 11, stride=8), torch.nn.Flatten())
        layers = torch.nn.Linear(2 * 27 * 27, 6), torch.nn.Linear(6, 1000)
        model = torch.nn.Sequential(features, torch.nn.Sequential(*layers))
        model.classifier = model[1]
        return model

    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=SimpleNamespace(get_model=get_model)))


def random_images(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def places(prepared, images):
    """Where in an image with 4 black pixels around it a window of its size was taken, row, column and whether flipped.

    What was prepared must be one of the windows, and only one.
    """
    height, width = images.shape[1:]
    windows = functional.pad(images / 255, [4] * 4).unfold(1, height, 1).unfold(2, width, 1)  # [n, 9, 9, h, w]
    windows = torch.stack([windows, windows.flip(4)], dim=3)
    found = (windows == prepared[:, 0, None, None, None]).all(-1).all(-1)
    assert (found.sum((1, 2, 3)) == 1).all()
    return found.nonzero()[:, 1:].T


@pytest.mark.parametrize("augmentation", ["crop", "flip-crop"])
def test_small_images_are_cut_anywhere_and_flipped_as_often_as_not(augmentation):
    n = 2000
    images = random_images(n, 8, 8)
    torch.manual_seed(0)
    rows, columns, flipped = places(HashingNetwork("cnn", (8, 8), 4, augmentation=augmentation).prepare(images), images)
    for place in (rows, columns):
        counts = place.bincount(minlength=9)
        assert (counts - n / 9).abs().max() < 5 * (n / 9) ** 0.5
    assert (rows == columns).float().mean() < 0.2  # 1/9 is expected
    if augmentation == "flip-crop":
        assert abs(flipped.sum() - n / 2) < 5 * (n / 4) ** 0.5
    else:
        assert not flipped.any()


@pytest.mark.parametrize("augmentation", ["none", "crop", "flip-crop"])
def test_only_training_varies_images(augmentation):
    images = random_images(20, 8, 8, 3)
    network = HashingNetwork("cnn", (8, 8, 3), 4, augmentation=augmentation)
    plain = images.permute(0, 3, 1, 2) / 255
    assert torch.equal(network.eval().prepare(images), plain)
    assert torch.equal(network.train().prepare(images), plain) == (augmentation == "none")


def test_large_images_are_flipped_as_often_as_not(torchvision):
    n = 100
    rising = torch.arange(256, dtype=torch.uint8).expand(n, 256, 256)
    torch.manual_seed(0)
    prepared = HashingNetwork("alexnet", (256, 256), 8, augmentation="flip-crop").prepare(rising)
    assert prepared.shape == (n, 3, 224, 224)
    flipped = prepared[:, 0, 0, 0] > prepared[:, 0, 0, -1]
    assert abs(flipped.sum() - n / 2) < 5 * (n / 4) ** 0.5
    lowest = (prepared[:, 0, 0].amin(1) * 255).round()
    assert lowest.min() < 5
    assert lowest.max() > 27  # of 0 to 32


def test_pretrained_networks_see_colours_as_imagenet_was_standardised(torchvision):
    images = torch.tensor([[0, 0, 0], [255, 255, 255], [51, 102, 204]], dtype=torch.uint8)
    prepared = HashingNetwork("vgg16", (32, 32, 3), 8, pretrained=True).prepare(
        images[:, None, None].expand(-1, 32, 32, -1)
    )
    expected = (images / 255 - MEAN) / DEVIATION
    torch.testing.assert_close(prepared, expected[:, :, None, None].expand(-1, -1, 224, 224))
    plain = HashingNetwork("vgg16", (32, 32, 3), 8).prepare(images[:, None, None].expand(-1, 32, 32, -1))
    torch.testing.assert_close(plain[:, :, 0, 0], images / 255)


@pytest.mark.parametrize("shape", [(5,), (6, 7), (6, 7, 3)])
def test_items_are_standardised(shape):
    items = random_images(4, *shape) if len(shape) > 1 else torch.randn(4, 5).double()
    network = HashingNetwork("mlp", shape, 3)
    n = len(network.mean)
    assert n == {1: 5, 2: 1, 3: 3}[len(shape)]
    mean, deviation = torch.arange(n) / 10, torch.arange(n) / 4
    network.standardize(mean, deviation)
    x = items.float() if len(shape) == 1 else (items[..., None] if len(shape) == 2 else items).float() / 255
    expected = (x - mean) / torch.where(deviation == 0, 1.0, deviation)
    expected = expected if len(shape) == 1 else expected.permute(0, 3, 1, 2)
    torch.testing.assert_close(network.prepare(items), expected)
    assert network.prepare(items).dtype == torch.float32
    assert torch.equal(network(items), network.outputs(network.prepare(items)))


def test_what_never_varied_is_not_blown_up():
    """A column of 0, one of a rounded constant, one of tiny numbers that do vary."""
    mean = torch.tensor([0.0, 1000.0, 0.0], dtype=torch.float64)
    network = HashingNetwork("linear", (3,), 4)
    network.standardize(mean, torch.tensor([0.0, 1e-5, 1e-8], dtype=torch.float64))
    x = torch.tensor([[0.05, 1000.5, 3e-8]])
    torch.testing.assert_close(network.prepare(x), torch.tensor([[0.05, 0.5, 3.0]]))
    with pytest.raises(ValueError, match="standardize: expected deviation at least 0, got -1.0"):
        network.standardize(mean, torch.tensor([1.0, -1.0, 1.0]))


def test_a_saved_network_is_loaded_whole(tmp_path):
    images = random_images(4, 8, 8)
    network = HashingNetwork("cnn", (8, 8), 12, augmentation="flip-crop")
    network.standardize(torch.tensor([0.25]), torch.tensor([3.0]))
    network(images)  # moves the statistics of its batch normalisation
    network.save(tmp_path / "network.safetensors")
    loaded = HashingNetwork.load(tmp_path / "network.safetensors")
    assert not loaded.training
    assert (loaded.architecture, loaded.item_shape, loaded.n_bits) == ("cnn", (8, 8), 12)
    assert loaded.augmentation == "flip-crop"
    assert torch.equal(loaded(images), network.eval()(images))


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


def test_networks_of_torchvision_see_crops_of_three_colours(torchvision_models):
    network = HashingNetwork("alexnet", (256, 256), 8, augmentation="crop")
    image = torch.randint(0, 256, (4, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    middle = image[:, None, 16:240, 16:240].expand(-1, 3, -1, -1) / 255
    assert torch.equal(network.eval().prepare(image), middle)
    torch.manual_seed(0)
    assert not torch.equal(network.train().prepare(image), middle)


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
    with pytest.raises(ValueError, match="expected a file of HashingNetwork at .*, got no whole safetensors file"):
        HashingNetwork.load(path)
    fh.hashers.LSH(8).fit(np.eye(8, dtype=np.float32)).save(path)
    with pytest.raises(ValueError, match="got one of format 'fasthash hasher 1', where 'fasthash network 1' is read"):
        HashingNetwork.load(path)
