"""Batches that other processes read, with the errors that this one would have had."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, get_worker_info

_T = TypeVar("_T")
_B = TypeVar("_B", covariant=True)


class Fetched(Protocol[_B]):
    """What makes a batch of items, given their positions."""

    def __getitems__(self, indices: Any) -> _B:
        """Return the batch."""


class Loader(Generic[_T]):
    """Batches of positions, fetched one after the other, as often as they are asked for.

    Args:
        items: what they are fetched from.
        batches: the positions of each.
        workers: processes that fetch them; 0 for this one. What is raised in one is raised here, with the same words.
    """

    def __init__(
        self, items: Fetched[_T], batches: Sequence[Sequence[int] | NDArray[np.int64]], workers: int = 0
    ) -> None:
        self._loader: DataLoader[Any] = DataLoader(
            _Kept(items),
            batch_sampler=batches,  # type: ignore[arg-type]
            collate_fn=_as_is,
            num_workers=workers,
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[_T]:
        for batch in self._loader:
            if isinstance(batch, Exception):
                raise batch
            yield batch


class _Kept(torch.utils.data.Dataset[Any]):
    """Fetches batches, and in a worker the exceptions, which torch would give back with a traceback as their words."""

    def __init__(self, items: Fetched[Any]) -> None:
        self.items = items

    def __getitems__(self, indices: Any) -> Any:
        if get_worker_info() is None:
            return self.items.__getitems__(indices)
        try:
            return self.items.__getitems__(indices)
        except Exception as error:
            error.add_note(f"In a worker process:\n{traceback.format_exc()}")
            if not _can_be_sent(error):
                raise
            return error


def _can_be_sent(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of whatever the error's own class does
        return False
    return True


def _as_is(batch: _T) -> _T:
    return batch
