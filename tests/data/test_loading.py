"""Batches that other processes read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.data.loading import Loader
from fasthash.errors import MissingDependencyError


class Counted:
    """Squares of positions, but for one, where it raises."""

    def __init__(self, error=None):
        self.error = error

    def __getitems__(self, indices):
        if self.error is not None and 3 in indices:
            raise self.error
        return torch.as_tensor(indices) ** 2


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_their_order_as_often_as_asked(workers):
    batches = Loader(Counted(), [[4, 1], np.array([2]), [3, 0, 5]], workers)
    assert len(batches) == 3
    for _ in range(2):
        assert [batch.tolist() for batch in batches] == [[16, 1], [4], [9, 0, 25]]


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_workers_have_their_own_words(workers):
    batches = iter(Loader(Counted(OSError(28, "No space", "x.png")), [[0, 1], [2, 3], [4]], workers))
    assert next(batches).tolist() == [0, 1]
    with pytest.raises(OSError, match="No space") as caught:
        next(batches)
    assert str(caught.value) == "[Errno 28] No space: 'x.png'"
    notes = "".join(getattr(caught.value, "__notes__", []))
    assert ("in __getitems__" in notes) == (workers > 0)


def test_an_error_that_cannot_be_sent_is_told_by_torch():
    batches = Loader(Counted(MissingDependencyError("reading", "Pillow", "images")), [[3]], 1)
    with pytest.raises(Exception, match="reading needs Pillow, but Pillow is not installed"):
        list(batches)
