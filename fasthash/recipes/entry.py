"""The function that trains, by any recipe."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from fasthash.data import Dataset, load_dataset
from fasthash.errors import check_integer, naming_memory
from fasthash.plugins import located, qualified_name
from fasthash.recipes.loop import Given, Run, Training
from fasthash.recipes.protocols import Parts, check_parts, split
from fasthash.recipes.ranks import join_ranks
from fasthash.recipes.run_folder import RunFolder
from fasthash.recipes.settings import RecipeSettings

_T = TypeVar("_T")


@naming_memory("train")
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
            and what the recipe adds; None keeps nothing. What fails before its first epoch ends leaves nothing there.
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
    recipe: type[Training[Any]] = located(settings.training)
    _check_given(settings, recipe, network, loss)
    check_integer("train", "workers", workers, 0)
    datasets = _for_each_domain("dataset", dataset, Dataset, settings)
    given_parts = _for_each_domain("parts", parts, Parts, settings)
    where, ranks = join_ranks(device)
    written, data = dataclasses.asdict(settings), []
    for name, loaded, drawn in zip(settings.domains, datasets, given_parts, strict=True):
        loaded = load_dataset(getattr(settings, name), root) if loaded is None else loaded
        drawn = split(loaded, settings.protocol, settings.split_seed) if drawn is None else drawn
        check_parts("train", drawn, loaded)
        data.append((loaded, drawn))
        written[f"items_of_{name}"] = f"{len(loaded.labels)} of {loaded.name}, parts {_checksum(drawn):08x}"
    training = recipe(settings, Given(data, where, network, loss, workers, ranks))
    for name, value in (("network", network), ("loss", loss)):
        if value is not None:
            written[f"given_{name}"] = qualified_name(value)
    folder = RunFolder(Path(out) if out is not None and ranks.rank == 0 else None, written, resume)
    try:
        return training.run(folder, progress and ranks.rank == 0)
    except BaseException:
        folder.leave()
        raise


def _check_given(
    settings: RecipeSettings, recipe: type[Training[Any]], network: nn.Module | None, loss: Callable[..., Any] | None
) -> None:
    if network is not None and not isinstance(network, nn.Module):
        raise TypeError(f"train: expected network to be an nn.Module, got {type(network).__name__}")
    if loss is not None and (isinstance(loss, type) or not callable(loss)):
        got = f"the class {loss.__name__}" if isinstance(loss, type) else type(loss).__name__
        raise TypeError(f"train: expected loss to be a module or a function, got {got}")
    for name, value, takes in (("network", network, recipe.takes_network), ("loss", loss, recipe.takes_loss)):
        if value is not None and not takes:
            raise ValueError(f"train: expected no {name} for {type(settings).__name__}, whose recipe makes its own")


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
