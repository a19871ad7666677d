"""The loop of every recipe: epochs of steps, kept one by one, and what comes of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from fasthash.data import Dataset
from fasthash.hashers import AffineHasher
from fasthash.plugins import qualified_name
from fasthash.recipes.batches import Batches, Items, Loaded
from fasthash.recipes.evaluation import encode, evaluate_codes, network_outputs, warn_of_collapse
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.networks.files import save_module
from fasthash.recipes.protocols import PROTOCOLS, Parts
from fasthash.recipes.ranks import ONE_PROCESS, Ranks, seed_epoch
from fasthash.recipes.run_folder import Row, RunFolder
from fasthash.recipes.settings import RecipeSettings

WEIGHTS_FORMAT = "fasthash weights 1"  # of a network that only its own code can make
STEPS_OF_EPOCHS = "{l_bar}{bar}| {n:.2f}/{total} epochs [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
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
        ranks: the processes that train together.
    """

    data: Sequence[tuple[Dataset, Parts]]
    device: torch.device
    network: nn.Module | None = None
    loss: Callable[..., torch.Tensor] | None = None
    workers: int = 0
    ranks: Ranks = ONE_PROCESS


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
        progress: whether there is one.

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
    progress: bool = False

    def __init__(self, settings: _S, given: Given, *, image_size: int | None = None) -> None:
        self.settings, self.given, self.device, self.image_size = settings, given, given.device, image_size
        self.dataset, self.parts = given.data[0]
        self.modules: dict[str, nn.Module] = {}
        self.train, self.query, self.database = self.loaded(self.parts.train, self.parts.query, self.parts.database)
        if len(self.train) < settings.batch_size:
            raise ValueError(
                f"train: expected batch_size of at most the {len(self.train)} training items, got {settings.batch_size}"
            )
        if given.ranks.n > 1 and not self.takes_ranks:
            raise ValueError(f"train: expected one process for {type(settings).__name__}, got {given.ranks.n}")
        self.check_shares(settings.batch_size)

    def check_shares(self, n: int) -> None:
        """Raise unless every process gets as many of the `n` items of a batch."""
        n_ranks = self.given.ranks.n
        if n % n_ranks:
            raise ValueError(f"train: expected batches of a multiple of the {n_ranks} processes, got {n} items")

    def loaded(self, *positions: NDArray[np.int64]) -> list[Loaded]:
        """Return the data set's items at these positions."""
        return Loaded.parts(self.dataset, positions, self.image_size)

    def run(self, folder: RunFolder, progress: bool) -> Run:
        """Train what `folder` does not have yet, and look at the queries once."""
        rows = self._rows_there(folder)
        self._share()
        self.progress = progress
        bar = {"desc": self.title, "initial": len(rows), "total": self.settings.epochs, "disable": not progress}
        with tqdm(bar_format=STEPS_OF_EPOCHS, unit="epoch", **bar) as told:
            for epoch in range(len(rows) + 1, self.settings.epochs + 1):
                if self.is_done(epoch - 1):
                    break
                rows.append(self._epoch(epoch, told))
                folder.keep({**{name: part.state_dict() for name, part in self.state.items()}, "rows": rows}, rows)
        self.keep_best()
        self.network.eval()
        results = self.evaluate()
        warn_of_collapse(results, self.dataset.n_classes, self.settings.bits)
        results["seconds"] = sum(row["seconds"] for row in rows)
        if folder.path is not None:
            self.save(folder.path)
            folder.finish(results)
        return Run(self.network, self.rotation, results, rows, self.given.data[-1][1], self.modules)

    def _rows_there(self, folder: RunFolder) -> list[Row]:
        """Restore what was kept last, on every rank, and return its row for each epoch."""
        state = folder.checkpoint([*self.state, "rows"])
        state = self.given.ranks.from_first(state)
        if state is None:
            return []
        for name, part in self.state.items():
            try:
                part.load_state_dict(state[name])
            except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
                raise ValueError(
                    f"train: expected what was trained in {folder.path}, got another {name} to resume it: {error}"
                ) from error
        rows: list[Row] = state["rows"]
        return rows

    def _share(self) -> None:
        """Make all ranks' modules the same: their starts, and what is not learned by gradients."""
        for part in self.state.values():
            if isinstance(part, nn.Module):
                self.given.ranks.share(part)

    def _epoch(self, epoch: int, told: tqdm[Any]) -> Row:
        """Train one epoch, telling each step; its row has the mean of what the steps returned."""
        self.begin_epoch(epoch)
        seed_epoch(self.settings.seed, epoch)
        batches = self.batches(epoch)
        start = time.perf_counter()
        values: dict[str, list[torch.Tensor]] = {}
        first = (epoch - 1) * len(batches)
        for number, batch in enumerate(batches, start=first):
            items, labels, indices = (part.to(self.device, non_blocking=True) for part in batch)
            for name, value in self.step(number, items, labels, indices).items():
                values.setdefault(name, []).append(value.detach())
            told.update(epoch - 1 + (number + 1 - first) / len(batches) - told.n)  # shares added up may exceed 1
        self.end_epoch()
        self._share()
        means = self.given.ranks.means({name: float(torch.stack(each).mean()) for name, each in values.items()})
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise FloatingPointError(
                    f"train: the {name} is {mean} in epoch {epoch}; lower the learning rate, or see whether what the "
                    "network returns for the first batch is finite"
                )
        told.n = epoch
        told.set_postfix({name: f"{mean:.4g}" for name, mean in means.items()}, refresh=False)
        row = {"epoch": epoch, **means, "seconds": time.perf_counter() - start}
        return row | self.validate(epoch)

    def batches(self, epoch: int) -> Batches:
        """Return what an epoch's steps learn from."""
        return self.train.epoch(
            self.settings.batch_size,
            seed=self.settings.seed,
            epoch=epoch,
            ranks=self.given.ranks,
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

    def learn(self, loss: torch.Tensor, *optimizers: torch.optim.Optimizer) -> None:
        """Make a step of each optimizer on the gradient of a loss, `Ranks` says of which where there are several."""
        for optimizer in optimizers:
            optimizer.zero_grad()
        torch.autograd.backward(loss)
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self.given.ranks.average_gradients(weights for group in groups for weights in group["params"])
        for optimizer in optimizers:
            optimizer.step()

    def end_epoch(self) -> None:
        """Do what the method does after each epoch."""

    def validate(self, epoch: int) -> Row:
        """Return what is measured after an epoch, for the log."""
        return {}

    def is_done(self, epoch: int) -> bool:
        """Return whether nothing is left to learn after an epoch; 0 is before the first."""
        return False

    def keep_best(self) -> None:
        """Give the network the weights to keep, by default the last epoch's."""

    def outputs(self, items: Loaded) -> torch.Tensor:
        """Return the network's outputs for some items, rotated if they are to be, float32 [n, n_bits] on the CPU."""
        u = network_outputs(self.network, items, self.given.workers, self.settings.bits, progress=self.progress)
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
            save_module(self.network, path, WEIGHTS_FORMAT, {"class": qualified_name(self.network)})
        if self.rotation is not None:
            self.rotation.save(folder / "rotation.safetensors")
