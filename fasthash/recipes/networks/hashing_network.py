"""A backbone between the preparation of items and the layer whose outputs become codes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from fasthash.errors import (
    MAX_BITS,
    check_choice,
    check_device,
    check_flag,
    check_floating,
    check_integer,
    check_path,
    check_values,
    dtype_name,
    memory_error,
)
from fasthash.ops.arrays import check_tensor
from fasthash.recipes.networks.files import load_module, save_module
from fasthash.recipes.networks.images import LARGE_CROP, LARGE_IMAGE, SMALL_MARGIN, cropped, enlarged
from fasthash.recipes.settings import AUGMENTATIONS, BACKBONES

_MOST_NUMBERS = 2**40  # of an item
_FORMAT = "fasthash network 1"
_IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green and blue
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class HashingNetwork(nn.Module):
    """Preparation of the items, a backbone, and a linear layer to the outputs u [n, n_bits]; the code is the sign of u.

    Args:
        architecture: a key of `fasthash.recipes.BACKBONES`: "linear", none but the last layer; "mlp", a hidden layer of
            512; "encoder", the autoencoders', hidden layers of 500, 500 and 100; "cnn", three convolutions for small
            images; "lenet", two and a hidden layer of 128; "strided", four with strides of 2; "resnet9", eight in
            a residual network; "resnet9_narrow", the same of a quarter of the width; "alexnet", "vgg11" or "vgg16" of
            torchvision up to their last layer.
        item_shape: of an item: [d] features, [h, w] gray or [h, w, 3] colour.
        n_bits: 1 to 4,096.
        augmentation: of images in training mode: "none", "crop" at random places, or "flip-crop".
        pretrained: whether the networks of ImageNet start from its weights (read from torch's cache, else downloaded).

    Raises:
        MissingDependencyError: if torchvision is needed and not installed.
        OSError: if its weights can be neither read nor downloaded.
        ValueError: if the architecture does not take such items.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(
        self,
        architecture: str,
        item_shape: Sequence[int],
        n_bits: int,
        *,
        augmentation: str = "none",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        where = "HashingNetwork"
        self.architecture = check_choice(where, "architecture", architecture, BACKBONES)
        self.augmentation = check_choice(where, "augmentation", augmentation, AUGMENTATIONS)
        self.n_bits = check_integer(where, "n_bits", n_bits, 1, MAX_BITS)
        if (
            isinstance(item_shape, (str, bytes))
            or not isinstance(item_shape, Sequence)
            or not all(isinstance(size, int) and size > 0 for size in item_shape)
        ):
            raise ValueError(f"{where}: expected item_shape of positive integers, got {item_shape!r}")
        self.item_shape = tuple(item_shape)
        images = len(self.item_shape) > 1
        if not (len(self.item_shape) in (1, 2) or (len(self.item_shape) == 3 and self.item_shape[2] == 3)):
            raise ValueError(f"{where}: expected item_shape [d], [h, w] or [h, w, 3], got {list(self.item_shape)}")
        if prod(self.item_shape) > _MOST_NUMBERS:
            raise ValueError(f"{where}: expected item_shape of at most {_MOST_NUMBERS} numbers, got {self.item_shape}")
        kind = BACKBONES[architecture]
        least = kind.minimum_size
        if images and not kind.imagenet and min(self.item_shape[:2]) < least:
            raise ValueError(
                f"{where}: expected item_shape of at least {least} x {least} for {architecture}, got {self.item_shape}"
            )
        if not images and not kind.takes_features:
            raise ValueError(f"{where}: expected images for {architecture}, got features of shape {self.item_shape}")
        if check_flag(where, "pretrained", pretrained) and not kind.imagenet:
            raise ValueError(f"{where}: expected a network of ImageNet for pretrained weights, got {architecture}")
        self.imagenet = kind.imagenet
        channels = 3 if kind.imagenet or len(self.item_shape) == 3 else 1
        size = (LARGE_CROP, LARGE_CROP) if kind.imagenet else self.item_shape[:2]
        shape = (channels, *size) if images else self.item_shape
        self.register_buffer("mean", torch.zeros(shape[0]))
        self.register_buffer("deviation", torch.ones(shape[0]))
        if pretrained:
            self.mean.copy_(torch.tensor(_IMAGENET_MEAN))
            self.deviation.copy_(torch.tensor(_IMAGENET_DEVIATION))
        try:
            self.backbone, n_features = kind.build(shape, pretrained)
            self.head = nn.Linear(n_features, self.n_bits)
        except RuntimeError as error:
            raise memory_error(f"{where} of item_shape {list(self.item_shape)}", error) or error from None

    @property
    def image_size(self) -> int | None:
        """What image files are to be brought to, or None where the items are of one size already."""
        return LARGE_IMAGE if self.imagenet else None

    def standardize(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        """Set what is subtracted from items, and what they are divided by; images are scaled to [0, 1] before.

        A deviation of no more than a rounding of the mean, that of what never varied, divides by 1: items in which it
        varies are not blown up.

        Args:
            mean: floating-point [d] of features, [1] of gray images, [3] of colour.
            deviation: as `mean`, at least 0.

        Raises:
            TypeError: if one is no floating-point tensor.
            ValueError: if one is of another shape, or a deviation is below 0.
        """
        where = "HashingNetwork.standardize"
        for name, x in (("mean", mean), ("deviation", deviation)):
            check_floating(where, name, check_tensor(where, name, x))
            check_values(where, name, x)
            if x.shape != self.mean.shape:
                raise ValueError(f"{where}: expected {name} of shape {list(self.mean.shape)}, got {list(x.shape)}")
        if (deviation < 0).any():
            raise ValueError(f"{where}: expected deviation at least 0, got {float(deviation.min())}")
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        constant = self.deviation <= torch.finfo(self.mean.dtype).eps * self.mean.abs()
        self.deviation.masked_fill_(constant, 1.0)

    def prepare(self, items: torch.Tensor) -> torch.Tensor:
        """Return items as the backbone takes them: images [n, c, h, w], features [n, d], standardised.

        Raises:
            TypeError: if items are no tensor, or images not uint8.
            ValueError: if items are not of the shape that the network was made for.
        """
        check_tensor("HashingNetwork", "items", items)
        check_device("HashingNetwork", "items", items, self.mean.device)
        if items.shape[1:] != self.item_shape:
            expected, got = (", ".join(map(str, shape)) for shape in (self.item_shape, items.shape[1:]))
            raise ValueError(f"HashingNetwork: expected items of shape [n, {expected}], got [n, {got}]")
        if len(self.item_shape) > 1 and items.dtype != torch.uint8:
            raise TypeError(f"HashingNetwork: expected images of dtype uint8, got {dtype_name(items)}")
        if items.is_complex():
            raise TypeError(f"HashingNetwork: expected items of real numbers, got {dtype_name(items)}")
        if len(self.item_shape) == 1:
            return (items.float() - self.mean) / self.deviation
        varied = self.training and self.augmentation != "none"
        x = items[..., None] if items.ndim == 3 else items
        x = x.permute(0, 3, 1, 2).float() / 255
        if self.imagenet:
            x = cropped(enlarged(x.expand(-1, 3, -1, -1)), LARGE_CROP, varied)
        elif varied:
            x = cropped(functional.pad(x, [SMALL_MARGIN] * 4), x.shape[-2:], at_random=True)
        if varied and self.augmentation == "flip-crop":
            flipped = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            x = torch.where(flipped, x.flip(3), x)
        return (x - self.mean[:, None, None]) / self.deviation[:, None, None]

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Return u [n, n_bits] for items [n, *item_shape], uint8 images or floating-point features."""
        return self.outputs(self.prepare(items))

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """Return u [n, n_bits] for what `prepare` made of items."""
        u: torch.Tensor = self.head(self.backbone(x))
        return u

    def save(self, path: str | Path) -> None:
        """Write the architecture and the weights to a safetensors file."""
        check_path("HashingNetwork.save", "path", path)
        settings = {
            "architecture": self.architecture,
            "item_shape": self.item_shape,
            "n_bits": self.n_bits,
            "augmentation": self.augmentation,
        }
        save_module(self, path, _FORMAT, settings)

    @classmethod
    def load(cls, path: str | Path) -> HashingNetwork:
        """Read what `save` wrote, in evaluation mode.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not such a file.
        """
        check_path("HashingNetwork.load", "path", path)
        return load_module(cls, path, _FORMAT)
