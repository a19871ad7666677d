"""What the recipes without labels share: inputs from -1 to 1, and an encoder of them."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from numpy.typing import NDArray

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
        self.network.standardize(*self.standardization(items[self.parts.train], len(self.network.mean)))
        self.n_inputs = items[0].size

    @property
    def architecture(self) -> str:
        """The encoder's."""
        return "encoder"

    def standardization(self, items: NDArray[Any], n_values: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is subtracted from items, and what they are divided by; images are from 0 to 1."""
        if items.ndim > 2:
            return torch.full((n_values,), 0.5), torch.full((n_values,), 0.5)
        mean = items.mean(axis=0, dtype="float64")
        return torch.from_numpy(mean), torch.full((n_values,), float(abs(items - mean).max()))

    def inputs(self, items: torch.Tensor) -> torch.Tensor:
        """Return items as the encoder takes them, [n, n_inputs]."""
        return self.network.prepare(items).flatten(1)
