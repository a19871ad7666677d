"""Two domains of the same classes: brought to items of one shape, and batches of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fasthash.data import Dataset, ImageFiles
from fasthash.recipes.batches import Batch, Batches
from fasthash.recipes.networks.images import square


class PairedBatches:
    """Batches (source items, source labels, target items).

    Args:
        source: the labelled domain's.
        target: as many of the unlabelled domain, whose labels are dropped.
    """

    def __init__(self, source: Batches, target: Batches) -> None:
        self.source, self.target = source, target

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        for (items, labels, _), (others, _, _) in zip(self.source, self.target, strict=True):
            yield items, labels, others


def balanced_batches(
    labels: NDArray[np.int64], n_classes: int, batch_size: int, n_batches: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return the indices of batches that have `batch_size` // `n_classes` items of each class.

    Each class's items come in random order, all of them before one comes again.
    """
    size = batch_size // n_classes
    drawn = [
        np.resize(generator.permutation(np.flatnonzero(labels == label)), (n_batches, size))
        for label in range(n_classes)
    ]
    return list(np.concatenate(drawn, axis=1))


def repeated_batches(
    n: int, batch_size: int, n_batches: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return the indices of batches of n items in random order, all of them before one comes again."""
    n_passes = -(-batch_size * n_batches // n)
    order = np.concatenate([generator.permutation(n) for _ in range(n_passes)])
    return list(order[: batch_size * n_batches].reshape(n_batches, batch_size))


def comparable(source: Dataset, target: Dataset, image_size: int) -> tuple[Dataset, Dataset]:
    """Return two data sets with items of one shape: features as they are, images squares of `image_size`.

    Gray images get colours if the other domain's have them; image files are read.

    Raises:
        ValueError: if one is of features and one of images, features differ in width, items may have several labels,
            or the target has other classes than the source.
    """
    for dataset in (source, target):
        if dataset.labels.ndim != 1:
            raise ValueError(f"train: expected one label an item, but {dataset.name} has several")
    if target.class_names != source.class_names[: target.n_classes]:
        raise ValueError(
            f"train: expected the classes of {source.name} ({', '.join(source.class_names)}) in {target.name}, got "
            f"{', '.join(target.class_names)}"
        )
    features = [isinstance(x.items, np.ndarray) and x.items.ndim == 2 for x in (source, target)]
    if features[0] != features[1]:
        kinds = ["features" if x else "images" for x in features]
        raise ValueError(
            f"train: expected features in both domains or images in both, but {source.name} has {kinds[0]} and "
            f"{target.name} {kinds[1]}"
        )
    if not all(features):
        images = [_resized(x, image_size) for x in (source, target)]
        if {x.ndim for x in images} == {3, 4}:
            images = [x if x.ndim == 4 else np.repeat(x[..., None], 3, axis=3) for x in images]
        return replace(source, items=images[0]), replace(target, items=images[1])
    widths = [dataset.items[0].size for dataset in (source, target)]
    if widths[0] != widths[1]:
        raise ValueError(
            f"train: expected features as wide as those of {source.name} ({widths[0]}), but those of {target.name} "
            f"have {widths[1]}"
        )
    return source, target


def _resized(dataset: Dataset, size: int) -> NDArray[np.uint8]:
    items = dataset.items
    if isinstance(items, ImageFiles):
        return np.stack([square(items[i], size) for i in range(len(items))])
    if items.shape[1:3] == (size, size):
        return items
    resized = []
    for images in np.array_split(items, -(-len(items) // 1000)):
        x = torch.from_numpy(images if images.ndim == 4 else images[..., None]).permute(0, 3, 1, 2).float()
        x = functional.interpolate(x, (size, size), mode="bilinear", antialias=True).round().clamp(0, 255)
        resized.append(x.permute(0, 2, 3, 1).byte().numpy())
    whole = np.concatenate(resized)
    return whole if items.ndim == 4 else whole[..., 0]
