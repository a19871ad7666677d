"""Layers, weights and preparations of networks that features are made by."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fasthash.errors import MissingDependencyError
from fasthash.features.networks import build, imagenet_transform
from tests.features.conftest import Small, by_hand


def images_of(gray):
    return torch.from_numpy(np.repeat(gray.items[:, None], 3, 1)).float() / 255


@pytest.mark.parametrize(("layer", "which"), [("body.1", 0), ("body", 1), ("map", 1), (None, 2), ("end.1", 2)])
def test_a_layer_is_kept_as_it_was_and_made_flat(network, gray, layer, which):
    model, _ = build(network, layer, None, 0)
    with torch.inference_mode():
        features = model(images_of(gray))
    torch.testing.assert_close(features, by_hand(network, gray.items)[which])
    assert (features < 0).any() == (which != 1)
    assert not model.network.training
    assert network.training
    assert network(images_of(gray)).requires_grad
    assert not any(module._forward_hooks for module in network.modules())


@pytest.fixture
def own_module(monkeypatch, network):
    module = types.ModuleType("their_networks")
    module.Small, module.made, module.number, module.make = Small, network, 3, lambda: Small()
    monkeypatch.setitem(sys.modules, "their_networks", module)
    return module


def test_a_network_of_ones_own_is_a_module_or_what_makes_one(own_module):
    made = build("their_networks:made", None, None, 0)[0].network
    assert torch.equal(made.end[1].weight, own_module.made.end[1].weight)
    assert own_module.made.training
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    for attribute in ("Small", "make"):
        models = [build(f"their_networks:{attribute}", None, None, seed)[0] for seed in (0, 0, 1)]
        first, again, other = (model.network.end[1].weight for model in models)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_come_from_a_file(own_module, tmp_path):
    state = own_module.made.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "b.pth")
    torch.save(state, tmp_path / "c.pt")
    for name in ("a.safetensors", "b.pth", "c.pt"):
        network = build("their_networks:Small", None, tmp_path / name, 7)[0].network
        assert all(torch.equal(network.state_dict()[key], state[key]) for key in state)


def test_without_a_transform_images_are_prepared_as_imagenet_s(monkeypatch):
    assert build(nn.Flatten(), None, None, 0)[1] is imagenet_transform
    image = torch.full((3, 30, 60), 51, dtype=torch.uint8)
    image[:, :, 30:] = 204
    x = imagenet_transform(image)
    assert x.shape == (3, 224, 224)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(x[:, 100, 0], (0.2 - mean) / deviation)
    torch.testing.assert_close(x[:, 0, 223], (0.8 - mean) / deviation)
    torch.testing.assert_close(x[:, :, :112].mean((1, 2)) + x[:, :, 112:].mean((1, 2)), 2 * (0.5 - mean) / deviation)


class Odd(nn.Module):
    transform = None

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, images):
        return self.output


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3, None, None, 0), TypeError, "extract: expected network to be a string or a module, got int"),
        ((Small(), 3, None, 0), TypeError, "extract: expected layer to be a string, got int"),
        ((Small(), None, 3, 0), TypeError, "extract: expected weights to be a string or a path, got int"),
        ((Small(), "fc6", None, 0), ValueError, "expected layer to be a module of Small, .*end.1 say, got 'fc6'"),
        ((Odd(None), None, None, 0), TypeError, "expected transform of Odd to be a function, got NoneType"),
        (("their_networks:number", None, None, 0), TypeError, "expected a torch module at their_networks:number, or"),
        (("their_networks:none", None, None, 0), ValueError, "expected network at module:attribute, got .*none'"),
        (("nothing_there:x", None, None, 0), ValueError, "expected network at module:attribute, got 'nothing_there:x'"),
        ((":x", None, None, 0), ValueError, "expected network at module:attribute, got ':x'"),
        ((Small(), None, "none.pt", 0), FileNotFoundError, "expected weights for Small in a file, got 'none.pt'"),
        ((Small(), None, __file__, 0), ValueError, "expected weights of Small in .*test_networks.py, got "),
    ],
)
def test_what_does_not_fit_is_named(own_module, arguments, error, message):
    with pytest.raises(error, match=message):
        build(*arguments)


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        ([torch.zeros(2, 3)], TypeError, "extract: expected Odd to return a tensor, got list"),
        (torch.zeros(2), ValueError, r"expected Odd to return floating-point \[2, ...\] for 2 images, got .* \[2\]"),
        (torch.zeros(2, 3, dtype=torch.int64), ValueError, r"expected Odd .*, got torch.int64 \[2, 3\]"),
        (torch.zeros(3, 3), ValueError, r"expected Odd .*, got torch.float32 \[3, 3\]"),
    ],
)
def test_what_is_returned_is_checked(output, error, message):
    network = Odd(output)
    network.transform = imagenet_transform
    with pytest.raises(error, match=message):
        build(network, None, None, 0)[0](torch.zeros(2, 3, 4, 4))


def test_without_torchvision_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingDependencyError, match=r"network vgg16 needs .* pip install 'torch-fasthash\[vision\]'"):
        build("vgg16", None, "random", 0)


@pytest.fixture(scope="module")
def models():
    return pytest.importorskip("torchvision.models")


@pytest.mark.parametrize(
    ("name", "layer", "ends"),
    [
        ("alexnet", "fc6", 3),
        ("alexnet", "fc7", 6),
        ("alexnet", None, 6),
        ("alexnet", "classifier.1", 2),
        pytest.param("vgg16", "fc6", 2, marks=pytest.mark.slow),
        pytest.param("vgg16", "fc7", 5, marks=pytest.mark.slow),
    ],
)
def test_the_papers_layers_of_torchvision(models, name, layer, ends):
    model, transform = build(name, layer, "random", 0)
    image = torch.randint(0, 256, (3, 50, 40), dtype=torch.uint8)
    images = transform(image)[None]
    assert images.shape == (1, 3, 224, 224)
    whole = model.network
    with torch.inference_mode():
        x = whole.avgpool(whole.features(images)).flatten(1)
        expected = whole.classifier[:ends](x)
        torch.testing.assert_close(model(images), expected)
    assert expected.shape == (1, 4096)
    assert (expected < 0).any() == (layer == "classifier.1")


@pytest.mark.parametrize(("name", "layer", "d"), [("resnet18", None, 512), ("resnet18", "layer1.0.relu", 64 * 56 * 56)])
def test_other_networks_of_torchvision(models, name, layer, d):
    first, again, other = (build(name, layer, "random", seed)[0] for seed in (0, 0, 1))
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = first(images)
        assert features.shape == (2, d)
        assert torch.equal(again(images), features)
        assert not torch.equal(other(images), features)


def test_weights_of_torchvision_s_networks(models, monkeypatch, tmp_path):
    whole = models.get_model("squeezenet1_1", weights=None)
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    model, _ = build("squeezenet1_1", "features", tmp_path / "weights.pth", 0)
    assert torch.equal(model.network.features[0].weight, whole.features[0].weight)
    with pytest.raises(ValueError, match="expected weights for resnet18, a file, IMAGENET1K_V1 or random, got none"):
        build("resnet18", None, None, 0)
    with pytest.raises(FileNotFoundError, match="resnet18 in a file, IMAGENET1K_V1 or random, got 'IMAGENET1K_V3'"):
        build("resnet18", None, "IMAGENET1K_V3", 0)
    with pytest.raises(ValueError, match=r"expected weights of resnet18 in .*weights.pth, got Error"):
        build("resnet18", None, tmp_path / "weights.pth", 0)
    with pytest.raises(ValueError, match="expected network to be one of .*'vgg16'.*, got 'vgg17'"):
        build("vgg17", None, "random", 0)
    with pytest.raises(ValueError, match="expected layer for squeezenet1_1, which has no linear one"):
        build("squeezenet1_1", None, "random", 0)

    asked = []

    def get_model(name, *, weights):
        asked.append((name, weights))
        raise OSError("no route to host")

    monkeypatch.setattr(models, "get_model", get_model)
    with pytest.raises(OSError, match="expected the weights IMAGENET1K_V1 of vgg16 in torch's cache.*no route to host"):
        build("vgg16", "fc7", "IMAGENET1K_V1", 0)
    assert asked == [("vgg16", models.VGG16_Weights.IMAGENET1K_V1)]
