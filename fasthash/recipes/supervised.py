"""Supervised deep hashing: a network trained by any of the losses, its codes rotated or not, and what they retrieve."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fasthash import losses
from fasthash.data import Dataset, ImageFiles
from fasthash.errors import check_choice
from fasthash.evaluate import mean_average_precision
from fasthash.hashers import H2Q, ITQ
from fasthash.hashers.affine import AffineHasher
from fasthash.losses.names import METHODS
from fasthash.ops.packing import pack_bits
from fasthash.recipes.evaluation import evaluate_codes, network_outputs
from fasthash.recipes.networks import LARGE_IMAGE, PRETRAINED, HashingNetwork
from fasthash.recipes.protocols import PROTOCOLS, Split
from fasthash.recipes.settings import ROTATIONS, SupervisedSettings
from fasthash.recipes.training import (
    Loaded,
    Row,
    RunFolder,
    Training,
    choose_device,
    joined_ranks,
    load_parts,
    seed_epoch,
)


@dataclass(frozen=True)
class SupervisedRun:
    """What `train_supervised` returns.

    Attributes:
        network: with the weights of the epoch that did best on the validation items, in evaluation mode.
        rotation: fitted to its outputs on the training items, or None.
        results: "mAP", "precision_within_2" and others of the queries, see `evaluate_codes`; "epoch", the one kept;
            "validation_mAP"; "seconds" of training.
        history: a row an epoch: "epoch", "loss", "seconds", and "validation_mAP" where it was measured.
    """

    network: HashingNetwork
    rotation: AffineHasher | None
    results: dict[str, float]
    history: list[Row]


def build_loss(method: str, n_bits: int, n_classes: int, labels: torch.Tensor, **arguments: Any) -> losses.HashingLoss:
    """Return the loss of a method, given what its constructor asks for.

    Args:
        method: a key of `METHODS`.
        n_bits: length of the codes.
        n_classes: how many labels there are.
        labels: of the training items, [n] or [n, n_classes].
        arguments: further ones of the constructor.

    Raises:
        ValueError: if the constructor has no such argument, or refuses a value.
    """
    loss: type[losses.HashingLoss] = getattr(losses, METHODS[check_choice("build_loss", "method", method, METHODS)])
    taken = inspect.signature(loss).parameters
    unknown = sorted(arguments.keys() - taken.keys())
    if unknown:
        raise ValueError(f"build_loss: expected arguments of {method} ({', '.join(taken)}), got {', '.join(unknown)}")
    given: dict[str, Any] = {"n_bits": n_bits, "n_classes": n_classes, "labels": labels}
    return loss(**{name: value for name, value in given.items() if name in taken}, **arguments)


def train_supervised(
    settings: SupervisedSettings,
    *,
    dataset: Dataset | None = None,
    parts: Split | None = None,
    root: str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int = 0,
    progress: bool = False,
) -> SupervisedRun:
    """Train a network to hash, and measure what its codes retrieve.

    A plain loop: a batch, the loss, a step. Every `validate_every` epochs a fifth of the validation items is searched
    for among the others, and the epoch of the best mean average precision is kept; queries are looked at once, at the
    end. Under `torchrun` every process takes a part of each batch and of each of its gradients.

    Args:
        settings: what decides the result.
        dataset: in place of the one that the settings name.
        parts: in place of the split that the settings name.
        root: where data sets are, else FASTHASH_DATA.
        out: folder for settings.json, log.csv, checkpoint.pt, network.safetensors, rotation.safetensors, results.json;
            None keeps nothing.
        resume: whether to go on with the training that `out` holds; the result is that of one never interrupted.
        device: "auto", "cpu", "cuda", ...
        workers: processes that read image files.
        progress: whether to show a progress bar.

    Raises:
        FileExistsError: if `out` holds a training and `resume` is not set.
        ValueError: if a setting does not fit the data, or `out` holds a training of other settings.
    """
    where = choose_device(device)
    with joined_ranks(where) as (rank, n_ranks):
        training = _Training(settings, dataset, parts, root, where, rank, n_ranks, workers)
        folder = RunFolder(Path(out) if out is not None and rank == 0 else None, dataclasses.asdict(settings), resume)
        return training.run(folder, progress and rank == 0)


class _Learner(nn.Module):
    """The network and its loss as one module, which is what ranks keep equal."""

    def __init__(self, network: HashingNetwork, loss: losses.HashingLoss, precision: str) -> None:
        super().__init__()
        self.network, self.loss, self.precision = network, loss, precision

    def forward(self, items: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        with torch.autocast(items.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            u = self.network(items)
        loss: torch.Tensor = self.loss(u.float(), labels, indices)
        return loss


class _Training(Training[SupervisedSettings]):
    def __init__(
        self,
        settings: SupervisedSettings,
        dataset: Dataset | None,
        parts: Split | None,
        root: str | Path | None,
        device: torch.device,
        rank: int,
        n_ranks: int,
        workers: int,
    ) -> None:
        super().__init__(
            settings,
            *load_parts(settings.dataset, settings, dataset, parts, root),
            device,
            image_size=LARGE_IMAGE if settings.network in PRETRAINED else None,
            rank=rank,
            n_ranks=n_ranks,
            workers=workers,
        )
        self.title = f"{settings.method}, {settings.bits} bits"
        if isinstance(self.dataset.items, ImageFiles) and self.image_size is None:
            raise ValueError(
                f"train_supervised: expected a network of torchvision for image files ({', '.join(PRETRAINED)}), got "
                f"{settings.network}"
            )
        n_asked = -(-len(self.split.validation) // 5)
        shuffled = np.random.default_rng(settings.split_seed).permutation(self.split.validation)
        self.validation_query, self.validation_database = (
            self._loaded(shuffled[:n_asked]),
            self._loaded(shuffled[n_asked:]),
        )

        seed_epoch(settings.seed, 0)
        self.learner = _Learner(self._network(self.image_size), self._loss(), settings.precision).to(device)
        self.network, self.loss = self.learner.network, self.learner.loss
        self.parallel: nn.Module = self.learner
        if n_ranks > 1:
            self.parallel = DistributedDataParallel(self.learner)
            quantizer = self.loss.quantizer
            if isinstance(quantizer, losses.HSWD):
                quantizer.group = dist.group.WORLD
        self.optimizer = self._optimizer()
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.parts = {"learner": self.learner, "optimizer": self.optimizer}
        self.best: dict[str, Any] = {"validation_mAP": -math.inf}

    def _network(self, image_size: int | None) -> HashingNetwork:
        settings, items = self.settings, self.dataset.items
        shape = (image_size or 0, image_size or 0, 3) if isinstance(items, ImageFiles) else items.shape[1:]
        network = HashingNetwork(
            settings.network,
            shape,
            settings.bits,
            augmentation=settings.augmentation if len(shape) > 1 else "none",
            pretrained=settings.pretrained,
        )
        if not settings.pretrained and not isinstance(items, ImageFiles):
            network.standardize(*_moments(items[self.split.train], len(network.mean)))
        return network

    def _loss(self) -> losses.HashingLoss:
        settings = self.settings
        loss = build_loss(
            settings.method,
            settings.bits,
            self.dataset.n_classes,
            self.train.labels,
            quantization=settings.quantization,
            quantization_weight=settings.quantization_weight,
            **settings.loss_arguments,
        )
        if loss.needs_indices and self.n_ranks > 1:
            raise ValueError(
                f"train_supervised: expected one process for {settings.method}, which keeps a code for each training "
                f"item, got {self.n_ranks}"
            )
        return loss

    def _optimizer(self) -> torch.optim.Optimizer:
        settings, backbone = self.settings, list(self.network.backbone.parameters())
        others = [*self.network.head.parameters(), *self.loss.parameters()]
        groups = [
            {"params": backbone, "lr": settings.learning_rate * settings.backbone_rate},
            {"params": others, "lr": settings.learning_rate},
        ]
        groups = [group for group in groups if group["params"]]
        if settings.optimizer == "adam":
            return torch.optim.Adam(groups, weight_decay=settings.weight_decay)
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay)

    def run(self, folder: RunFolder, progress: bool) -> SupervisedRun:
        rows = self._run_epochs(folder, progress)
        self.network.load_state_dict(self.best["network"])
        rotation, results = self._evaluate()
        results |= {"epoch": self.best["epoch"], "seconds": sum(row["seconds"] for row in rows)}
        if len(self.validation_database):
            results["validation_mAP"] = self.best["validation_mAP"]
        if folder.path is not None:
            self.network.save(folder.path / "network.safetensors")
            if rotation is not None:
                rotation.save(folder.path / "rotation.safetensors")
            folder.finish(results)
        return SupervisedRun(self.network, rotation, results, rows)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "best": self.best}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self.best = state["best"]

    def _epoch(self, epoch: int) -> Row:
        settings = self.settings
        share = (epoch - 1) / settings.epochs if settings.schedule == "cosine" else 0.0
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * share))
        self.parallel.train()
        row = super()._epoch(epoch)
        if epoch % settings.validate_every == 0 or epoch == settings.epochs:
            value = self._validation_map() if len(self.validation_database) else float(epoch)
            if len(self.validation_database):
                row["validation_mAP"] = value
            if value > self.best["validation_mAP"]:
                weights = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
                self.best = {"epoch": epoch, "validation_mAP": value, "network": weights}
        return row

    def _step(
        self, number: int, items: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        loss = self.parallel(items, labels, indices)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}

    def _end_epoch(self) -> None:
        self.loss.end_epoch()

    def _outputs(self, items: Loaded) -> torch.Tensor:
        return network_outputs(self.network, items, self.workers)

    def _validation_map(self) -> float:
        query, database = (self._outputs(x) for x in (self.validation_query, self.validation_database))
        return mean_average_precision(
            pack_bits(query), self.validation_query.labels, pack_bits(database), self.validation_database.labels
        )

    def _evaluate(self) -> tuple[AffineHasher | None, dict[str, float]]:
        settings = self.settings
        rotation = fit_rotation(settings.rotation, self._outputs(self.train), settings.seed)
        query, database = self._outputs(self.query), self._outputs(self.database)
        if rotation is not None:
            query, database = rotation.transform(query), rotation.transform(database)
        at = PROTOCOLS[settings.protocol].map_at
        return rotation, evaluate_codes(query, self.query.labels, database, self.database.labels, at)


def fit_rotation(name: str, u: torch.Tensor, seed: int = 0) -> AffineHasher | None:
    """Return the rotation of that name fitted to outputs u [n, n_bits]; None for "none"."""
    check_choice("fit_rotation", "name", name, ROTATIONS)
    if name == "none":
        return None
    n_bits = u.shape[1]
    rotation: AffineHasher = ITQ(n_bits, seed=seed) if name == "itq" else H2Q(n_bits, center=False, seed=seed)
    rotation.fit(u)
    return rotation


def _moments(items: NDArray[Any], n_values: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of each feature, or of each colour of images scaled to [0, 1]."""
    if items.ndim == 2:
        x = torch.from_numpy(items).double()
        return x.mean(dim=0), x.std(dim=0, correction=0)
    x = torch.from_numpy(items).reshape(len(items), -1, n_values if items.ndim == 4 else 1).double() / 255
    return x.mean(dim=(0, 1)), x.std(dim=(0, 1), correction=0)
