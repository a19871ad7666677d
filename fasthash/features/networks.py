"""Networks that images are brought through, up to a layer: torchvision's, or one's own."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional

from fasthash.errors import MissingDependencyError, check_choice, check_path

_DAMAGE = (  # what torch and safetensors raise where a file is not one, or has other tensors
    *(AttributeError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError),
    *(pickle.UnpicklingError, SafetensorError),
)
Transform = Callable[[torch.Tensor], torch.Tensor]

RANDOM = "random"
_VGG_LAYERS = {"fc6": "classifier.1", "fc7": "classifier.4"}
PAPERS_LAYERS = {  # after their ReLU
    "alexnet": {"fc6": "classifier.2", "fc7": "classifier.5"},
    **dict.fromkeys(("vgg11", "vgg13", "vgg16", "vgg19"), _VGG_LAYERS),
    **dict.fromkeys(("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"), _VGG_LAYERS),
}
_SIZE, _CROP = 256, 224  # of images, as networks of ImageNet see them
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FeatureNetwork(nn.Module):
    """A network, put into evaluation mode, that returns what one of its layers returns.

    Args:
        network: from images [n, c, h, w].
        name: of the network, for errors.
        layer: the name of a module in it; of a module that is called several times the last output counts. None for
            the network's own output.
        before: whether to return what goes into the layer instead.
    """

    def __init__(self, network: nn.Module, name: str, layer: str | None, *, before: bool = False) -> None:
        super().__init__()
        self.network, self.name, self.layer = network, name, layer
        self._kept: Any = None
        self.eval()
        if layer is None:
            return
        layers = dict(network.named_modules())
        if layer not in layers:
            ends = [path for path, module in layers.items() if path and not any(module.children())]
            raise ValueError(
                f"extract: expected layer to be a module of {name}, {', '.join(ends[-12:])} say, got {layer!r}"
            )
        if before:
            layers[layer].register_forward_pre_hook(self._keep_input)
        else:
            layers[layer].register_forward_hook(self._keep_output)

    def _keep_input(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        self._keep_output(module, given, given[0])

    def _keep_output(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        self._kept = output.clone() if isinstance(output, torch.Tensor) else output  # a ReLU in place may come after

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features [n, d] of images [n, c, h, w], what has more dimensions made flat."""
        self._kept = None
        output = self.network(images)
        features = output if self.layer is None else self._kept
        place = self.name if self.layer is None else f"{self.layer} of {self.name}"
        if not isinstance(features, torch.Tensor):
            raise TypeError(f"extract: expected {place} to return a tensor, got {type(features).__name__}")
        if not features.is_floating_point() or features.ndim < 2 or len(features) != len(images):
            raise ValueError(
                f"extract: expected {place} to return floating-point [{len(images)}, ...] for {len(images)} images, "
                f"got {features.dtype} {list(features.shape)}"
            )
        return features.flatten(1)


def build(
    network: str | nn.Module, layer: str | None, weights: str | Path | None, seed: int
) -> tuple[FeatureNetwork, Transform]:
    """Return a network up to a layer, and what brings an image, uint8 [3, h, w], to what it takes.

    The arguments and errors are those of `fasthash.features.extract`.
    """
    if not isinstance(network, (str, nn.Module)):
        raise TypeError(f"extract: expected network to be a string or a module, got {type(network).__name__}")
    if layer is not None and not isinstance(layer, str):
        raise TypeError(f"extract: expected layer to be a string, got {type(layer).__name__}")
    if weights is not None:
        check_path("extract", "weights", weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(network, str) and ":" not in network:
            return _of_torchvision(network, layer, weights)
        module = _own(network) if isinstance(network, str) else copy.deepcopy(network)
    name = network if isinstance(network, str) else type(network).__name__
    if weights is not None:
        _load(module, name, Path(weights))
    transform: Transform = getattr(module, "transform", imagenet_transform)
    if not callable(transform):
        raise TypeError(f"extract: expected transform of {name} to be a function, got {type(transform).__name__}")
    return FeatureNetwork(module, name, layer), transform


def imagenet_transform(image: torch.Tensor) -> torch.Tensor:
    """Return the middle 224 x 224 of an image whose shorter side is brought to 256, standardised as ImageNet's are."""
    sides = image.shape[1:]
    size = [max(_SIZE, round(side * _SIZE / min(sides))) for side in sides]
    x = functional.interpolate(image[None].float() / 255, size, mode="bilinear", antialias=True)[0]
    top, left = ((side - _CROP) // 2 for side in size)
    x = x[:, top : top + _CROP, left : left + _CROP]
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (_MEAN, _DEVIATION))
    return (x - mean) / deviation


def _of_torchvision(name: str, layer: str | None, weights: str | Path | None) -> tuple[FeatureNetwork, Transform]:
    try:
        from torchvision import models
    except ImportError:
        raise MissingDependencyError(f"the network {name}", "torchvision", "vision") from None
    check_choice("extract", "network", name, models.list_models())
    there = models.get_model_weights(name)
    names = [str(each.name) for each in there]
    if weights is None:
        raise ValueError(f"extract: expected weights for {name}, a file, {', '.join(names)} or {RANDOM}, got none")
    chosen = there[str(weights)] if str(weights) in names else None
    try:
        whole = models.get_model(name, weights=chosen)
    except OSError as error:
        raise OSError(
            f"extract: expected the weights {weights} of {name} in torch's cache, {torch.hub.get_dir()}, or a way to "
            f"download them, got {error}"
        ) from error
    if chosen is None and weights != RANDOM:
        _load(whole, name, Path(weights), names)
    transform: Transform = (chosen or there.DEFAULT).transforms()
    named = PAPERS_LAYERS.get(name, {}).get(layer or "", layer)
    if named is not None:
        return FeatureNetwork(whole, name, named), transform
    linear = [path for path, module in whole.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"extract: expected layer for {name}, which has no linear one to take the input of, got none")
    return FeatureNetwork(whole, name, linear[-1], before=True), transform


def _own(place: str) -> nn.Module:
    """Return the module at "module:attribute", or what a function or class there makes."""
    where, _, attribute = place.partition(":")
    try:
        found: Any = getattr(import_module(where), attribute)
    except (AttributeError, ModuleNotFoundError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and not f"{where}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"extract: expected network at module:attribute, got {place!r}: {error}") from error
    made = found() if inspect.isclass(found) or inspect.isfunction(found) else copy.deepcopy(found)
    if not isinstance(made, nn.Module):
        raise TypeError(f"extract: expected a torch module at {place}, or what makes one, got {type(made).__name__}")
    return made


def _load(network: nn.Module, name: str, path: Path, others: list[str] | None = None) -> None:
    """Give a network the weights of a file, safetensors or what torch.save wrote of a state."""
    if not path.is_file():
        alternatives = f", {', '.join(others)} or {RANDOM}" if others else ""
        raise FileNotFoundError(f"extract: expected weights for {name} in a file{alternatives}, got {str(path)!r}")
    expected = f"extract: expected weights of {name} in {path}, got"
    try:
        network.load_state_dict(dict(_tensors(path)))
    except _DAMAGE as error:
        raise ValueError(f"{expected} {error}") from error


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a file; those of a state in a checkpoint, or of a module in DataParallel, by plain names."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state: Any = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    for name, tensor in state.items():
        yield name.removeprefix("module."), tensor
