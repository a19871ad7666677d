"""Who trains, who asks and who is searched: the splits of the papers, by name and version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fasthash.data import Dataset
from fasthash.errors import check_choice, check_integer
from fasthash.plugins import Registry

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """Positions of a data set's items, int64 arrays without a common item but for train and database.

    Attributes:
        train: what a network learns from, with its labels.
        validation: what decides which epoch is kept.
        query: what is searched for, once, at the end.
        database: what is searched.
    """

    train: Positions
    validation: Positions
    query: Positions
    database: Positions


@dataclass(frozen=True)
class Protocol:
    """A named way to split a data set.

    Attributes:
        draw: the parts of a data set, by a generator of random numbers.
        map_at: how many of the nearest items the mean average precision counts; None for all.
    """

    draw: Callable[[Dataset, np.random.Generator], Parts]
    map_at: int | None


def split(dataset: Dataset, protocol: str, seed: int = 0) -> Parts:
    """Split a data set by a protocol, alike for equal seeds.

    Args:
        dataset: what to split.
        protocol: a key of `PROTOCOLS`.
        seed: at least 0.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there is no such protocol, or the data set does not have what it asks for.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"split: expected dataset to be a Dataset, got {type(dataset).__name__}")
    check_choice("split", "protocol", protocol, PROTOCOLS)
    return PROTOCOLS[protocol].draw(dataset, np.random.default_rng(check_integer("split", "seed", seed, 0)))


def check_parts(where: str, parts: Parts, dataset: Dataset) -> None:
    """Raise unless parts are positions of the data set's items, some in each but for validation, and queries unseen."""
    for name in ("train", "validation", "query", "database"):
        positions = getattr(parts, name)
        if not (isinstance(positions, np.ndarray) and positions.dtype == np.int64 and positions.ndim == 1):
            kind = f"{positions.dtype} {list(positions.shape)}" if isinstance(positions, np.ndarray) else None
            raise TypeError(
                f"{where}: expected parts of int64 positions [m], got {name} of {kind or type(positions).__name__}"
            )
        if len(positions) == 0:
            if name != "validation":
                raise ValueError(f"{where}: expected parts with at least one item each, got none to {_VERBS[name]}")
        elif positions.min() < 0 or positions.max() >= len(dataset.labels):
            raise ValueError(
                f"{where}: expected parts of positions from 0 to {len(dataset.labels) - 1} of {dataset.name}, got "
                f"{name} from {positions.min()} to {positions.max()}"
            )
        ordered = np.sort(positions)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(twice):
            raise ValueError(
                f"{where}: expected parts of distinct positions, got item {twice[0]} of {dataset.name} twice to "
                f"{_VERBS[name]}"
            )

    learned = np.intersect1d(parts.validation, parts.train)
    if len(learned):
        raise ValueError(
            f"{where}: expected validation items that do not train, got item {learned[0]} of {dataset.name}"
        )
    seen = np.intersect1d(parts.query, np.concatenate([parts.train, parts.validation, parts.database]))
    if len(seen):
        raise ValueError(f"{where}: expected queries that are in no other part, got item {seen[0]} of {dataset.name}")


_VERBS = {"train": "train on", "validation": "validate by", "query": "search for", "database": "search"}


def per_class(
    train: int | None, query: int, validation: int = 0, *, database: Literal["rest", "rest and train", "train"] = "rest"
) -> Protocol:
    """Return the protocol that draws as many items of each class, for items of one label.

    Args:
        train: None for all that is drawn for nothing else.
        query: at least 1.
        validation: at least 0.
        database: what is searched: the rest, the training items, or both; where all the rest trains they are one.
    """

    def draw(dataset: Dataset, generator: np.random.Generator) -> Parts:
        if dataset.labels.ndim != 1:
            raise ValueError(f"split: expected one label an item for a split by class, but {dataset.name} has several")
        wanted = query + validation + (1 if train is None else train)
        parts: list[list[Positions]] = [[], [], [], []]
        for label in range(dataset.n_classes):
            members = np.flatnonzero(dataset.labels == label)
            if len(members) <= wanted:
                raise ValueError(
                    f"split: expected more than {wanted} items of each class for this protocol, but {dataset.name} has "
                    f"{len(members)} of class {dataset.class_names[label]}; protocols: {', '.join(PROTOCOLS)}"
                )
            ends = np.cumsum([query, validation, 0 if train is None else train])
            for part, drawn in zip(parts, np.split(generator.permutation(members), ends), strict=True):
                part.append(drawn)
        asked, held_out, learned, rest = (np.sort(np.concatenate(part)) for part in parts)
        if train is None:
            learned = rest
        elif database != "rest":
            rest = learned if database == "train" else np.union1d(rest, learned)
        return Parts(learned, held_out, asked, rest)

    return Protocol(draw, map_at=None)


