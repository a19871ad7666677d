from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import fasthash as fh
from tests.index.conftest import CLASSES, FILLED, random_codes


def hits_by_distance(distances, ids):
    """The hits of each query with their ties in one order, which FAISS does not state."""
    return [sorted(zip(*pair, strict=True)) for pair in zip(distances.tolist(), ids.tolist(), strict=True)]


@pytest.mark.parametrize("fill", FILLED)
@pytest.mark.parametrize("cls", CLASSES)
def test_faiss_and_back(cls, fill):
    faiss = pytest.importorskip("faiss")
    index = fill(cls)
    converted = fh.index.to_faiss(index)
    consecutive = index.ids.tolist() == list(range(len(index)))
    assert type(converted) is (faiss.IndexBinaryFlat if consecutive else faiss.IndexBinaryIDMap2)
    back = fh.index.from_faiss(converted)
    assert type(back) is fh.FlatIndex
    assert torch.equal(back.codes, index.codes)
    assert torch.equal(back.ids, index.ids)
    queries = random_codes(5, seed=1)
    n = max(1, len(index))
    assert hits_by_distance(*converted.search(queries, n)) == hits_by_distance(*index.search(queries, n))
    converted.reset()  # the copy outlives what it was copied from
    assert torch.equal(back.codes, index.codes)


def test_an_id_map_of_another_class_is_read():
    faiss = pytest.importorskip("faiss")
    flat = faiss.IndexBinaryFlat(32)
    index = faiss.IndexBinaryIDMap(flat)
    index.add_with_ids(random_codes(5), np.arange(5) * 7)
    assert fh.index.from_faiss(index).ids.tolist() == [0, 7, 14, 21, 28]
    index.add_with_ids(random_codes(1), np.array([7]))
    with pytest.raises(ValueError, match="from_faiss: expected ids that are new, got 7 again"):
        fh.index.from_faiss(index)


def ivf(faiss):
    index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(32), 32, 7)
    index.train(random_codes(200))
    return index


def hnsw(faiss):
    return faiss.IndexBinaryHNSW(32, 8)


def multi_hash(faiss):
    return faiss.IndexBinaryMultiHash(32, 2, 16)


@pytest.mark.parametrize("make", [ivf, hnsw, multi_hash])
@pytest.mark.parametrize("n", [0, 300])
def test_codes_of_approximate_indexes_are_searched_exactly(make, n):
    faiss = pytest.importorskip("faiss")
    index = make(faiss)
    if n:
        index.add(random_codes(n))
    copied = fh.index.from_faiss(index)
    np.testing.assert_array_equal(copied.codes, random_codes(n))
    assert copied.ids.tolist() == list(range(n))
    inner = make(faiss)
    mapped = faiss.IndexBinaryIDMap2(inner)
    ids = np.random.default_rng(0).permutation(n) * 3
    if n:
        mapped.add_with_ids(random_codes(n), ids)
    copied = fh.index.from_faiss(mapped)
    np.testing.assert_array_equal(copied.codes, random_codes(n))
    np.testing.assert_array_equal(copied.ids, ids)


def test_ids_of_an_ivf_index_are_kept():
    faiss = pytest.importorskip("faiss")
    index, ids = ivf(faiss), np.random.default_rng(0).permutation(100) * 3 + 1
    index.add_with_ids(random_codes(100), ids)
    copied = fh.index.from_faiss(index)
    assert copied.ids.tolist() == sorted(ids)
    np.testing.assert_array_equal(copied.get(ids), random_codes(100))
    index.remove_ids(ids[:40])
    np.testing.assert_array_equal(fh.index.from_faiss(index).get(ids[40:]), random_codes(100)[40:])


@pytest.mark.parametrize("kind", ["IndexBinaryIDMap", "IndexBinaryIDMap2"])
def test_an_id_map_of_an_ivf_index_is_read_unless_removing_mixed_its_ids_up(kind):
    faiss = pytest.importorskip("faiss")
    inner, ids = ivf(faiss), np.arange(20) * 10 + 5
    index = getattr(faiss, kind)(inner)
    index.add_with_ids(random_codes(20), ids)
    index.remove_ids(ids[18:])
    copied = fh.index.from_faiss(index)
    np.testing.assert_array_equal(copied.ids, ids[:18])
    np.testing.assert_array_equal(copied.codes, random_codes(20)[:18])
    index.remove_ids(ids[2:4])
    message = f"from_faiss: expected an {kind} of IndexBinaryIVF that numbers its codes 0, 1, 2, ..., got other numbers"
    with pytest.raises(ValueError, match=message):
        fh.index.from_faiss(index)


def test_what_faiss_cannot_hold_or_fasthash_cannot_read_is_refused(monkeypatch):
    faiss = pytest.importorskip("faiss")
    with pytest.raises(ValueError, match="to_faiss: expected n_bits to be a multiple of 8, as FAISS demands, got 12"):
        fh.index.to_faiss(fh.FlatIndex(12))
    with pytest.raises(TypeError, match="to_faiss: expected an index of fasthash, got ndarray"):
        fh.index.to_faiss(random_codes(3))
    hashed = faiss.IndexBinaryHash(32, 8)
    with pytest.raises(TypeError, match="IndexBinaryIDMap of one .*, got IndexBinaryHash$"):
        fh.index.from_faiss(hashed)
    with pytest.raises(TypeError, match="IndexBinaryIDMap of one .*, got IndexBinaryIDMap of IndexBinaryHash$"):
        fh.index.from_faiss(faiss.IndexBinaryIDMap(hashed))
    with pytest.raises(TypeError, match="IndexBinaryIDMap of one .*, got IndexFlat$"):
        fh.index.from_faiss(faiss.IndexFlat(32))
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"to_faiss needs FAISS, but FAISS is not installed; .*\[faiss\]"):
        fh.index.to_faiss(fh.FlatIndex(32))
