"""What the recipes share: devices and ranks, batches that only the seed and the epoch decide, and the folder."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from fasthash.data import ImageFiles
from fasthash.files import replacing

Items = NDArray[Any] | ImageFiles
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Row = dict[str, float]
EVALUATION_BATCH = 512
_T = TypeVar("_T")


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


def option(default: Any, help: str, choices: Iterable[str] | None = None) -> Any:
    """Return a field of a recipe's settings with what the command line says about it."""
    metadata: dict[str, Any] = {"help": help}
    if choices is not None:
        metadata["choices"] = tuple(choices)
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


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
            batch = np.stack([_square(self.items[int(i)], self.image_size) for i in chosen])
        else:
            batch = self.items[chosen]
        return torch.from_numpy(batch), self.labels[indices], torch.tensor(indices)

    def epoch(
        self, batch_size: int, *, seed: int, epoch: int, rank: int = 0, n_ranks: int = 1, workers: int = 0
    ) -> DataLoader[Batch]:
        """Return the batches (items, labels, indices) of one epoch in random order, the last one cut off if smaller."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self))[rank::n_ranks]
        n_batches = len(self) // (batch_size * n_ranks)
        return self._loader([order[i * batch_size : (i + 1) * batch_size] for i in range(n_batches)], workers)

    def in_order(self, workers: int = 0) -> DataLoader[Batch]:
        """Return all batches in order."""
        return self._loader(np.array_split(np.arange(len(self)), -(-len(self) // EVALUATION_BATCH)), workers)

    def _loader(self, batches: list[NDArray[np.int64]], workers: int) -> DataLoader[Batch]:
        return DataLoader(self, batch_sampler=batches, collate_fn=_as_is, num_workers=workers)  # type: ignore[arg-type]


def _square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(image), (size, size)))


def _as_is(batch: _T) -> _T:
    return batch


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
