"""The function that trains, by any recipe, and the loop it runs: epochs that are kept one by one."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors.torch import save_model
from torch import nn
from tqdm import tqdm

from fasthash.data import Dataset, load_dataset
from fasthash.errors import check_integer
from fasthash.files import replacing
from fasthash.hashers import AffineHasher
from fasthash.plugins import located
from fasthash.recipes.batches import Batches, Items, Loaded
from fasthash.recipes.evaluation import encode, evaluate_codes, network_outputs
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import PROTOCOLS, Parts, check_parts, split
from fasthash.recipes.ranks import joined_ranks, seed_epoch
from fasthash.recipes.run_folder import Row, RunFolder
from fasthash.recipes.settings import RecipeSettings

WEIGHTS_FORMAT = "fasthash weights 1"  # of a network that only its own code can make
_S = TypeVar("_S", bound=RecipeSettings)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Run:
    """What `train` returns.

    Attributes:
        network: in evaluation mode, with the weights of the epoch that was kept; the signs of its outputs, rotated if
            there is a rotation, are the codes.
        rotation: fitted to its outputs on the training items, or None.
        results: "mAP", "precision_within_2" and others of the queries, see `evaluate_codes`; "seconds" of training; and
            what the recipe adds.
        history: a row an epoch: "epoch", "loss" or the recipe's own terms, "seconds", and what it measures between.
        parts: who trained, asked and was searched: positions of the data set, the last one where there are two.
        modules: what was trained beside the network, by name.
    """

    network: nn.Module
    rotation: AffineHasher | None
    results: dict[str, float]
    history: list[Row]
    parts: Parts
    modules: dict[str, nn.Module]

    def encode(self, items: Items) -> NDArray[np.uint8]:
        """Return the packed codes, uint8 [n, ceil(n_bits / 8)], of items as the data set has them."""
        return encode(self.network, items, self.rotation)


@dataclass(frozen=True)
class Given:
    """What a recipe has beside its settings.

    Attributes:
        data: the data sets, and who trains, asks and is searched in each.
        device: where to train.
        network: in place of the settings'.
        loss: in place of the settings'.
        workers: processes that read image files.
        rank: of this process.
        n_ranks: how many processes train.
    """

    data: Sequence[tuple[Dataset, Parts]]
    device: torch.device
    network: nn.Module | None = None
    loss: Callable[..., torch.Tensor] | None = None
    workers: int = 0
    rank: int = 0
    n_ranks: int = 1


def train(
    settings: RecipeSettings,
    *,
    dataset: Dataset | tuple[Dataset, ...] | None = None,
    network: nn.Module | None = None,
    loss: Callable[..., torch.Tensor] | None = None,
    parts: Parts | tuple[Parts, ...] | None = None,
    root: str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int = 0,
    progress: bool = False,
) -> Run:
    """Train a network to hash by the recipe of the settings, and measure what its codes retrieve.

    Args:
        settings: what decides the result, of one of the classes in `RECIPES`.
        dataset: in place of the one that the settings name; for a recipe of two domains, of both.
        network: in place of the one that the settings name, where the recipe takes any: from a batch of the data set's
            items, as they are, to outputs [n, bits]. For preparation and augmentation, and to be chosen by name, give a
            backbone a name in `BACKBONES` instead.
        loss: in place of the one that the settings name, where the recipe takes any: a `HashingLoss`, or what returns a
            scalar for outputs u [n, bits] and labels. If it is a module, its parameters are trained too.
        parts: in place of those that the settings' protocol draws; for a recipe of two domains, of both.
        root: where data sets are, else FASTHASH_DATA.
        out: folder for settings.json, log.csv, checkpoint.pt, network.safetensors, rotation.safetensors, results.json,
            and what the recipe adds; None keeps nothing.
        resume: whether to go on with the training that `out` holds; the result is that of one never interrupted. A
            network or a loss of yours is known by its name: what it computes must not have changed.
        device: "auto", "cpu", "cuda", ...
        workers: processes that read image files.
        progress: whether to show a progress bar.

    Raises:
        FileExistsError: if `out` holds a training and `resume` is not set.
        FileNotFoundError: if a data set is not found.
        FloatingPointError: if a loss is not finite.
        TypeError: if an argument is of another type.
        ValueError: if an argument does not fit the recipe or the data, or `out` holds a training of other settings.
    """
    if not isinstance(settings, RecipeSettings):
        raise TypeError(f"train: expected settings of a recipe, SupervisedSettings say, got {type(settings).__name__}")
    if network is not None and not isinstance(network, nn.Module):
        raise TypeError(f"train: expected network to be an nn.Module, got {type(network).__name__}")
    if loss is not None and not callable(loss):
        raise TypeError(f"train: expected loss to be a module or a function, got {type(loss).__name__}")
    check_integer("train", "workers", workers, 0)
    recipe: type[Training[Any]] = located(settings.training)
    for name, value, takes in (("network", network, recipe.takes_network), ("loss", loss, recipe.takes_loss)):
        if value is not None and not takes:
            raise ValueError(f"train: expected no {name} for {type(settings).__name__}, whose recipe makes its own")
    n_started = int(os.environ.get("WORLD_SIZE", "1"))
    if n_started > 1 and not recipe.takes_ranks:
        raise ValueError(f"train: expected one process for {type(settings).__name__}, got {n_started}")
    datasets = _for_each_domain("dataset", dataset, Dataset, settings)
    given_parts = _for_each_domain("parts", parts, Parts, settings)
    with joined_ranks(device) as (where, rank, n_ranks):
        written, data = dataclasses.asdict(settings), []
        for name, loaded, drawn in zip(settings.domains, datasets, given_parts, strict=True):
            loaded = load_dataset(getattr(settings, name), root) if loaded is None else loaded
            drawn = split(loaded, settings.protocol, settings.split_seed) if drawn is None else drawn
            check_parts("train", drawn, loaded)
            data.append((loaded, drawn))
            written[f"items_of_{name}"] = f"{len(loaded.labels)} of {loaded.name}, parts {_checksum(drawn):08x}"
        training = recipe(settings, Given(data, where, network, loss, workers, rank, n_ranks))
        for name, value in (("network", network), ("loss", loss)):
            if value is not None:
                written[f"given_{name}"] = _qualified_name(value)
        folder = RunFolder(Path(out) if out is not None and rank == 0 else None, written, resume)
        return training.run(folder, progress and rank == 0)


def _for_each_domain(
    name: str, value: _T | tuple[_T, ...] | None, kind: type[_T], settings: RecipeSettings
) -> Sequence[_T | None]:
    n_domains = len(settings.domains)
    if value is None:
        return [None] * n_domains
    values = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(each, kind) for each in values):
        got = ", ".join(type(each).__name__ for each in values)
        raise TypeError(f"train: expected {name} to be a {kind.__name__}, or a tuple of them, got {got}")
    if len(values) != n_domains:
        raise ValueError(f"train: expected {name} for {' and '.join(settings.domains)}, {n_domains}, got {len(values)}")
    return values


def _checksum(parts: Parts) -> int:
    checksum = 0
    for positions in (parts.train, parts.validation, parts.query, parts.database):
        checksum = zlib.crc32(np.ascontiguousarray(positions).tobytes(), zlib.crc32(b"part", checksum))
    return checksum


def _qualified_name(thing: Any) -> str:
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    name = f"{kind.__module__}.{kind.__qualname__}"
    return f"{name} {zlib.crc32(thing.__code__.co_code):08x}" if name.endswith("<lambda>") else name


class Stateful(Protocol):
    """What a checkpoint holds the state of: a module, an optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Go on from a state."""


class Training(Generic[_S]):
    """One training, the base of every recipe: a subclass makes what is trained, and says what a step is.

    `__init__` of the subclass sets `network`, `state` and `title`, and is called with torch seeded by nothing yet: it
    calls `seed_epoch(settings.seed, 0)` before it draws weights.

    Args:
        settings: what decides the result.
        given: data, device and what else is not a setting.
        image_size: what image files are brought to.

    Attributes:
        dataset: what is learned from, the first one where there are two.
        parts: who trains, asks and is searched in it.
        train: its training items.
        query: its queries.
        database: what is searched in it.
        network: from items to outputs, whose signs are the code.
        rotation: of the outputs before the signs, if any.
        state: whatever changes from step to step, by name.
        modules: what is trained beside the network, by name.
        title: of the progress bar.

    Raises:
        ValueError: if the data set is smaller than a batch.
    """

    takes_network: ClassVar[bool] = False  # whether any network can be trained
    takes_loss: ClassVar[bool] = False  # whether any loss can be
    takes_ranks: ClassVar[bool] = False  # whether several processes can train together

    network: nn.Module
    rotation: AffineHasher | None = None
    state: dict[str, Stateful]
    title: str

    def __init__(self, settings: _S, given: Given, *, image_size: int | None = None) -> None:
        self.settings, self.given, self.device, self.image_size = settings, given, given.device, image_size
        self.dataset, self.parts = given.data[0]
        self.modules: dict[str, nn.Module] = {}
        self.train, self.query, self.database = self.loaded(self.parts.train, self.parts.query, self.parts.database)
        if len(self.train) < settings.batch_size * given.n_ranks:
            raise ValueError(
                f"train: expected batch_size of at most the {len(self.train)} training items, got "
                f"{settings.batch_size} on {given.n_ranks} ranks"
            )

    def loaded(self, *positions: NDArray[np.int64]) -> list[Loaded]:
        """Return the data set's items at these positions."""
        return Loaded.parts(self.dataset, positions, self.image_size)

    def run(self, folder: RunFolder, progress: bool) -> Run:
        """Train what `folder` does not have yet, and look at the queries once."""
        rows = self._rows_there(folder)
        n_epochs = self.settings.epochs
        bar = {"desc": self.title, "unit": "epoch", "initial": len(rows), "total": n_epochs, "disable": not progress}
        for epoch in tqdm(range(len(rows) + 1, n_epochs + 1), **bar):
            rows.append(self._epoch(epoch))
            folder.keep({**{name: part.state_dict() for name, part in self.state.items()}, "rows": rows}, rows)
        self.keep_best()
        self.network.eval()
        results = self.evaluate()
        results["seconds"] = sum(row["seconds"] for row in rows)
        if folder.path is not None:
            self.save(folder.path)
            folder.finish(results)
        return Run(self.network, self.rotation, results, rows, self.given.data[-1][1], self.modules)

    def _rows_there(self, folder: RunFolder) -> list[Row]:
        """Restore what was kept last, on every rank, and return its row for each epoch."""
        state = folder.checkpoint(self.device)
        if self.given.n_ranks > 1:
            shared = [state]
            dist.broadcast_object_list(shared)
            state = shared[0]
        if state is None:
            return []
        for name, part in self.state.items():
            try:
                part.load_state_dict(state[name])
            except (KeyError, RuntimeError, ValueError) as error:
                raise ValueError(
                    f"train: expected what was trained in {folder.path}, got another {name} to resume it: {error}"
                ) from error
        rows: list[Row] = state["rows"]
        return rows

    def _epoch(self, epoch: int) -> Row:
        """Train one epoch; its row has the mean of what the steps returned."""
        self.begin_epoch(epoch)
        seed_epoch(self.settings.seed, epoch, self.given.rank)
        batches = self.batches(epoch)
        start = time.perf_counter()
        values: dict[str, list[torch.Tensor]] = {}
        for number, batch in enumerate(batches, start=(epoch - 1) * len(batches)):
            items, labels, indices = (part.to(self.device, non_blocking=True) for part in batch)
            for name, value in self.step(number, items, labels, indices).items():
                values.setdefault(name, []).append(value.detach())
        self.end_epoch()
        means = {name: float(torch.stack(each).mean()) for name, each in values.items()}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise FloatingPointError(f"train: the {name} is {mean} in epoch {epoch}; lower the learning rate")
        row = {"epoch": epoch, **means, "seconds": time.perf_counter() - start}
        return row | self.validate(epoch)

    def batches(self, epoch: int) -> Batches:
        """Return what an epoch's steps learn from."""
        return self.train.epoch(
            self.settings.batch_size,
            seed=self.settings.seed,
            epoch=epoch,
            rank=self.given.rank,
            n_ranks=self.given.n_ranks,
            workers=self.given.workers,
        )

    def begin_epoch(self, epoch: int) -> None:
        """Do what comes before an epoch, the first one being 1."""
        self.network.train()

    def step(
        self, number: int, items: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor
    ) -> Mapping[str, torch.Tensor]:
        """Learn from a batch, the `number`-th of the training from 0; return scalars for the log, by name."""
        raise NotImplementedError

    def end_epoch(self) -> None:
        """Do what the method does after each epoch."""

    def validate(self, epoch: int) -> Row:
        """Return what is measured after an epoch, for the log."""
        return {}

    def keep_best(self) -> None:
        """Give the network the weights to keep, by default the last epoch's."""

    def outputs(self, items: Loaded) -> torch.Tensor:
        """Return the network's outputs for some items, rotated if they are to be, float32 [n, n_bits] on the CPU."""
        u = network_outputs(self.network, items, self.given.workers, self.settings.bits)
        return u if self.rotation is None else self.rotation.transform(u)

    def evaluate(self) -> dict[str, float]:
        """Return what the queries' codes retrieve from the database's."""
        at = PROTOCOLS[self.settings.protocol].map_at
        query, database = self.outputs(self.query), self.outputs(self.database)
        return evaluate_codes(query, self.query.labels, database, self.database.labels, at)

    def save(self, folder: Path) -> None:
        """Write the network, and the rotation if there is one."""
        path = folder / "network.safetensors"
        if isinstance(self.network, HashingNetwork):
            self.network.save(path)
        else:
            metadata = {"format": WEIGHTS_FORMAT, "settings": json.dumps({"class": _qualified_name(self.network)})}
            with replacing(path) as file:
                save_model(self.network, str(file), metadata)  # of tensors that modules share, one
        if self.rotation is not None:
            self.rotation.save(folder / "rotation.safetensors")
