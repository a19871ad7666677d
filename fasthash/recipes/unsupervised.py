"""What the recipes without labels share: inputs from -1 to 1, an encoder of them, and small weights."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import torch
from numpy.typing import NDArray
from torch import nn

from fasthash.data import ImageFiles
from fasthash.recipes.loop import Given, Training
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.ranks import seed_epoch
from fasthash.recipes.settings import UnsupervisedSettings

_S = TypeVar("_S", bound=UnsupervisedSettings)


class UnsupervisedTraining(Training[_S]):
    """Base of the trainings without labels: an encoder of inputs that `HashingNetwork.prepare` brings to [-1, 1].

    Images are scaled from [0, 255]; features by one factor, about their means, so that distances keep their ratios. No
    label is looked at before the end, so nothing can choose an epoch: the last one is kept.
    """

    architecture: ClassVar[str] = "encoder"
    network: HashingNetwork

    def __init__(self, settings: _S, given: Given) -> None:
        super().__init__(settings, given)
        items = self.dataset.items
        if isinstance(items, ImageFiles):
            raise ValueError(
                f"train: expected features or images in memory for {type(settings).__name__}, but {self.dataset.name} "
                "is of image files; fasthash features makes features of them"
            )
        seed_epoch(settings.seed, 0)
        self.network = HashingNetwork(self.architecture, items.shape[1:], settings.bits).to(self.device)
        self.network.standardize(*_centre_and_reach(items[self.parts.train], len(self.network.mean)))
        self.n_inputs = items[0].size

    def inputs(self, items: torch.Tensor) -> torch.Tensor:
        """Return items as the encoder takes them, [n, n_inputs]."""
        return self.network.prepare(items).flatten(1)


def start_small(module: nn.Module) -> None:
    """Draw the weights of linear layers from N(0, 0.02) and set their biases to 0, as DCGAN and the autoencoders do."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)


def _centre_and_reach(items: NDArray[Any], n_values: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what brings items to [-1, 1] when it is subtracted and divided by; images are from 0 to 1."""
    if items.ndim > 2:
        return torch.full((n_values,), 0.5), torch.full((n_values,), 0.5)
    mean = items.mean(axis=0, dtype="float64")
    return torch.from_numpy(mean), torch.full((n_values,), float(abs(items - mean).max()))
