"""From items to outputs: preparation, augmentation, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.recipes.networks import HashingNetwork


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
    with pytest.raises(ValueError, match="expected a network written by save"):
        HashingNetwork.load(path)
    fh.hashers.LSH(8).fit(np.eye(8, dtype=np.float32)).save(path)
    with pytest.raises(ValueError, match="expected a file of format 'fasthash network 1'"):
        HashingNetwork.load(path)
