"""The architectures up to their last layer."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn import functional

from fasthash.errors import MissingDependencyError
from fasthash.recipes.networks import HashingNetwork


@pytest.mark.parametrize(("architecture", "width"), [("resnet9", 64), ("resnet9_narrow", 16)])
def test_the_residual_network_by_hand(architecture, width):
    torch.manual_seed(0)
    network = HashingNetwork(architecture, (20, 16, 3), 8).eval()
    items = torch.randint(0, 256, (2, 20, 16, 3), dtype=torch.uint8)
    state = {name: tensor for name, tensor in network.backbone.state_dict().items() if name.endswith("weight")}
    convolutions = [tensor for tensor in state.values() if tensor.ndim == 4]
    assert [len(weights) // width for weights in convolutions] == [1, 2, 2, 2, 4, 8, 8, 8]

    def convolved(x, i, halved=False):
        x = functional.conv2d(x, convolutions[i], padding=1)
        return functional.relu((functional.max_pool2d(x, 2) if halved else x) / (1 + 1e-5) ** 0.5)

    x = convolved(convolved(network.prepare(items), 0), 1, halved=True)
    x = x + convolved(convolved(x, 2), 3)
    x = convolved(convolved(x, 4, halved=True), 5, halved=True)
    x = (x + convolved(convolved(x, 6), 7)).amax((2, 3))
    torch.testing.assert_close(network(items), network.head(x), atol=1e-4, rtol=1e-4)
    assert network.backbone[0](torch.zeros(2, 3, 4, 5)).is_contiguous(memory_format=torch.channels_last)


def test_the_residual_network_is_saved_and_learns(tmp_path):
    torch.manual_seed(0)
    network = HashingNetwork("resnet9_narrow", (8, 9), 8)
    items = torch.randint(0, 256, (4, 8, 9), dtype=torch.uint8)
    network(items).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.backbone.parameters())
    u = network.eval()(items)
    network.save(tmp_path / "network")
    torch.testing.assert_close(HashingNetwork.load(tmp_path / "network")(items), u)
    with pytest.raises(ValueError, match=r"expected item_shape of at least 8 x 8 for resnet9, got \(7, 9\)"):
        HashingNetwork("resnet9", (7, 9), 8)


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


def test_without_torchvision_or_its_weights_the_error_says_what_to_do(torchvision_models, monkeypatch):
    def unreachable(name, *, weights):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision_models, "get_model", unreachable)
    with pytest.raises(OSError, match="expected the ImageNet weights of vgg16 in torch's cache.*no route to host"):
        HashingNetwork("vgg16", (32, 32, 3), 8, pretrained=True)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'torch-fasthash\[vision\]'"):
        HashingNetwork("vgg16", (32, 32, 3), 8)
