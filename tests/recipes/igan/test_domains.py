"""Two domains brought to one shape, and batches of both."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fasthash.data import Dataset, ImageFiles
from fasthash.recipes.igan.domains import balanced_batches, comparable, repeated_batches
from fasthash.recipes.settings import IGANSettings
from tests.recipes.conftest import training

SHORT = IGANSettings(
    bits=16, epochs=5, epoch_steps=6, source_epochs=1, stages=2, ramp_epochs=2, image_size=8, batch_size=50
)


def test_batches_have_as_many_of_each_class(images, rng):
    labels = np.array([0] * 7 + [1] * 30 + [2] * 5)
    batches = balanced_batches(labels, 3, 10, 4, rng)
    assert [np.bincount(labels[batch]).tolist() for batch in batches] == [[3, 3, 3]] * 4
    drawn = np.concatenate(batches)
    assert len(set(drawn[labels[drawn] == 1])) == 12  # none twice before all were there
    assert set(drawn[labels[drawn] == 2]) == set(range(37, 42))
    learner = training(images, SHORT)
    batches = list(learner.batches(3))
    assert len(batches) == len(learner.batches(3)) == 6
    for items, labels, others in batches:
        assert len(items) == len(others) == 50
        assert torch.bincount(labels).tolist() == [5] * 10


def test_a_small_domain_comes_again_within_an_epoch(rng):
    batches = repeated_batches(7, 3, 9, rng)
    assert [len(batch) for batch in batches] == [3] * 9
    drawn = np.concatenate(batches)
    for start in (0, 7, 14):
        assert sorted(drawn[start : start + 7]) == list(range(7))
    assert len(set(drawn[21:])) == 6
    assert [len(batch) for batch in repeated_batches(50, 3, 2, rng)] == [3, 3]


def test_domains_are_brought_to_one_shape(images):
    gray, _ = images
    colour = Dataset("colour", np.full((4, 6, 6, 3), 200, np.uint8), np.arange(4), {}, gray.class_names)
    ours, theirs = comparable(gray, colour, 12)
    assert ours.items.shape == (450, 12, 12, 3)
    assert theirs.items.shape == (4, 12, 12, 3)
    assert (theirs.items == 200).all()
    assert np.array_equal(ours.items[..., 0], comparable(gray, gray, 12)[0].items)
    same, _ = comparable(gray, gray, 8)
    assert np.array_equal(same.items, gray.items)
    constant = dataclasses.replace(gray, items=np.full((450, 16, 16), 77, np.uint8))
    assert (comparable(constant, gray, 8)[0].items == 77).all()


def test_domains_of_image_files_are_read(images, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "a.png")
    files = Dataset("files", ImageFiles([tmp_path / "a.png"]), np.zeros(1, np.int64), {}, ("0",))
    _, theirs = comparable(images[0], files, 8)
    assert theirs.items.shape == (1, 8, 8, 3)
    assert (theirs.items == 90).all()
