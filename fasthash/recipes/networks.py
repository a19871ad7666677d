"""Networks from items to the real outputs whose signs are the code."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from fasthash.errors import MAX_BITS, MissingDependencyError, check_choice, check_integer
from fasthash.files import replacing
from fasthash.recipes.settings import ARCHITECTURES, AUGMENTATIONS

PRETRAINED = ("alexnet", "vgg11", "vgg16")
ENCODER_WIDTHS = (500, 500, 100)
LENET_WIDTHS = (16, 32)
STRIDED_WIDTHS = (16, 32, 64, 64)
LARGE_IMAGE, LARGE_CROP = 256, 224  # what torchvision's networks see
_SMALL_MARGIN = 4  # pixels around a small image before a crop of its size
_FORMAT = "fasthash network 1"
_M = TypeVar("_M", bound=nn.Module)


class HashingNetwork(nn.Module):
    """Preparation of the items, a backbone, and a linear layer to the outputs u [n, n_bits]; the code is the sign of u.

    Args:
        architecture: "linear", none but the last layer; "mlp", a hidden layer of 512; "encoder", the autoencoders',
            hidden layers of 500, 500 and 100; "cnn", three convolutions for small images; "lenet", two and a
            hidden layer of 128; "strided", four with strides of 2; "alexnet", "vgg11" or "vgg16" of torchvision up to
            their last layer.
        item_shape: of an item: [d] features, [h, w] gray or [h, w, 3] colour.
        n_bits: 1 to 4,096.
        augmentation: of images in training mode: "none", "crop" at random places, or "flip-crop".
        pretrained: whether torchvision's networks start from its ImageNet weights (read from torch's cache, else
            downloaded).

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
        self.architecture = check_choice(where, "architecture", architecture, ARCHITECTURES)
        self.augmentation = check_choice(where, "augmentation", augmentation, AUGMENTATIONS)
        self.n_bits = check_integer(where, "n_bits", n_bits, 1, MAX_BITS)
        self.item_shape = tuple(item_shape)
        images = len(self.item_shape) > 1
        if not (len(self.item_shape) in (1, 2) or (len(self.item_shape) == 3 and self.item_shape[2] == 3)):
            raise ValueError(f"{where}: expected item_shape [d], [h, w] or [h, w, 3], got {list(self.item_shape)}")
        if not images and architecture not in ("linear", "mlp", "encoder"):
            raise ValueError(f"{where}: expected images for {architecture}, got features of shape {self.item_shape}")
        if pretrained and architecture not in PRETRAINED:
            raise ValueError(f"{where}: expected pretrained weights of {', '.join(PRETRAINED)}, got {architecture}")
        self.channels = 3 if architecture in PRETRAINED or len(self.item_shape) == 3 else 1
        n_values = self.channels if images else self.item_shape[0]
        self.register_buffer("mean", torch.zeros(n_values))
        self.register_buffer("deviation", torch.ones(n_values))
        if pretrained:
            self.mean.copy_(torch.tensor([0.485, 0.456, 0.406]))
            self.deviation.copy_(torch.tensor([0.229, 0.224, 0.225]))
        self.backbone, n_features = _backbone(self, pretrained)
        self.head = nn.Linear(n_features, n_bits)

    def standardize(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        """Set what is subtracted from items, and what they are divided by; images are scaled to [0, 1] before."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp(min=1e-6))

    def prepare(self, items: torch.Tensor) -> torch.Tensor:
        """Return items as the backbone takes them: images [n, c, h, w], features [n, d], standardised."""
        if len(self.item_shape) == 1:
            return (items.float() - self.mean) / self.deviation
        x = items[..., None] if items.ndim == 3 else items
        x = x.permute(0, 3, 1, 2).float() / 255
        if self.architecture in PRETRAINED:
            x = _cropped(_resized(x.expand(-1, 3, -1, -1)), LARGE_CROP, self.training and self.augmentation != "none")
        elif self.training and self.augmentation != "none":
            x = _cropped(functional.pad(x, [_SMALL_MARGIN] * 4), x.shape[-2:], at_random=True)
        if self.training and self.augmentation == "flip-crop":
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
            ValueError: if it is not such a file.
        """
        return load_module(cls, path, _FORMAT)


def save_module(module: nn.Module, path: str | Path, form: str, settings: Mapping[str, Any]) -> None:
    """Write the arguments of a module's constructor and its weights to a safetensors file."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in module.state_dict().items()}
    with replacing(path) as file:
        save_file(tensors, file, metadata={"format": form, "settings": json.dumps(settings)})


def load_module(kind: type[_M], path: str | Path, form: str) -> _M:
    """Read what `save_module` wrote, in evaluation mode, or raise a ValueError."""
    where = f"{kind.__name__}.load"
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            if metadata.get("format") != form:
                raise ValueError(f"{where}: expected a file of format {form!r}, got {path}")
            module = kind(**json.loads(metadata["settings"]))
            module.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{where}: expected a network written by save, got {path}: {error}") from error
    return module.eval()


def leaky_layers(*widths: int) -> list[nn.Module]:
    """Return linear layers from width to width, each with LeakyReLU (0.2) after it."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    return layers


def decoder(item_shape: Sequence[int], n_bits: int) -> nn.Sequential:
    """Return the layers from codes [n, n_bits] back to what `HashingNetwork.prepare` makes of items.

    Features have a hidden layer of 512, and a linear one after it; images the four transposed convolutions that mirror
    the network "strided", and tanh.
    """
    if len(item_shape) == 1:
        return nn.Sequential(*leaky_layers(n_bits, 512), nn.Linear(512, item_shape[0]))
    height, width = (_halvings(size)[::-1] for size in item_shape[:2])
    layers: list[nn.Module] = [*leaky_layers(n_bits, STRIDED_WIDTHS[-1] * height[0] * width[0])]
    layers.append(nn.Unflatten(1, (STRIDED_WIDTHS[-1], height[0], width[0])))
    widths = (*STRIDED_WIDTHS[::-1], 3 if len(item_shape) == 3 else 1)
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        padding = height[i + 1] - 2 * height[i] + 1, width[i + 1] - 2 * width[i] + 1
        layers += [nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=padding), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1], nn.Tanh())


