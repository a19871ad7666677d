"""What stands between the items and the last layer of a network, by architecture."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn

from fasthash.errors import MissingDependencyError

ENCODER_WIDTHS = (500, 500, 100)
LENET_WIDTHS = (16, 32)
STRIDED_WIDTHS = (16, 32, 64, 64)


@dataclass(frozen=True)
class Backbone:
    """An architecture up to its last layer.

    Attributes:
        build: called with the shape of a prepared item, [d] features or [c, h, w] images, and whether to start from
            pretrained weights; returns the module and how many features it makes of an item, [n, f] of [n, *shape].
        takes_features: whether items may be features.
        minimum_size: the least height and width of images that it leaves something of.
        imagenet: whether it sees what networks of ImageNet see, images of 256 x 256 cropped to 224 x 224 in three
            colours, and has pretrained weights.
    """

    build: Callable[[tuple[int, ...], bool], tuple[nn.Module, int]]
    takes_features: bool = False
    minimum_size: int = 1
    imagenet: bool = False


def leaky_layers(*widths: int) -> list[nn.Module]:
    """Return linear layers from width to width, each with LeakyReLU (0.2) after it."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    return layers


def halvings(size: int) -> list[int]:
    """Return a size and those that the convolutions of "strided" bring it to."""
    sizes = [size]
    for _ in STRIDED_WIDTHS:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def _linear(shape: tuple[int, ...], pretrained: bool) -> tuple[nn.Module, int]:
    return nn.Flatten(), prod(shape)


def _mlp(shape: tuple[int, ...], pretrained: bool) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), 512), nn.ReLU()), 512


def _encoder(shape: tuple[int, ...], pretrained: bool) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Flatten(), *leaky_layers(prod(shape), *ENCODER_WIDTHS)), ENCODER_WIDTHS[-1]


def _cnn(shape: tuple[int, ...], pretrained: bool) -> tuple[nn.Module, int]:
    blocks: list[nn.Module] = []
    for before, width in itertools.pairwise((shape[0], 32, 64, 128)):
        convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
        blocks += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten()), 512


def _lenet(shape: tuple[int, ...], pretrained: bool) -> tuple[nn.Module, int]:
    channels, height, width = shape
    blocks: list[nn.Module] = []
    for before, after in itertools.pairwise((channels, *LENET_WIDTHS)):
        blocks += [nn.Conv2d(before, after, 5, padding=2), nn.MaxPool2d(2), nn.LeakyReLU(0.2)]
    n_inner = LENET_WIDTHS[-1] * (height // 4) * (width // 4)
    return nn.Sequential(*blocks, nn.Flatten(), *leaky_layers(n_inner, 128)), 128


def _strided(shape: tuple[int, ...], pretrained: bool) -> tuple[nn.Module, int]:
    channels, height, width = shape
    blocks: list[nn.Module] = []
    for before, after in itertools.pairwise((channels, *STRIDED_WIDTHS)):
        blocks += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(0.2)]
    n_features = STRIDED_WIDTHS[-1] * halvings(height)[-1] * halvings(width)[-1]
    return nn.Sequential(*blocks, nn.Flatten()), n_features


class Residual(nn.Module):
    """The sum of what comes in and of what modules make of it."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.added = nn.Sequential(*modules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x and what is added to it, of one shape."""
        added: torch.Tensor = self.added(x)
        return x + added


class ChannelsLast(nn.Module):
    """Lays images out with the channels of a pixel side by side, in which convolutions are fastest (1.3 to 2 times)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same images [n, c, h, w]."""
        return x.contiguous(memory_format=torch.channels_last)


def _convolved(before: int, width: int, halved: bool) -> list[nn.Module]:
    """Return a convolution, the largest of each 2 x 2 if it is halved, batch normalisation, ReLU."""
    pooled = [nn.MaxPool2d(2)] if halved else []
    return [nn.Conv2d(before, width, 3, padding=1, bias=False), *pooled, nn.BatchNorm2d(width), nn.ReLU()]


def _resnet9(width: int, shape: tuple[int, ...], pretrained: bool) -> tuple[nn.Module, int]:
    """Eight convolutions (He et al., "Deep Residual Learning", 2016, cut short), the largest of each map at the end."""
    first, second, third, last = (width * factor for factor in (1, 2, 4, 8))
    layers = nn.Sequential(
        ChannelsLast(),
        *_convolved(shape[0], first, halved=False),
        *_convolved(first, second, halved=True),
        Residual(*_convolved(second, second, halved=False), *_convolved(second, second, halved=False)),
        *_convolved(second, third, halved=True),
        *_convolved(third, last, halved=True),
        Residual(*_convolved(last, last, halved=False), *_convolved(last, last, halved=False)),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
    )
    layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return layers, last


def _of_torchvision(name: str, shape: tuple[int, ...], pretrained: bool) -> tuple[nn.Module, int]:
    try:
        from torchvision import models
    except ImportError:
        raise MissingDependencyError(f"the network {name}", "torchvision", "vision") from None
    try:
        whole: Any = models.get_model(name, weights="IMAGENET1K_V1" if pretrained else None)
    except OSError as error:
        raise OSError(
            f"HashingNetwork: expected the ImageNet weights of {name} in torch's cache, {torch.hub.get_dir()}, "
            f"or a way to download them, got {error}"
        ) from error
    last = whole.classifier[-1]
    whole.classifier = whole.classifier[:-1]
    return whole, last.in_features


LINEAR = Backbone(_linear, takes_features=True)
MLP = Backbone(_mlp, takes_features=True)
ENCODER = Backbone(_encoder, takes_features=True)
CNN = Backbone(_cnn, minimum_size=8)
LENET = Backbone(_lenet, minimum_size=4)
STRIDED = Backbone(_strided)
RESNET9, RESNET9_NARROW = (Backbone(partial(_resnet9, width), minimum_size=8) for width in (64, 16))
ALEXNET, VGG11, VGG16 = (Backbone(partial(_of_torchvision, x), imagenet=True) for x in ("alexnet", "vgg11", "vgg16"))
