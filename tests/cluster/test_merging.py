"""The hits of many parts, selected without reading most of them, are the least of all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthash.cluster.merging import nearest_of


def sorted_parts(rng, n_parts, n_queries, n_columns, draw, dtype, spread):
    """Parts whose rows ascend by distance and id, ids being distinct in a row over all parts."""
    ids = np.array([rng.permutation(spread)[: n_parts * n_columns] for _ in range(n_queries)], np.int64)
    ids = ids.reshape(n_queries, n_parts, n_columns) - spread // 2
    parts = []
    for i in range(n_parts):
        distances = draw((n_queries, n_columns)).astype(dtype)
        order = np.lexsort((ids[:, i], distances), axis=1)
        parts.append((np.take_along_axis(distances, order, 1), np.take_along_axis(ids[:, i], order, 1)))
    return parts


@given(
    st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 6), st.integers(0, 30), st.integers(1, 40),
    st.sampled_from([1, 3, 60]), st.sampled_from([np.int32, np.float32]), st.booleans(),
)  # fmt: skip
def test_the_least_of_all_are_selected(seed, n_parts, n_queries, n_columns, k, most, dtype, far):
    rng = np.random.default_rng(seed)
    parts = sorted_parts(rng, n_parts, n_queries, n_columns, lambda shape: rng.integers(0, most, shape), dtype, 5000)
    if far:  # so that one number cannot stand for a row, a distance and an id
        parts = [(distances, ids * 2**50) for distances, ids in parts]
    distances, ids = nearest_of(parts, k)
    all_distances, all_ids = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    order = np.lexsort((all_ids, all_distances), axis=1)[:, :k]
    assert distances.dtype == dtype
    assert (distances == np.take_along_axis(all_distances, order, 1)).all()
    assert (ids == np.take_along_axis(all_ids, order, 1)).all()
    assert distances.shape == ids.shape == order.shape


def test_most_columns_are_not_read():
    """Of parts that begin beyond the bound nothing but the first column is looked at."""

    class Watched(np.ndarray):
        read = 0

        def __getitem__(self, key):
            found = super().__getitem__(key)
            if not (isinstance(key, tuple) and isinstance(key[0], slice)):
                Watched.read += np.size(found)
            return found

    rng = np.random.default_rng(0)
    parts = sorted_parts(rng, 200, 10, 100, lambda shape: rng.binomial(64, 0.21, shape), np.int32, 20_000)
    expected = nearest_of(parts, 10)
    found = nearest_of([(d.view(Watched), i) for d, i in parts], 10)
    assert (found[1] == expected[1]).all()
    assert Watched.read < 200 * 10 * 100 / 4


def test_a_single_part_is_cut():
    distances, ids = nearest_of([(np.array([[1, 2, 3]]), np.array([[5, 6, 7]]))], 2)
    assert distances.tolist() == [[1, 2]]
    assert ids.tolist() == [[5, 6]]


@pytest.mark.parametrize("k", [1, 3])
def test_hits_at_infinity_come_before_none(k):
    none = (np.full((1, 3), np.inf), np.full((1, 3), -1))
    some = (np.array([[4, np.inf, np.inf]]), np.array([[9, 7, -1]]))
    distances, ids = nearest_of([none, some, none, none], k)
    assert ids.tolist() == [[9, 7, -1][:k]]
    assert distances.tolist() == [[4, np.inf, np.inf][:k]]


@pytest.mark.parametrize("k", [1, 3])
def test_rows_that_are_filled_up_stay_last(k):
    none = (np.full((1, 3), 2**31 - 1, np.int32), np.full((1, 3), -1))
    some = (np.array([[4, 2**31 - 1, 2**31 - 1]], np.int32), np.array([[9, -1, -1]]))
    distances, ids = nearest_of([none, some, none, none], k)
    assert ids.tolist() == [[9, -1, -1][:k]]
    assert distances[0, 0] == 4