def _halvings(size: int) -> list[int]:
    """Return the sizes that convolutions with strides of 2 bring a size to, and it first."""
    sizes = [size]
    for _ in STRIDED_WIDTHS:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def _backbone(network: HashingNetwork, pretrained: bool) -> tuple[nn.Module, int]:
    shape = network.item_shape
    n_values = 1
    for size in shape:
        n_values *= size
    if network.architecture == "linear":
        return nn.Flatten(), n_values
    if network.architecture == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(n_values, 512), nn.ReLU()), 512
    if network.architecture == "encoder":
        return nn.Sequential(nn.Flatten(), *leaky_layers(n_values, *ENCODER_WIDTHS)), ENCODER_WIDTHS[-1]
    if network.architecture == "cnn":
        blocks: list[nn.Module] = []
        for before, width in ((network.channels, 32), (32, 64), (64, 128)):
            convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten()), 512
    if network.architecture == "lenet":
        blocks = []
        for before, width in itertools.pairwise((network.channels, *LENET_WIDTHS)):
            blocks += [nn.Conv2d(before, width, 5, padding=2), nn.MaxPool2d(2), nn.LeakyReLU(0.2)]
        n_inner = LENET_WIDTHS[-1] * (shape[0] // 4) * (shape[1] // 4)
        return nn.Sequential(*blocks, nn.Flatten(), *leaky_layers(n_inner, 128)), 128
    if network.architecture == "strided":
        blocks = []
        for before, width in itertools.pairwise((network.channels, *STRIDED_WIDTHS)):
            blocks += [nn.Conv2d(before, width, 3, 2, 1), nn.LeakyReLU(0.2)]
        n_features = STRIDED_WIDTHS[-1] * _halvings(shape[0])[-1] * _halvings(shape[1])[-1]
        return nn.Sequential(*blocks, nn.Flatten()), n_features
    return _torchvision_backbone(network.architecture, pretrained)


def _torchvision_backbone(architecture: str, pretrained: bool) -> tuple[nn.Module, int]:
    try:
        from torchvision import models
    except ImportError:
        raise MissingDependencyError(f"the network {architecture}", "torchvision", "vision") from None
    try:
        whole: Any = models.get_model(architecture, weights="IMAGENET1K_V1" if pretrained else None)
    except OSError as error:
        raise OSError(
            f"HashingNetwork: expected the ImageNet weights of {architecture} in torch's cache, {torch.hub.get_dir()}, "
            f"or a way to download them, got {error}"
        ) from error
    last = whole.classifier[-1]
    whole.classifier = whole.classifier[:-1]
    return whole, last.in_features


def _resized(x: torch.Tensor) -> torch.Tensor:
    if tuple(x.shape[-2:]) == (LARGE_IMAGE, LARGE_IMAGE):
        return x
    return functional.interpolate(x, size=(LARGE_IMAGE, LARGE_IMAGE), mode="bilinear", antialias=True)


def _cropped(x: torch.Tensor, size: int | Sequence[int], at_random: bool) -> torch.Tensor:
    """Return a window of each image [n, c, h, w], in the middle or each at a random place."""
    height, width = (size, size) if isinstance(size, int) else size
    free = x.shape[2] - height, x.shape[3] - width
    if not at_random:
        return x[:, :, free[0] // 2 :, free[1] // 2 :][:, :, :height, :width]
    rows, columns = (
        torch.randint(0, most + 1, (len(x), 1), device=x.device) + torch.arange(length, device=x.device)
        for most, length in zip(free, (height, width), strict=True)
    )
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return x[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
