"""Who trains, asks and is searched."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fasthash.data import Dataset
from fasthash.recipes.protocols import PROTOCOLS, at_random, split


def counts(dataset, positions):
    return np.bincount(dataset.labels[positions], minlength=dataset.n_classes)


def test_a_split_by_class_has_as_many_of_each_and_no_common_item():
    dataset = Dataset("d", np.zeros((8000, 2), np.float32), np.arange(8000) % 10, {}, tuple("0123456789"))
    parts = split(dataset, "per-class-v1", seed=3)
    assert (counts(dataset, parts.train) == 500).all()
    assert (counts(dataset, parts.query) == 100).all()
    assert (counts(dataset, parts.validation) == 100).all()
    everything = np.concatenate([parts.train, parts.query, parts.validation, parts.database])
    assert np.array_equal(np.sort(everything), np.arange(8000))
    again, other = split(dataset, "per-class-v1", seed=3), split(dataset, "per-class-v1", seed=4)
    assert np.array_equal(parts.train, again.train)
    assert not np.array_equal(parts.train, other.train)


def test_training_items_are_searched_where_the_protocol_says_so(images):
    parts = split(images, "digits-v1")
    assert np.isin(parts.train, parts.database).all()
    assert not np.isin(np.concatenate([parts.query, parts.validation]), parts.database).any()


def test_unsupervised_protocol_trains_on_all_but_the_queries():
    dataset = Dataset("d", np.zeros((30_000, 1), np.float32), np.arange(30_000) % 10, {}, tuple("0123456789"))
    parts = split(dataset, "unsupervised-v1")
    assert len(parts.query) == 10_000
    assert np.array_equal(parts.train, parts.database)
    assert len(parts.train) == 20_000


def test_a_split_at_random_takes_items_of_several_labels(many_labels):
    parts = at_random(200, 50, 30, map_at=100).draw(many_labels, np.random.default_rng(0))
    assert [len(x) for x in (parts.train, parts.query, parts.validation, parts.database)] == [200, 50, 30, 120]
    assert len(np.unique(np.concatenate([parts.train, parts.query, parts.validation, parts.database]))) == 400


def test_the_splits_of_the_hswd_paper_have_its_sizes():
    classes = Dataset("d", np.zeros((60_000, 1), np.float32), np.arange(60_000) % 10, {}, tuple("0123456789"))
    parts = split(classes, "cifar10-hswd-v1")
    assert [len(x) for x in (parts.train, parts.validation, parts.query, parts.database)] == [5_000, 0, 1_000, 54_000]
    labels = np.random.default_rng(0).random((30_000, 21)) < 0.2
    concepts = Dataset("d", np.zeros((30_000, 1), np.float32), labels, {}, tuple("abcdefghijklmnopqrstu"))
    for protocol in ("nuswide-hswd-v1", "coco-hswd-v1"):
        parts = split(concepts, protocol)
        assert [len(x) for x in (parts.train, parts.validation, parts.query)] == [10_000, 0, 5_000]
        assert np.isin(parts.train, parts.database).all()
        assert np.array_equal(np.union1d(parts.query, parts.database), np.arange(30_000))
        assert PROTOCOLS[protocol].map_at is None


def test_the_splits_of_the_idr_ae_paper_have_its_sizes():
    flickr = Dataset("d", np.zeros((25_000, 1), np.float32), np.arange(25_000) % 250, {}, tuple(map(str, range(250))))
    parts = split(flickr, "flickr25k-v1")
    assert [len(x) for x in (parts.train, parts.query, parts.database)] == [20_000, 5_000, 20_000]
    assert np.array_equal(parts.train, parts.database)
    assert (counts(flickr, parts.query) == 20).all()
    topics = dataclasses.replace(
        flickr, labels=np.arange(25_000)[:, None] % 250 < np.arange(2, 4), class_names=("a", "b")
    )
    parts = split(topics, "mirflickr25k-v1")
    assert np.array_equal(parts.train, parts.database)
    assert len(parts.query) == 5_000
    assert np.array_equal(np.union1d(parts.query, parts.database), np.arange(25_000))
    n = 365 * 520
    places = Dataset("d", np.zeros((n, 1), np.float32), np.arange(n) % 365, {}, tuple(map(str, range(365))))
    parts = split(places, "places365-v1")
    assert [len(x) for x in (parts.train, parts.query, parts.database)] == [182_500, 3_650, 182_500]
    assert np.array_equal(parts.train, parts.database)


def test_published_lists_are_kept():
    published = {"train": np.arange(20), "test": np.arange(20, 30), "database": np.arange(30, 60)}
    dataset = Dataset("d", np.zeros((60, 1), np.float32), np.zeros(60, np.int64), published, ("a",))
    parts = split(dataset, "imagenet100-v1")
    assert np.array_equal(parts.train, np.arange(20))
    assert np.array_equal(parts.database, np.arange(30, 60))
    assert np.array_equal(np.sort(np.concatenate([parts.query, parts.validation])), np.arange(20, 30))
    parts = split(dataset, "published-v1")
    assert len(parts.train) == 18
    assert np.array_equal(parts.query, np.arange(20, 30))
    without = dataclasses.replace(dataset, splits={name: published[name] for name in ("train", "test")})
    assert np.array_equal(split(without, "published-v1").database, split(without, "published-v1").train)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("per-class-v1", "expected more than 700 items of each class for this protocol, but digits has 178 of class 0"),
        ("coco-v1", "expected more than 20000 items, but digits has 1797"),
        ("imagenet100-v1", "published with a test part; digits has none"),
        ("per-class-v2", "expected protocol to be one of 'per-class-v1'"),
    ],
)
def test_a_split_that_cannot_be_drawn_says_what_is_missing(images, protocol, message):
    with pytest.raises(ValueError, match=message):
        split(images, protocol)


def test_a_split_by_class_refuses_items_of_several_labels(many_labels):
    with pytest.raises(ValueError, match="made has several"):
        split(many_labels, "per-class-v1")


def test_a_domain_without_parts_is_split_at_random(images):
    source = dataclasses.replace(images, items=images.items[:450], labels=images.labels[:450])
    parts = split(source, "domains-v1", seed=2)
    assert [len(x) for x in (parts.train, parts.validation, parts.query)] == [324, 36, 90]
    together = np.concatenate([parts.train, parts.validation, parts.query])
    assert np.array_equal(np.sort(together), np.arange(450))
    assert np.array_equal(parts.database, parts.train)
    published = dataclasses.replace(source, splits={"train": np.arange(300), "test": np.arange(300, 450)})
    assert np.array_equal(split(published, "domains-v1", 3).query, split(published, "published-v1", 3).query)
