"""Batches, decided by seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.data import ImageFiles
from fasthash.recipes.batches import Loaded
from fasthash.recipes.ranks import Ranks


def test_batches_depend_on_seed_and_epoch_and_are_shared_out_to_ranks(images):
    loaded = Loaded(images.items, images.labels, np.arange(100, 200))
    whole = list(loaded.epoch(20, seed=1, epoch=2))
    assert len(whole) == 5
    again, later = (next(iter(loaded.epoch(20, seed=1, epoch=e)))[2] for e in (2, 3))
    assert torch.equal(whole[0][2], again)
    assert not torch.equal(whole[0][2], later)
    parts = [list(loaded.epoch(20, seed=1, epoch=2, ranks=Ranks(rank, 2))) for rank in (0, 1)]
    for (_, _, indices), (_, _, first), (_, _, second) in zip(whole, *parts, strict=True):
        assert torch.equal(torch.stack([first, second], dim=1).flatten(), indices)
    items, labels, indices = whole[0]
    assert np.array_equal(items, images.items[100 + indices])
    assert np.array_equal(labels, images.labels[100 + indices])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_told_by_its_file(tmp_path, workers):
    pytest.importorskip("PIL")
    (tmp_path / "x.png").write_bytes(b"no image")
    loaded = Loaded(ImageFiles([tmp_path / "x.png"]), np.zeros(1, np.int64), np.arange(1), 32)
    with pytest.raises(ValueError, match="expected an image") as caught:
        list(loaded.in_order(workers))
    assert str(caught.value).startswith(f"{tmp_path}/x.png: expected an image that Pillow can decode, got cannot")
