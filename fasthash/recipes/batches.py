"""Batches that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.data import Dataset, ImageFiles, loading
from fasthash.recipes.networks.images import square
from fasthash.recipes.ranks import ONE_PROCESS, Ranks

Items = NDArray[Any] | ImageFiles
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
EVALUATION_BATCH = 512


class Batches(Protocol):
    """What an epoch's steps learn from."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __iter__(self) -> Iterator[Batch]:
        """Yield three tensors each."""


class Loaded:
    """Some items of a data set with their labels, fetched a batch at a time.

    Args:
        items: of the whole data set.
        labels: of the whole data set, [n] or [n, c].
        positions: which items.
        image_size: what image files are brought to, their middle square.
    """

    def __init__(
        self, items: Items, labels: NDArray[Any], positions: NDArray[np.int64], image_size: int | None = None
    ) -> None:
        self.items, self.positions, self.image_size = items, positions, image_size
        self.labels = torch.from_numpy(labels[positions])

    @classmethod
    def parts(cls, dataset: Dataset, parts: Iterable[NDArray[np.int64]], image_size: int | None = None) -> list[Loaded]:
        """Return the items of a data set at the positions of several parts."""
        return [cls(dataset.items, dataset.labels, positions, image_size) for positions in parts]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = self.positions[indices]
        if isinstance(self.items, ImageFiles):
            assert self.image_size is not None
            batch = np.stack([square(self.items[int(i)], self.image_size) for i in chosen])
        else:
            batch = self.items[chosen]
        return torch.from_numpy(batch), self.labels[indices], torch.tensor(indices)

    def epoch(
        self, batch_size: int, *, seed: int, epoch: int, ranks: Ranks = ONE_PROCESS, workers: int = 0
    ) -> loading.Loader[Batch]:
        """Return the batches (items, labels, indices) of one epoch in random order, the last one cut off if smaller.

        Of each batch these are the rank's items.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        whole = order[: len(self) // batch_size * batch_size].reshape(-1, batch_size)
        return self.batches([ranks.own(batch) for batch in whole], workers)

    def in_order(self, workers: int = 0) -> loading.Loader[Batch]:
        """Return all batches in order."""
        return self.batches(np.array_split(np.arange(len(self)), max(1, -(-len(self) // EVALUATION_BATCH))), workers)

    def batches(self, batches: list[NDArray[np.int64]], workers: int = 0) -> loading.Loader[Batch]:
        """Return the batches (items, labels, indices) of these indices."""
        return loading.Loader(self, batches, workers)
