"""What the recipes share: devices and ranks, batches that only the seed and the epoch decide, the folder."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from tqdm import tqdm

from fasthash.data import Dataset, ImageFiles, load_dataset
from fasthash.files import replacing
from fasthash.recipes.protocols import Split, split
from fasthash.recipes.settings import RecipeSettings

Items = NDArray[Any] | ImageFiles
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Row = dict[str, float]
EVALUATION_BATCH = 512
_T = TypeVar("_T")
_S = TypeVar("_S", bound=RecipeSettings)


def choose_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is this rank's GPU where there is one."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextlib.contextmanager
def joined_ranks(device: torch.device) -> Iterator[tuple[int, int]]:
    """Join the processes that `torchrun` started, if it did; yield this one's rank and how many there are."""
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not started:
        yield 0, 1
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()


def seed_epoch(seed: int, epoch: int, rank: int = 0) -> None:
    """Seed torch for one epoch, so that a training that is resumed goes on as if it had not stopped."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1))


def load_parts(
    name: str, settings: RecipeSettings, dataset: Dataset | None, parts: Split | None, root: str | Path | None
) -> tuple[Dataset, Split]:
    """Return the data set of that name and its split by the settings' protocol, or what is given in their place."""
    loaded = load_dataset(name, root) if dataset is None else dataset
    return loaded, split(loaded, settings.protocol, settings.split_seed) if parts is None else parts


class Loaded(torch.utils.data.Dataset[Any]):
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
        self, batch_size: int, *, seed: int, epoch: int, rank: int = 0, n_ranks: int = 1, workers: int = 0
    ) -> DataLoader[Batch]:
        """Return the batches (items, labels, indices) of one epoch in random order, the last one cut off if smaller."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self))[rank::n_ranks]
        n_batches = len(self) // (batch_size * n_ranks)
        return self.batches([order[i * batch_size : (i + 1) * batch_size] for i in range(n_batches)], workers)

    def in_order(self, workers: int = 0) -> DataLoader[Batch]:
        """Return all batches in order."""
        return self.batches(np.array_split(np.arange(len(self)), -(-len(self) // EVALUATION_BATCH)), workers)

    def batches(self, batches: list[NDArray[np.int64]], workers: int = 0) -> DataLoader[Batch]:
        """Return the batches (items, labels, indices) of these indices."""
        return DataLoader(self, batch_sampler=batches, collate_fn=_as_is, num_workers=workers)  # type: ignore[arg-type]


def square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the middle square of an image [h, w, 3], brought to a size; needs Pillow."""
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(image), (size, size)))


def _as_is(batch: _T) -> _T:
    return batch


