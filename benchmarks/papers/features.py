"""What methods are compared on in place of the images: features of them."""

from __future__ import annotations

import re
from pathlib import Path

import click
import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from fasthash.data import Dataset
from fasthash.files import replacing
from fasthash.recipes.batches import Loaded
from fasthash.recipes.evaluation import network_outputs
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import Parts
from fasthash.recipes.ranks import seed_epoch


class Features(click.ParamType):
    """The option that says which features: pixels, or so many principal components of them."""

    name = "pixels|pca<n>"

    def convert(self, value, param, ctx):
        if not re.fullmatch(r"pixels|pca[1-9]\d*", value):
            self.fail(f"expected pixels, or pca and a number of components, got {value!r}", param, ctx)
        return value


def with_items(dataset: Dataset, items: np.ndarray) -> Dataset:
    """The data set with other items in the place of its own."""
    return Dataset(dataset.name, items, dataset.labels, {}, dataset.class_names)


def sizes(parts: Parts) -> dict[str, int]:
    """How many train, ask and are searched."""
    return {part: len(getattr(parts, part)) for part in ("train", "query", "database")}


def flat(items: np.ndarray) -> np.ndarray:
    """Features as they are, images as pixels from 0 to 1, float32 [n, d]."""
    return items if items.ndim == 2 else items.reshape(len(items), -1).astype(np.float32) / 255


def with_features(dataset: Dataset, parts: Parts, features: str) -> Dataset:
    """The data set as it is, or with the principal components of its pixels (from 0 to 1), fitted to training items."""
    if features == "pixels":
        return dataset
    pixels = flat(dataset.items)
    pca = PCA(int(features.removeprefix("pca")), svd_solver="covariance_eigh").fit(pixels[parts.train])
    return with_items(dataset, pca.transform(pixels).astype(np.float32))


def train_classifier(file: Path, dataset: Dataset, parts: Parts, epochs: int, augmentation: str, device: str) -> None:
    """Write every item's features by the network "cnn", trained to classify the training items, and its accuracy."""
    seed_epoch(0, 0)
    network = HashingNetwork("cnn", dataset.items.shape[1:], dataset.n_classes, augmentation=augmentation).to(device)
    train = Loaded(dataset.items, dataset.labels, parts.train)
    optimizer = torch.optim.Adam(network.parameters(), weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in tqdm(range(1, epochs + 1), desc="classifier", unit="epoch"):
        seed_epoch(0, epoch)
        network.train()
        for items, labels, _ in train.epoch(128, seed=0, epoch=epoch):
            loss = functional.cross_entropy(network(items.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
    query = Loaded(dataset.items, dataset.labels, parts.query)
    accuracy = (network_outputs(network, query).argmax(1) == query.labels).float().mean().item()
    network.head = nn.Identity()
    whole = Loaded(dataset.items, dataset.labels, np.arange(len(dataset.items)))
    with replacing(file) as path, path.open("wb") as stream:
        np.savez(stream, features=network_outputs(network, whole).numpy(), accuracy=accuracy)


def classified(file: Path, dataset: Dataset) -> tuple[Dataset, float]:
    """The data set with the features that `train_classifier` wrote, and the accuracy."""
    with np.load(file) as arrays:
        return with_items(dataset, arrays["features"]), float(arrays["accuracy"])
