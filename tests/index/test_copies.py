"""Copies of an index, by every way Python has."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle

import joblib
import numpy as np
import pytest
import torch

import fasthash as fh
from tests.index.conftest import CLASSES, FILLED, random_codes, with_holes


def by_pickle(index):
    return pickle.loads(pickle.dumps(index))


def out_of_band(index):
    buffers = []
    data = pickle.dumps(index, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[buffer.raw().toreadonly() for buffer in buffers])


def by_joblib(index):
    file = io.BytesIO()
    joblib.dump(index, file)
    file.seek(0)
    return joblib.load(file)


def by_torch(index):
    file = io.BytesIO()
    torch.save(index, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = [copy.copy, copy.deepcopy, by_pickle, out_of_band, by_joblib, by_torch]


class Tagged(fh.MultiIndex):
    def __init__(self, n_bits, tag):
        super().__init__(n_bits, 3)
        self.tag = tag


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("fill", FILLED)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_copy_is_the_same_and_then_its_own(copied, fill, cls):
    index = fill(cls)
    if cls is fh.MultiIndex:
        index.build()
    other = copied(index)
    assert repr(other).partition(":")[0] == repr(index).partition(":")[0]
    assert torch.equal(other.codes, index.codes)
    queries = random_codes(3, seed=1)
    for x, y in zip(index.search(queries, 5), other.search(queries, 5), strict=True):
        np.testing.assert_array_equal(x, y)
    ids = [None, None] if index._contents.next_id is not None else [[5000, 4000], [6000, 2000]]
    index.add(random_codes(2, seed=2), ids[0])
    other.add(random_codes(2, seed=3), ids[1])
    if ids[0] is not None:
        assert (index.ids[-2:].tolist(), other.ids[-2:].tolist()) == tuple(ids)
    for one, seed in ((index, 2), (other, 3)):
        np.testing.assert_array_equal(one.codes[-2:], random_codes(2, seed=seed))
        np.testing.assert_array_equal(one.get(one.ids[-2:]), random_codes(2, seed=seed))
    n = len(other)
    index.remove(index.ids)
    assert (len(index), len(other)) == (0, n)


@pytest.mark.parametrize("copied", COPIES)
def test_a_subclass_keeps_what_is_its_own(copied):
    index = Tagged(32, ["mine"])
    index.add(random_codes(20))
    other = copied(index)
    assert (type(other), other.tag, len(other), other.n_tables) == (Tagged, ["mine"], 20, 3)


def test_a_pickle_holds_the_codes_and_no_room_for_more():
    index = fh.FlatIndex(32)
    for _ in range(3):
        index.add(random_codes(40_000))
    assert len(pickle.dumps(index)) < 120_000 * 4 + 2000


def test_a_shallow_copy_shares_codes_and_tables():
    index = fh.MultiIndex(32)
    index.add(random_codes(500))
    index.build()
    other = copy.copy(index)
    assert other.codes.data_ptr() == index.codes.data_ptr()
    assert other.stats() == index.stats()
    index.reset()
    assert other.stats().n_indexed == 500
    assert other.search(random_codes(1), 1).distances.tolist() == [[0]]


def test_an_index_of_a_file_is_copied_and_the_file_may_go(make, tmp_path):
    with_holes(make).save(tmp_path / "index")
    for copied in COPIES:
        other = copied(fh.load_index(tmp_path / "index"))
        assert other.ids.tolist() == with_holes(make).ids.tolist()
    joblib.dump(with_holes(make), tmp_path / "joblib")
    mapped = joblib.load(tmp_path / "joblib", mmap_mode="r")
    mapped.add(random_codes(1))
    assert len(mapped) == 48


@pytest.mark.parametrize("fill", FILLED)
def test_what_an_index_gives_is_the_caller_s_to_write_to(make, fill, tmp_path):
    """Also where its own memory cannot be written to, a file's, or belongs to others, bytes or another index."""
    index = fill(make)
    index.save(tmp_path / "index")
    data = index.to_bytes()
    expected, ids, codes = bytes(bytearray(data)), index.ids.tolist(), index.codes.numpy().copy()
    for each in (index, copy.copy(index), fh.load_index(tmp_path / "index"), fh.index.from_bytes(data)):
        given = [each.ids, *(part for batch in each.batches(20) for part in batch), each.get(ids)]
        for array in given:
            array += 1
        np.testing.assert_array_equal(torch.cat([batch for _, batch in each.batches(20)] or [each.codes]), codes)
        assert each.ids.tolist() == list(each) == ids
        np.testing.assert_array_equal(each.get(ids), codes)
        assert each.to_bytes() == expected
    assert data == expected


def nearest(index, queries):
    return index.search(queries, 3).ids.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_an_index_is_sent_to_workers(make, method):
    index, queries = with_holes(make), random_codes(3, seed=1)
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(nearest, [(index, queries)] * 4)
    assert found == [nearest(index, queries)] * 4


class Slotted(fh.FlatIndex):
    __slots__ = ("_Slotted__secret", "name")

    def __init__(self, n_bits, name="x"):
        super().__init__(n_bits)
        self.name = name
        self.__secret = name * 2

    def secret(self):
        return self.__secret


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
def test_attributes_in_slots_are_copied(copied):
    index = Slotted(32, "fish")
    index.note = ["seen"]
    index.add(random_codes(4))
    other = copied(index)
    assert (other.name, other.secret(), other.note) == ("fish", "fishfish", ["seen"])
    other.add(random_codes(1))
    assert (len(other), len(index)) == (5, 4)