class Batches(Protocol):
    """What an epoch's steps learn from."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __iter__(self) -> Iterator[Batch]:
        """Yield three tensors each."""


class Stateful(Protocol):
    """What a checkpoint holds the state of: a module, an optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Go on from a state."""


class Training(Generic[_S]):
    """A training of which every epoch is kept, and which goes on from the last one as if it had not been interrupted.

    A subclass fills `parts` and `title` and defines `_step`.

    Args:
        settings: what decides the result.
        dataset: what is learned from.
        split_of_it: who trains, asks and is searched.
        device: where the parts are.
        image_size: what image files are brought to.
        rank: of this process.
        n_ranks: how many processes train.
        workers: processes that read image files.

    Raises:
        ValueError: if the data set is smaller than a batch.
    """

    parts: dict[str, Stateful]  # whatever changes from step to step, by name
    title: str  # of the progress bar

    def __init__(
        self,
        settings: _S,
        dataset: Dataset,
        split_of_it: Split,
        device: torch.device,
        *,
        image_size: int | None = None,
        rank: int = 0,
        n_ranks: int = 1,
        workers: int = 0,
    ) -> None:
        self.settings, self.device, self.rank, self.n_ranks, self.workers = settings, device, rank, n_ranks, workers
        self.dataset, self.split = dataset, split_of_it
        self.image_size = image_size
        self.train, self.query, self.database = (
            self._loaded(x) for x in (self.split.train, self.split.query, self.split.database)
        )
        if len(self.train) < settings.batch_size * n_ranks:
            raise ValueError(
                f"{settings.recipe}: expected batch_size of at most the {len(self.train)} training items, got "
                f"{settings.batch_size} on {n_ranks} ranks"
            )

    def _loaded(self, positions: NDArray[np.int64]) -> Loaded:
        return Loaded(self.dataset.items, self.dataset.labels, positions, self.image_size)

    def _run_epochs(self, folder: RunFolder, progress: bool) -> list[Row]:
        """Train the epochs that `folder` does not have yet, and return a row for each of all."""
        rows: list[Row] = []
        state = folder.checkpoint(self.device)
        if self.n_ranks > 1:
            shared = [state]
            dist.broadcast_object_list(shared)
            state = shared[0]
        if state is not None:
            rows = state["rows"]
            self._restore(state)
        n_epochs = self.settings.epochs
        epochs = range(len(rows) + 1, n_epochs + 1)
        bar = {"desc": self.title, "unit": "epoch", "initial": len(rows), "total": n_epochs, "disable": not progress}
        for epoch in tqdm(epochs, **bar):
            rows.append(self._epoch(epoch))
            folder.keep({**self._state(), "rows": rows}, rows)
        return rows

    def _state(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])

    def _epoch(self, epoch: int) -> Row:
        """Train one epoch; its row has the mean of what the steps returned."""
        settings = self.settings
        seed_epoch(settings.seed, epoch, self.rank)
        batches = self._batches(epoch)
        start = time.perf_counter()
        values: dict[str, list[torch.Tensor]] = {}
        for number, batch in enumerate(batches, start=(epoch - 1) * len(batches)):
            items, labels, indices = (part.to(self.device, non_blocking=True) for part in batch)
            for name, value in self._step(number, items, labels, indices).items():
                values.setdefault(name, []).append(value.detach())
        self._end_epoch()
        means = {name: float(torch.stack(each).mean()) for name, each in values.items()}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise FloatingPointError(
                    f"{settings.recipe}: the {name} is {mean} in epoch {epoch}; lower the learning rate"
                )
        return {"epoch": epoch, **means, "seconds": time.perf_counter() - start}

    def _batches(self, epoch: int) -> Batches:
        """Return what an epoch's steps learn from."""
        return self.train.epoch(
            self.settings.batch_size,
            seed=self.settings.seed,
            epoch=epoch,
            rank=self.rank,
            n_ranks=self.n_ranks,
            workers=self.workers,
        )

    def _step(
        self, number: int, items: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Learn from a batch, the `number`-th of the training from 0; return scalars for the log, by name."""
        raise NotImplementedError

    def _end_epoch(self) -> None:
        """Do what the method does after each epoch."""


class RunFolder:
    """The folder of one training: settings.json, log.csv, checkpoint.pt to go on from, results.json.

    Args:
        path: made if missing; None keeps nothing.
        settings: of the training, of JSON's types.
        resume: whether to go on with the training that is there.

    Raises:
        FileExistsError: if a training is there and is not to be resumed.
        ValueError: if the one to resume has other settings.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        if path is None:
            return
        file = path / "settings.json"
        if file.exists():
            there = json.loads(file.read_text())
            if not resume:
                raise FileExistsError(f"expected a folder without a training in it, or to resume it, got {path}")
            wanted = json.loads(json.dumps(settings))
            changed = sorted(key for key in there.keys() | wanted.keys() if there.get(key) != wanted.get(key))
            if changed:
                changes = ", ".join(f"{key}: {there.get(key)!r} there, {wanted.get(key)!r} now" for key in changed)
                raise ValueError(
                    f"expected the settings of the training in {path} to resume it, got others ({changes})"
                )
        else:
            path.mkdir(parents=True, exist_ok=True)
            write_json(file, settings)

    def checkpoint(self, device: torch.device) -> dict[str, Any] | None:
        """Return the state that `keep` wrote last, or None."""
        if self.path is None or not (self.path / "checkpoint.pt").exists():
            return None
        state: dict[str, Any] = torch.load(self.path / "checkpoint.pt", map_location=device, weights_only=True)
        return state

    def keep(self, state: Mapping[str, Any], rows: list[Row]) -> None:
        """Write the state of the training after an epoch, and the log with a row an epoch."""
        if self.path is None:
            return
        write_csv(self.path / "log.csv", rows)
        with replacing(self.path / "checkpoint.pt") as file:
            torch.save(state, file)

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results."""
        if self.path is not None:
            write_json(self.path / "results.json", results)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with replacing(path) as file:
        file.write_text(json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file, whole or not at all; its columns are all that a row has."""
    with replacing(path) as whole, whole.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
