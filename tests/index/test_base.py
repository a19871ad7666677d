from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from tests.conftest import named
from tests.index.conftest import random_codes


def test_search_is_the_op_with_ids(index):
    queries = random_codes(3, seed=1)
    for found, expected in zip(index.search(queries, 5), fh.hamming_topk(queries, random_codes(50), 5), strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(
        index.radius_search(queries, 2), fh.hamming_radius(queries, random_codes(50), 2), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert isinstance(index.search(torch.from_numpy(queries), 5).ids, torch.Tensor)


def test_adding_in_batches_is_adding_at_once(make, index):
    batches = make(32)
    for part in np.array_split(random_codes(50), 7):
        batches.add(part)
    assert len(batches) == len(index) == 50
    assert torch.equal(batches.codes, index.codes)
    assert torch.equal(batches.ids, index.ids)


def test_added_codes_are_copied(make):
    codes = random_codes(5)
    index = make(32)
    index.add(codes)
    codes[:] = 255
    np.testing.assert_array_equal(index.codes.numpy(), random_codes(5))


def test_given_ids_and_ties_by_insertion(make):
    index = make(8)
    index.add(np.array([[1], [0], [1], [0]], np.uint8), ids=np.array([40, 30, 20, 10]))
    distances, ids = index.search(np.array([[0]], np.uint8), 6)
    assert ids.tolist() == [[30, 10, 40, 20, -1, -1]]
    assert distances.tolist() == [[0, 0, 1, 1, 2**31 - 1, 2**31 - 1]]
    masked = index.search(np.array([[0]], np.uint8), 2, mask=np.array([True, False, False, True]))
    assert masked.ids.tolist() == [[10, 40]]
    assert index.radius_search(np.array([[0]], np.uint8), 0).ids.tolist() == [30, 10]


@pytest.mark.parametrize("make", [fh.FlatIndex, fh.MultiIndex])
@given(st.data())
def test_adding_then_removing_leaves_search_unchanged(make, data):
    n, extra = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    index = make(32)
    index.add(random_codes(n))
    queries = random_codes(3, seed=1)
    before = index.search(queries, 5)
    index.add(random_codes(extra, seed=2))
    index.remove(np.arange(n, n + extra))
    for x, y in zip(before, index.search(queries, 5), strict=True):
        np.testing.assert_array_equal(x, y)
    index.add(random_codes(1, seed=3))
    assert index.ids[-1] == n + extra  # an id is never used again


@pytest.mark.parametrize("make", [fh.FlatIndex, fh.MultiIndex])
@given(st.data())
def test_removing_is_searching_the_rest(make, data):
    removed = data.draw(st.sets(st.integers(0, 39), max_size=40))
    index = make(32)
    index.add(random_codes(40))
    rest = np.array(sorted(set(range(40)) - removed), dtype=np.int64)
    index.remove(np.array(sorted(removed), dtype=np.int64))
    hits = fh.hamming_topk(random_codes(3, seed=1), random_codes(40)[rest], 6)
    found = index.search(random_codes(3, seed=1), 6)
    np.testing.assert_array_equal(found.distances, hits.distances)
    np.testing.assert_array_equal(found.ids, np.where(hits.ids < 0, -1, np.append(rest, -1)[hits.ids]))


def test_empty_index(index):
    index.reset()
    assert len(index) == 0
    hits = index.search(random_codes(2), 3)
    assert hits.ids.tolist() == [[-1] * 3] * 2
    assert index.radius_search(random_codes(2), 3).offsets.tolist() == [0, 0, 0]
    index.add(random_codes(4), ids=np.array([9, 8, 7, 6]))
    index.reset()
    index.add(random_codes(4))
    assert index.ids.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i: i.add(random_codes(2, 5)), ValueError, r"expected codes of 4 bytes a row \(32 bits\), got 5"),
        (lambda i: i.add(random_codes(2).astype(int)), TypeError, "expected codes of dtype uint8 .* got int64"),
        (
            lambda i: i.add(random_codes(2), ids=np.array([7, 8])),
            ValueError,
            "expected no ids, as the codes in the index",
        ),
        (lambda i: i.remove(np.array([3, 50])), ValueError, "expected ids in the index, got 50, which is not"),
        (lambda i: i.remove(np.array([3.0])), TypeError, "expected ids of an integer dtype, got float64"),
        (lambda i: i.remove(np.array([[3]])), ValueError, r"expected ids of shape \[n\], got \[1, 1\]"),
        (lambda i: i.search(random_codes(2, 5), 1), ValueError, "expected queries of 4 bytes a row"),
        (lambda i: i.search(random_codes(2), 0), ValueError, "expected k at least 1, got 0"),
        (lambda i: i.search(random_codes(2), 1, mask=np.ones(49, bool)), ValueError, r"expected mask of shape \[50\]"),
        (lambda i: i.radius_search(random_codes(2), -1), ValueError, "expected radius at least 0, got -1"),
    ],
    ids=named,
)
def test_bad_input_changes_nothing(index, call, error, message):
    with pytest.raises(error, match=message):
        call(index)
    np.testing.assert_array_equal(index.codes.numpy(), random_codes(50))
    assert index.ids.tolist() == list(range(50))


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (None, ValueError, "expected ids, as the codes in the index were added with ids, got none"),
        (np.array([4, 4]), ValueError, "expected ids that are new, got 4 again"),
        (np.array([5, 2]), ValueError, "expected ids that are new, got 2 again"),
        (np.array([5, -1]), ValueError, "expected ids other than -1, which stands for no hit, got -1"),
        (np.array([5, 2**63], np.uint64), ValueError, "expected ids below 2.63, got 9223372036854775808"),
        (np.array([5]), ValueError, r"expected ids of shape \[2\] for 2 codes, got \[1\]"),
        (np.array([5, 6], np.float32), TypeError, "expected ids of an integer dtype, got float32"),
        (np.array([True, False]), TypeError, "expected ids of an integer dtype, got bool"),
    ],
    ids=named,
)
def test_bad_ids_change_nothing(make, ids, error, message):
    index = make(32)
    index.add(random_codes(3), ids=np.array([1, 2, 3]))
    with pytest.raises(error, match=message):
        index.add(random_codes(2), ids=ids)
    assert index.ids.tolist() == [1, 2, 3]
    assert len(index.codes) == 3


@pytest.mark.parametrize(
    ("n_bits", "error", "message"),
    [
        (0, ValueError, "expected n_bits from 1 to 4096, got 0"),
        (-8, ValueError, "expected n_bits from 1 to 4096, got -8"),
        (4097, ValueError, "expected n_bits from 1 to 4096, got 4097"),
        (16.0, TypeError, "expected n_bits to be an integer, got float"),
    ],
)
def test_bad_width(make, n_bits, error, message):
    with pytest.raises(error, match=message):
        make(n_bits)


@pytest.mark.parametrize("kind", [fh.FlatIndex, fh.MultiIndex])
def test_an_id_is_never_used_again(kind):
    index, seen = kind(32), set()
    generator = np.random.default_rng(0)
    for _ in range(4):
        before = len(index)
        index.add(generator.integers(0, 256, (5, 4), dtype=np.uint8))
        new = set(index.ids[before:].tolist())
        assert not new & seen
        seen |= new
        index.remove(index.ids[1::2].clone())
