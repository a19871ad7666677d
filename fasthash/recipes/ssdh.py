"""Semantic structure-based deep hashing: pairs that are certainly alike, or certainly not, by their cosines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fasthash.recipes.loop import Given
from fasthash.recipes.settings import SSDHSettings
from fasthash.recipes.unsupervised import UnsupervisedTraining

BIN_WIDTH = 0.01  # of the histogram of distances
_SAMPLED = 2000  # items whose pairs make the histogram


def cosine_distances(x: torch.Tensor) -> torch.Tensor:
    """Return 1 - cosine of all pairs of rows of `x` [n, d], [n, n]."""
    directions = functional.normalize(x, dim=1)
    return 1 - directions @ directions.T


def structure_bounds(distances: torch.Tensor, deviations: float) -> tuple[float, float]:
    """Return the distance under which a pair is alike, and that above which it is not.

    Each side of the most frequent distance, the fullest bin's middle, is taken for half of a normal distribution, whose
    deviation is the root mean square of that side's distances to it.

    Args:
        distances: from 0 to 2, of any shape, at least one.
        deviations: how many of them lie between the mode and a bound.
    """
    counts = torch.histc(distances.float(), round(2 / BIN_WIDTH), 0, 2)
    mode = (float(counts.argmax()) + 0.5) * BIN_WIDTH
    from_mode = distances.double() - mode
    left, right = from_mode[from_mode < 0], from_mode[from_mode > 0]
    below, above = (float(side.square().mean().sqrt()) if len(side) else 0.0 for side in (left, right))
    return mode - deviations * below, mode + deviations * above


def semantic_structure(distances: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Return 1 for distances below `low`, -1 for those above `high`, and 0 for the uncertain ones between."""
    return (distances < low).float() - (distances > high).float()


def structure_loss(u: torch.Tensor, structure: torch.Tensor) -> torch.Tensor:
    """Return the mean over all pairs of |s| (b_i b_j / n_bits - s)^2, for b = tanh `u` [n, n_bits] and s [n, n]."""
    b = u.tanh()
    return (structure.abs() * (b @ b.T / b.shape[1] - structure).square()).mean()


class SSDHTraining(UnsupervisedTraining[SSDHSettings]):
    """Train an encoder to keep the pairs of a semantic structure.

    The structure is found once, from the cosine distances of the items as they are given (`structure_bounds`); within
    each batch the cosine structure of the pairs (`semantic_structure`) is kept by `structure_loss`. Adam trains the
    encoder, `network`, by default one linear layer.

    Source: Yang, Deng, Liu, Liu, Tao, "Semantic Structure-based Unsupervised Deep Hashing", 2018; within a multi-layer
    perceptron as in Doan et al., 2020.
    """

    takes_ranks = True

    def __init__(self, settings: SSDHSettings, given: Given) -> None:
        super().__init__(settings, given)
        self.title = f"ssdh, {settings.bits} bits"
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.state = {"encoder": self.network, "optimizer": self.optimizer}
        chosen = torch.randperm(len(self.train))[:_SAMPLED].tolist()
        distances = cosine_distances(self.train.__getitems__(chosen)[0].flatten(1).float())
        different = torch.ones_like(distances, dtype=torch.bool).triu(diagonal=1)
        self.low, self.high = structure_bounds(distances[different], settings.deviations)

    @property
    def architecture(self) -> str:
        """The settings'."""
        return self.settings.network

    def standardization(self, items: NDArray[Any], n_values: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what brings items to means of 0 and a mean variance of 1, images by colour."""
        x = items if items.ndim == 2 else items.reshape(-1, n_values)
        mean = x.mean(axis=0, dtype="float64")
        deviation = float(np.sqrt(x.var(axis=0, dtype="float64").mean()))
        unit = 1 if items.ndim == 2 else 255
        return torch.from_numpy(mean / unit), torch.full((n_values,), deviation / unit)

    def step(
        self, number: int, items: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Make a step on the loss of a batch."""
        whole = self.given.ranks.gathered
        structure = semantic_structure(cosine_distances(whole(items.flatten(1).float())), self.low, self.high)
        loss = structure_loss(whole(self.network(items)), structure)
        self.learn(loss, self.optimizer)
        return {"loss": loss}
