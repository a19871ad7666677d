"""What the recipes without labels share: inputs from -1 to 1, the last epoch kept, and what its codes retrieve."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from numpy.typing import NDArray
from torch import nn

from fasthash.data import Dataset, ImageFiles
from fasthash.recipes.evaluation import evaluate_codes, network_outputs
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import PROTOCOLS, Split
from fasthash.recipes.settings import UnsupervisedSettings
from fasthash.recipes.training import (
    Row,
    RunFolder,
    Training,
    choose_device,
    load_parts,
    seed_epoch,
)


@dataclass(frozen=True)
class UnsupervisedRun:
    """What a training without labels returns.

    Attributes:
        encoder: with the weights of the last epoch, in evaluation mode; the signs of its outputs are the codes.
        results: "mAP", "precision_at_1000" and others of the queries, see `evaluate_codes`; "seconds" of training.
        history: a row an epoch: "epoch", "loss", what else the recipe logs, "seconds".
    """

    encoder: HashingNetwork
    results: dict[str, float]
    history: list[Row]


_S = TypeVar("_S", bound=UnsupervisedSettings)


class UnsupervisedTraining(Training[_S]):
    """Base of the trainings without labels: an encoder of inputs that `HashingNetwork.prepare` brings to [-1, 1].

    Images are scaled from [0, 255]; features by one factor, about their means, so that distances keep their ratios.
    """

    architecture: ClassVar[str] = "encoder"

    def __init__(
        self,
        settings: _S,
        dataset: Dataset | None,
        split_of_it: Split | None,
        root: str | Path | None,
        device: torch.device,
    ) -> None:
        super().__init__(settings, *load_parts(settings.dataset, settings, dataset, split_of_it, root), device)
        items = self.dataset.items
        if isinstance(items, ImageFiles):
            raise ValueError(
                f"{settings.recipe}: expected features or images in memory, but {self.dataset.name} is of image files"
            )
        seed_epoch(settings.seed, 0)
        self.encoder = HashingNetwork(self.architecture, items.shape[1:], settings.bits).to(device)
        self.encoder.standardize(*_centre_and_reach(items[self.split.train], len(self.encoder.mean)))
        self.n_inputs = items[0].size

    def run(self, folder: RunFolder, progress: bool) -> UnsupervisedRun:
        """Train what `folder` does not have yet, and look at the queries once."""
        self.encoder.train()
        rows = self._run_epochs(folder, progress)
        query, database = (network_outputs(self.encoder, x) for x in (self.query, self.database))
        at = PROTOCOLS[self.settings.protocol].map_at
        results = evaluate_codes(query, self.query.labels, database, self.database.labels, at)
        results["seconds"] = sum(row["seconds"] for row in rows)
        if folder.path is not None:
            self.encoder.save(folder.path / "network.safetensors")
            folder.finish(results)
        return UnsupervisedRun(self.encoder, results, rows)

    def _inputs(self, items: torch.Tensor) -> torch.Tensor:
        return self.encoder.prepare(items).flatten(1)

    def _outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.encoder.outputs(inputs)


def train_unsupervised(
    training: type[UnsupervisedTraining[_S]],
    settings: _S,
    dataset: Dataset | None,
    parts: Split | None,
    root: str | Path | None,
    out: str | Path | None,
    resume: bool,
    device: str,
    progress: bool,
) -> UnsupervisedRun:
    """Train by a recipe; the arguments are those of `train_autoencoder`."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError(f"{settings.recipe}: expected one process, got {os.environ['WORLD_SIZE']}")
    prepared = training(settings, dataset, parts, root, choose_device(device))
    return prepared.run(
        RunFolder(Path(out) if out is not None else None, dataclasses.asdict(settings), resume), progress
    )


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