def at_random(
    train: int | None, query: int, validation: int = 0, *, map_at: int | None, train_in_database: bool = False
) -> Protocol:
    """Return the protocol that draws as many items of any label, of one or several each; the rest is the database.

    Args:
        train: None for all that is drawn for nothing else.
        query: at least 1.
        validation: at least 0.
        map_at: see `Protocol`.
        train_in_database: whether what is trained on is searched too.
    """

    def draw(dataset: Dataset, generator: np.random.Generator) -> Parts:
        n, wanted = len(dataset.labels), (train or 0) + query + validation
        if n <= wanted:
            raise ValueError(f"split: expected more than {wanted} items, but {dataset.name} has {n}")
        parts = np.split(generator.permutation(n), np.cumsum([train or 0, query, validation]))
        learned, asked, held_out, rest = (np.sort(part) for part in parts)
        if train is None:
            learned = rest
        elif train_in_database:
            rest = np.union1d(rest, learned)
        return Parts(learned, held_out, asked, rest)

    return Protocol(draw, map_at)


def _as_published(dataset: Dataset, generator: np.random.Generator) -> Parts:
    """The source's own parts: a tenth of the training part validates; where there is no database, it is searched."""
    train, test = _published(dataset, "train"), _published(dataset, "test")
    drawn = generator.permutation(train)
    held_out, learned = np.sort(drawn[: len(train) // 10]), np.sort(drawn[len(train) // 10 :])
    return Parts(learned, held_out, test, np.setdiff1d(dataset.splits.get("database", train), held_out))


def _of_a_domain(dataset: Dataset, generator: np.random.Generator) -> Parts:
    """The source's own parts if it has any, else a fifth at random to ask; a tenth of the rest validates."""
    if dataset.splits:
        return _as_published(dataset, generator)
    asked, held_out, learned = np.split(
        generator.permutation(len(dataset.labels)), np.cumsum([len(dataset.labels) // 5, len(dataset.labels) * 2 // 25])
    )
    return Parts(*(np.sort(part) for part in (learned, held_out, asked, learned)))


def _half_of_the_test_list(dataset: Dataset, generator: np.random.Generator) -> Parts:
    """The published lists, where half of the test list validates."""
    held_out, asked = np.array_split(generator.permutation(_published(dataset, "test")), 2)
    return Parts(_published(dataset, "train"), np.sort(held_out), np.sort(asked), _published(dataset, "database"))


def _published(dataset: Dataset, name: str) -> Positions:
    if name not in dataset.splits:
        given = ", ".join(dataset.splits) or "none"
        raise ValueError(f"split: expected a data set that is published with a {name} part; {dataset.name} has {given}")
    return dataset.splits[name]


PROTOCOLS: Registry[Protocol] = Registry(
    "fasthash.protocols",
    {
        "per-class-v1": per_class(train=500, query=100, validation=100),
        "unsupervised-v1": per_class(train=None, query=1000),
        "digits-v1": per_class(train=100, query=20, validation=20, database="rest and train"),
        "nuswide-v1": at_random(train=10_500, query=2_100, validation=2_100, map_at=5000),
        "coco-v1": at_random(train=10_000, query=5_000, validation=5_000, map_at=5000),
        "cifar10-hswd-v1": per_class(train=500, query=100),
        "nuswide-hswd-v1": at_random(train=10_000, query=5_000, map_at=None, train_in_database=True),
        "coco-hswd-v1": at_random(train=10_000, query=5_000, map_at=None, train_in_database=True),
        "flickr25k-v1": per_class(train=None, query=20),
        "mirflickr25k-v1": at_random(train=None, query=5_000, map_at=None),
        "places365-v1": per_class(train=500, query=10, database="train"),
        "imagenet100-v1": Protocol(_half_of_the_test_list, map_at=1000),
        "domains-v1": Protocol(_of_a_domain, map_at=None),
        "published-v1": Protocol(_as_published, map_at=None),
    },
)
"""Splits of data sets by the names of `--protocol`; what a name means never changes."""
