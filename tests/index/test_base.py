from __future__ import annotations

import itertools
import linecache
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.index.base import _renew_locks, is_ours
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
    assert index.search(random_codes(2), 3, mask=[]).ids.tolist() == [[-1] * 3] * 2
    assert index.radius_search(random_codes(0), 3, mask=(), exclude=[]).offsets.tolist() == [0]
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


def test_an_id_is_any_integer_but_that_of_no_hit(make):
    index = make(32)
    extremes = [-(2**63), 2**63 - 1, 0, -2]
    index.add(random_codes(4), ids=extremes)
    assert index.ids.tolist() == list(index) == extremes
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.uint64):
        index.reset()
        index.add(random_codes(3), ids=np.array([7, 100, 3], dtype))
        assert index.get(np.array([100, 3], dtype)).tolist() == random_codes(3)[1:].tolist()
        assert index.search(random_codes(3)[:1], 1).ids.dtype == np.int64


def test_ids_in_lists_and_sets(make):
    index = make(32)
    index.add(random_codes(3), [-7, 2**63 - 1, 5])
    assert index.contains(range(4, 7)).tolist() == [False, True, False]
    assert index.search(random_codes(3), 3, among={5, -7, 99}).ids.tolist()[0][2] == -1
    assert index.remove({5, -7}) == 2
    for call, error, message in (
        (
            lambda: index.add(random_codes(1), [2**63]),
            ValueError,
            r"add: expected ids\[0\] from -9223372036854775808 to",
        ),
        (
            lambda: index.add(random_codes(2), [1, 0.5]),
            TypeError,
            r"add: expected ids\[1\] to be an integer, got float",
        ),
        (lambda: index.add(random_codes(2), {1, 2}), TypeError, "add: expected ids to be a numeric array, got set"),
        (lambda: index.get(7), ValueError, r"get: expected ids of shape \[n\], got \[\]; pass \[id\] for a single one"),
        (lambda: index.get([[1], [2]]), TypeError, r"get: expected ids\[0\] to be an integer, got list"),
        (
            lambda: index.get(np.array([2**63], np.uint64)),
            ValueError,
            r"get: expected ids below 2\^63, got 9223372036854775808; pass ids.view\(np.int64\)",
        ),
    ):
        with pytest.raises(error, match=message):
            call()
    assert len(index) == 1


def test_codes_are_found_by_id(make):
    index = make(32)
    ids = np.random.default_rng(0).permutation(1000)[:50] - 500
    index.add(random_codes(50), ids)
    np.testing.assert_array_equal(index.get(ids[::-1]), random_codes(50)[::-1])
    assert isinstance(index.get(torch.from_numpy(ids)), torch.Tensor)
    assert index.get([]).shape == (0, 4)
    assert index.contains([int(ids[3]), 5000, int(ids[0])]).tolist() == [True, False, True]
    assert int(ids[0]) in index
    assert 5000 not in index
    assert 2**70 not in index
    with pytest.raises(TypeError):
        "a" in index  # noqa: B015
    with pytest.raises(ValueError, match="get: expected ids in the index, got 5000, which is not"):
        index.get([int(ids[0]), 5000])
    with pytest.raises(TypeError, match="contains: expected ids of an integer dtype, got float64"):
        index.contains(np.array([0.5]))


def test_batches_are_in_order_of_insertion(index):
    index.remove([3, 40])
    left = [i for i in range(50) if i not in (3, 40)]
    batches = list(index.batches(20))
    assert [len(ids) for ids, _ in batches] == [19, 20, 9]
    assert torch.cat([ids for ids, _ in batches]).tolist() == left == list(index)
    np.testing.assert_array_equal(torch.cat([codes for _, codes in batches]), random_codes(50)[left])
    with pytest.raises(ValueError, match="batches: expected size at least 1, got 0"):
        index.batches(0)


def test_missing_ids_are_passed_over_on_request(index):
    assert index.remove([3, 99, 3, 4], ignore_missing=True) == 2
    assert index.remove([3], ignore_missing=True) == 0
    assert index.remove([5]) == 1
    assert index.ids.tolist() == [0, 1, 2, *range(6, 50)]


def test_upsert_replaces_what_is_there_and_inserts_last(make):
    index = make(32)
    index.add(random_codes(10), ids=range(100, 110))
    new = random_codes(3, seed=1)
    assert index.upsert(new, [104, 7, 100]) == 2
    assert index.ids.tolist() == [101, 102, 103, 105, 106, 107, 108, 109, 104, 7, 100]
    np.testing.assert_array_equal(index.get([104, 7, 100]), new)
    with pytest.raises(ValueError, match="upsert: expected ids none twice, got 8 again"):
        index.upsert(random_codes(2), [8, 8])
    assert len(index) == 11
    numbered = make(32)
    numbered.add(random_codes(3))
    assert numbered.upsert(new[:1], [1]) == 1
    numbered.add(random_codes(1))
    assert numbered.ids.tolist() == [0, 2, 1, 3]
    with pytest.raises(ValueError, match="upsert: expected ids in the index, got 9, which is not"):
        numbered.upsert(new[:2], [0, 9])
    np.testing.assert_array_equal(numbered.get([0, 1]), [random_codes(3)[0], new[0]])


@pytest.mark.parametrize("other", [fh.FlatIndex, fh.MultiIndex])
def test_merging_adds_what_another_has(make, other):
    index, more = make(32), other(32)
    index.add(random_codes(3))
    more.add(random_codes(5, seed=1))
    more.remove([1])
    index.merge(more)
    assert index.ids.tolist() == [0, 1, 2, 3, 4, 5, 6]  # numbered on
    np.testing.assert_array_equal(index.codes[3:], random_codes(5, seed=1)[[0, 2, 3, 4]])
    index.merge(other(32))
    index.merge(index)
    assert len(index) == 14
    given, others = make(32), other(32)
    given.add(random_codes(2), [5, 6])
    others.add(random_codes(2, seed=1), [8, 7])
    given.merge(others)
    assert given.ids.tolist() == [5, 6, 8, 7]
    for wrong, error, message in (
        (others, ValueError, "merge: expected ids that are new, got 8 again"),
        (index, ValueError, "merge: expected ids, as the codes in the index were added with ids, got none"),
        (other(24), ValueError, "merge: expected other with codes of 32 bits, got 24"),
        (random_codes(2), TypeError, "merge: expected other to be an index of fasthash, got ndarray"),
    ):
        with pytest.raises(error, match=message):
            given.merge(wrong)
    assert len(given) == 4


def test_codes_with_bits_beyond_the_last_are_refused(make):
    index = make(12)
    codes = np.array([[255, 15], [0, 16]], np.uint8)
    index.add(codes[:1])
    for call in (index.add, lambda c: index.search(c, 1), lambda c: index.radius_search(c, 1)):
        with pytest.raises(ValueError, match="whose bits beyond the first 12 are 0, got others"):
            call(codes)
    assert len(index) == 1


def test_a_search_among_given_ids_is_one_of_their_codes(make):
    for n_removed, ids in ((0, None), (5, None), (5, 2 * np.random.default_rng(0).permutation(400) - 400)):
        index = make(32)
        index.add(random_codes(400), ids)
        index.remove(index.ids[:n_removed])
        queries, known = random_codes(4, seed=1), index.ids.numpy()
        for m in (0, 1, 20, 300):
            among = np.random.default_rng(m).permutation(known)[:m]
            mask = np.isin(known, among)
            given = [*among.tolist(), *among[:3].tolist(), 10**6]  # some twice, and one that is not there
            for found, expected in (
                (index.search(queries, 7, among=given), index.search(queries, 7, mask=mask)),
                (index.radius_search(queries, 3, among=given), index.radius_search(queries, 3, mask=mask)),
            ):
                for x, y in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(x, y)
    with pytest.raises(ValueError, match="search: expected mask or among, got both"):
        index.search(queries, 1, mask=mask, among=given)
    with pytest.raises(TypeError, match=r"radius_search: expected among\[0\] to be an integer, got float"):
        index.radius_search(queries, 1, among=[0.5])


@pytest.mark.parametrize("make", [fh.FlatIndex, fh.MultiIndex])
@given(st.data())
def test_an_index_is_a_list_of_codes(make, data):
    """Any sequence of changes, then a search, masked, among ids, within a radius."""
    index, ids, codes = make(32), [], random_codes(0)
    given_ids, next_id = data.draw(st.booleans()), 0
    for step in range(data.draw(st.integers(1, 6))):
        change = data.draw(st.sampled_from(["add", "remove", "upsert", "reset", "build"]))
        new = random_codes(data.draw(st.integers(0, 20)), seed=step)
        if change == "add":
            free = st.sampled_from(sorted({*range(-40, 60)} - {*ids, -1}))
            chosen = data.draw(st.lists(free, min_size=len(new), max_size=len(new), unique=True))
            chosen = chosen if given_ids else list(range(next_id, next_id + len(new)))
            index.add(new, chosen if given_ids else None)
            ids, codes, next_id = ids + chosen, np.concatenate([codes, new]), next_id + len(new)
        elif change == "upsert" and ids:
            chosen = data.draw(st.lists(st.sampled_from(ids), max_size=len(new), unique=True))
            assert index.upsert(new[: len(chosen)], chosen) == len(chosen)
            left = [j for j, i in enumerate(ids) if i not in chosen]
            ids, codes = [ids[j] for j in left] + chosen, np.concatenate([codes[left], new[: len(chosen)]])
        elif change == "remove" and ids:
            chosen = data.draw(st.sets(st.sampled_from(ids)))
            assert index.remove(sorted(chosen)) == len(chosen)
            left = [j for j, i in enumerate(ids) if i not in chosen]
            ids, codes = [ids[j] for j in left], codes[left]
        elif change == "reset":
            index.reset()
            ids, codes, next_id = [], codes[:0], 0
        elif change == "build" and make is fh.MultiIndex:
            index.build()
    assert index.ids.tolist() == ids
    np.testing.assert_array_equal(index.codes, codes)
    queries = random_codes(3, seed=99)
    mask = data.draw(st.none() | st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    flags = None if mask is None else np.array(mask, bool)
    named = np.append(np.array(ids, np.int64), -1)
    expected = fh.hamming_topk(queries, codes, 4, mask=flags)
    hits = index.search(queries, 4, mask=flags)
    np.testing.assert_array_equal(hits.distances, expected.distances)
    np.testing.assert_array_equal(hits.ids, named[expected.ids])
    within, hits = fh.hamming_radius(queries, codes, 2, mask=flags), index.radius_search(queries, 2, mask=flags)
    np.testing.assert_array_equal(hits.offsets, within.offsets)
    np.testing.assert_array_equal(hits.ids, named[within.ids])


@pytest.mark.parametrize("change", ["add", "add with ids", "pair", "upsert", "remove", "remove most", "merge", "reset"])
@pytest.mark.parametrize("has_table", [False, True])
def test_a_change_that_breaks_off_anywhere_changes_nothing(make, change, has_table, tmp_path):
    """At every line of the index's own modules that a change runs, in turn; some make the table of positions."""
    folder = str(Path(fh.index.__file__).parent)
    ids = np.random.default_rng(0).permutation(60)
    error = MemoryError if has_table else KeyboardInterrupt
    if not has_table:
        ids[:50].sort()

    def made():
        index = make(32)
        index.add(random_codes(50), None if change == "add" else ids[:50])
        if make is fh.MultiIndex:
            index.build()
        index.remove(index.ids[:2])
        return index

    def run(index):
        if change.startswith("add"):
            index.add(random_codes(10, seed=1), None if change == "add" else ids[50:])
        elif change == "pair":
            index.add_and_pair(random_codes(10, seed=1), 2, ids[50:])
        elif change == "upsert":
            index.upsert(random_codes(10, seed=1), ids[48:58])  # few enough that none are moved
        elif change == "merge":
            other = fh.FlatIndex(32)
            other.add(random_codes(10, seed=1), ids[50:])
            index.merge(other)
        elif change == "reset":
            index.reset()
        else:
            index.remove(ids[2:3] if change == "remove" else ids[2:40])

    def contents(index):
        return index.ids.tolist(), index.codes.tolist()

    before, after = contents(made()), made()
    run(after)
    after = contents(after)
    n_lines, seen = 0, set()
    while True:
        n_lines += 1
        index, left = made(), n_lines

        def trace(frame, event, argument, lock=index._lock):
            nonlocal left
            if not frame.f_code.co_filename.startswith(folder):
                return None
            # At the end of a `with` block no signal is handled before the lock is free.
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
            if event == "line" and not (line.lstrip().startswith("with ") and is_ours(lock)):
                left -= 1
                if left == 0:
                    sys.settrace(None)
                    raise error
            return trace

        sys.settrace(trace)
        try:
            run(index)
        except error:
            pass
        finally:
            sys.settrace(None)
        assert not is_ours(index._lock)
        seen.add(contents(index) == after)
        assert contents(index) in (before, after)
        np.testing.assert_array_equal(index.get(index.ids), index.codes)
        index.add(random_codes(3), None if change == "add" or index._contents.next_id == 0 else [900, 901, 899])
        np.testing.assert_array_equal(index.codes[-3:], random_codes(3))
        np.testing.assert_array_equal(index.get(index.ids), index.codes)
        index.save(tmp_path / "index")
        assert contents(fh.load_index(tmp_path / "index", verify=True)) == contents(index)
        if left > 0:
            break
    assert n_lines > 5
    assert seen == {False, True}


@pytest.mark.parametrize("given_ids", [False, True])
def test_changes_take_the_memory_that_is_stated(make, given_ids):
    """As NumPy reports it, whose memory the index's own is."""
    n, width, chunk = 200_000, 8, 5000
    codes = np.zeros((n, width), np.uint8)
    ids = np.random.default_rng(0).permutation(n) if given_ids else None
    index = make(64)
    tracemalloc.start()
    try:
        for start in range(0, n, chunk):
            index.add(codes[:chunk], ids[start : start + chunk] if given_ids else None)
        kept, peak = tracemalloc.get_traced_memory()
        a_code = width + (8 if given_ids else 0)
        a_position = 22.8 if given_ids else 0
        slack = 2 * 10**6  # a chunk and its checks, and what Python itself takes
        assert kept <= (2 * a_code + a_position) * n + slack
        assert peak <= (3 * a_code + 1.5 * a_position) * n + slack
        tracemalloc.reset_peak()
        index.remove(index.ids[:1])
        _, peak = tracemalloc.get_traced_memory()
        assert peak <= kept + n + slack
        index.remove(index.ids[: n // 2])
        kept, _ = tracemalloc.get_traced_memory()
        assert kept <= (width + 8) * n / 2 + n + slack
    finally:
        tracemalloc.stop()


def test_adding_no_codes_decides_nothing(make):
    """Neither whether ids are given, nor which."""
    index = make(32)
    index.add(random_codes(0), np.empty(0, np.int64))
    assert index.upsert(random_codes(0), []) == 0
    index.add(random_codes(3))
    assert index.ids.tolist() == [0, 1, 2]
    assert list(make(32).batches()) == []


def test_a_change_within_another_is_refused(index):
    """As of a signal handler, which would be undone when the change that it interrupted ends."""
    queries = random_codes(2, seed=1)
    calls = {
        "add": lambda: index.add(queries),
        "add_and_pair": lambda: index.add_and_pair(queries, 1),
        "upsert": lambda: index.upsert(queries, [1, 2]),
        "remove": lambda: index.remove([1]),
        "merge": lambda: index.merge(index),
        "reset": index.reset,
        "get": lambda: index.get([1]),
        "contains": lambda: index.contains([1]),
        "search": lambda: index.search(queries, 1, among=[1]),
    }
    with index._lock:
        for name, call in calls.items():
            with pytest.raises(RuntimeError, match=rf"Index.{name}: expected no call .* under way in this thread"):
                call()
        assert (index.search(queries, 1).ids >= 0).all()
        assert len(index) == len(index.ids) == 50
    index.add(queries)


def test_an_id_may_be_replaced_again_and_again(make):
    """In a table that neither grows nor fills."""
    index = make(32)
    codes = random_codes(400)
    index.add(codes, np.random.default_rng(0).permutation(400))
    for i in range(1000):
        assert index.upsert(codes[i % 400][None], [77]) == 1
        if i == 30:
            n_slots = len(index._contents.positions._table.slots)
    assert len(index) == 400
    np.testing.assert_array_equal(index.get([77]), codes[199:200])
    assert len(index._contents.positions._table.slots) == n_slots


def test_what_is_refused_takes_no_memory(make):
    index = make(32)
    index.add(random_codes(10), np.arange(10)[::-1])
    contents, slots = index._contents, index._contents.positions._table.slots
    with pytest.raises(ValueError, match="add: expected ids that are new, got 5 again"):
        index.add(random_codes(5000), [*range(100, 5099), 5])
    assert index._contents.positions._table.slots is slots
    assert index._contents is contents


class EqualToAll(fh.FlatIndex):
    """Which takes from it that it can be hashed."""

    def __eq__(self, other):
        return isinstance(other, EqualToAll)


def test_indexes_may_compare_equal():
    one, other = EqualToAll(32), EqualToAll(32)
    assert one == other
    with one._lock, other._lock:
        _renew_locks()
        one.add(random_codes(2))
        other.add(random_codes(2))


def test_batches_are_made_one_at_a_time(make):
    index = make(64)
    n = 300_000
    index.add(np.random.default_rng(0).integers(0, 256, (n, 8), dtype=np.uint8))
    for n_removed in (0, 3):
        index.remove(np.arange(n_removed))
        codes = index.codes
        tracemalloc.start()
        try:
            n_seen = 0
            for ids, some in index.batches(10_000):
                assert torch.equal(some, codes[n_seen : n_seen + len(some)])
                assert ids.tolist() == list(range(n_removed + n_seen, n_removed + n_seen + len(some)))
                n_seen += len(some)
            assert n_seen == len(index)
            assert next(iter(index)) == n_removed
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2 * 10**6


def test_calls_after_a_removal_take_the_memory_that_is_stated(make):
    """Where they pass over one code."""
    n, width = 400_000, 8
    index = make(64)
    codes = np.random.default_rng(0).integers(0, 256, (n, width), dtype=np.uint8)
    index.add(codes, np.random.default_rng(1).permutation(n))
    removed = index.ids[n // 2 :][:1]
    index.remove(removed)
    few, many = np.arange(1000), np.arange(n // 7)
    mask = np.ones(n - 1, bool)
    slack = 600_000
    most = {
        "mask": (lambda: index.search(codes[:1], 1, mask=mask), n / 4),
        "few": (lambda: index.search(codes[:1], 1, among=few), 40 * len(few)),
        "many": (lambda: index.search(codes[:1], 1, among=many), 33 * len(many) + 1.2 * n),
        "get": (lambda: index.get(few), 30 * len(few)),
        "codes": (lambda: index.codes, width * n),
        "ids": (lambda: index.ids, 8 * n),
        "vectors": (lambda: index.search(codes[:1], 1, rerank="asymmetric", rerank_queries=np.ones((1, 64))), 2 * n),
    }
    for name, (call, n_bytes) in most.items():
        call()
        tracemalloc.start()
        try:
            call()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < n_bytes + slack, (name, peak)


def test_pairs_have_the_ids_of_the_codes(make):
    index = make(32)
    codes = random_codes(60)
    index.add(codes, np.random.default_rng(0).permutation(1000)[:60])
    index.remove(index.ids[[3, 20, 59]])
    left, ids = np.asarray(index.codes), np.asarray(index.ids)
    mask = np.random.default_rng(1).random(57) < 0.7
    for options in ({}, {"mask": mask}, {"copies": "all"}, {"mask": mask, "copies": "all", "threads": 2}):
        found, expected = index.hamming_pairs(3, **options), fh.hamming_pairs(left, 3, **options)
        assert len(expected.i) > 10
        np.testing.assert_array_equal(found.i, ids[expected.i])
        np.testing.assert_array_equal(found.j, ids[expected.j])
        np.testing.assert_array_equal(found.distances, expected.distances)
    numbered = make(32)
    numbered.add(codes)
    for x, expected in zip(numbered.hamming_pairs(2), fh.hamming_pairs(codes, 2), strict=True):
        np.testing.assert_array_equal(x, expected)
    with pytest.raises(ValueError, match="Index.hamming_pairs: expected at most 2 pairs"):
        index.hamming_pairs(3, max_pairs=2)
    with pytest.raises(ValueError, match=r"Index.hamming_pairs: expected mask of shape \[57\] for 57 codes"):
        index.hamming_pairs(3, mask=mask[1:])


def shared_ids(index, n=60):
    """Codes with ids of which some were removed, and what is left."""
    index.add(random_codes(n), np.random.default_rng(0).permutation(1000)[:n])
    index.remove(index.ids[[3, 20, n - 1]])
    return np.asarray(index.codes), np.asarray(index.ids)


@pytest.mark.parametrize("max_hits", [None, 1, 4, 10**9])
def test_a_radius_search_has_the_nearest_of_its_hits_but_the_own_code(make, max_hits):
    index = make(32)
    codes, ids = shared_ids(index)
    mask, positions = np.random.default_rng(1).random(57) < 0.7, np.arange(57)
    for radius in (0, 3, 32):
        for chosen, flags in (
            ({}, None),
            ({"mask": mask}, mask),
            ({"among": ids[mask]}, mask),
            ({"among": ids[:5]}, positions < 5),
        ):
            expected = fh.hamming_radius(codes, codes, radius, max_hits=max_hits, exclude=positions, mask=flags)
            hits = index.radius_search(codes, radius, max_hits=max_hits, exclude=ids, **chosen)
            for x, wanted in zip(hits, (*expected[:2], ids[expected.ids]), strict=True):
                np.testing.assert_array_equal(x, wanted)
            options = {"max_hits": max_hits, "exclude": torch.from_numpy(ids), "part_hits": 70, **chosen}
            parts = list(index.iter_radius_search(torch.from_numpy(codes), radius, **options))
            counts = [x for _, part in parts for x in part.offsets.diff().tolist()]
            assert counts == np.diff(hits.offsets).tolist()
            assert [begin for begin, _ in parts] == np.cumsum(
                [0, *(len(part.offsets) - 1 for _, part in parts[:-1])]
            ).tolist()
            np.testing.assert_array_equal(torch.cat([part.ids for _, part in parts]), hits.ids)
            np.testing.assert_array_equal(torch.cat([part.distances for _, part in parts]), hits.distances)
    rest = list(index.iter_radius_search(codes, 3, max_hits=max_hits, first=50))
    assert [(begin, len(part.offsets)) for begin, part in rest] == [(50, 8)]


def test_parts_are_of_what_there_was_when_they_were_begun(make):
    index = make(32)
    codes, _ = shared_ids(index)
    expected = index.radius_search(codes, 3)
    parts = index.iter_radius_search(codes, 3, part_hits=100)
    index.reset()
    index.add(codes[:1])
    found = [part.ids for _, part in parts]
    assert len(found) > 5
    np.testing.assert_array_equal(np.concatenate(found), expected.ids)


def test_hits_beyond_those_wanted_take_no_memory(make):
    index = make(32)
    codes = np.concatenate([np.zeros((2500, 4), np.uint8), random_codes(500)])
    index.add(codes)
    for search in (
        lambda: index.radius_search(codes, 2, max_hits=10),
        lambda: sum(len(part.ids) for _, part in index.iter_radius_search(codes, 2, part_hits=5000)),
    ):
        search()
        tracemalloc.start()
        try:
            search()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3 * 2**20  # all hits are 75 MB


def test_radius_search_progress_is_shown(index, capsys):
    assert len(list(index.iter_radius_search(random_codes(9), 3, progress=True))) == 1
    assert "9/9" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["radius_search", "iter_radius_search"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_hits": 0}, "max_hits at least 1, got 0"),
        ({"exclude": [1]}, r"exclude of shape \[4\], an id a query, got \[1\]"),
        ({"exclude": np.ones(4)}, "exclude of an integer dtype, got float64"),
        ({"part_hits": 0}, "part_hits at least 1, got 0"),
        ({"first": 5}, "first from 0 to 4, got 5"),
        ({"progress": 1}, "progress to be True or False, got 1"),
    ],
)
def test_errors_of_radius_searches(index, method, options, message):
    if method == "radius_search" and options.keys() & {"part_hits", "first", "progress"}:
        return
    with pytest.raises((TypeError, ValueError), match=f"Index.{method}: expected {message}"):
        getattr(index, method)(random_codes(4), 3, **options)


@pytest.mark.parametrize("with_ids", [False, True])
def test_codes_that_are_added_in_batches_make_the_pairs_that_all_at_once_do(make, with_ids):
    index, codes = make(32), random_codes(3000)
    codes[::3] = 7
    ids = np.random.default_rng(0).permutation(5000)[:3000]
    parts = []
    for begin, end in itertools.pairwise((0, 1, 1, 900, 1000, 3000)):
        chosen = ids[begin:end] if with_ids else None
        parts.append(index.add_and_pair(codes[begin:end], 2, chosen, max_pairs=10**5))
        assert len(index) == end
    expected = index.hamming_pairs(2)
    found = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    place = np.empty(5000, np.int64)
    place[ids if with_ids else np.arange(3000)] = np.arange(3000)
    order = np.lexsort((place[found[1]], place[found[0]]))
    for x, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x[order], wanted)
    assert all(
        isinstance(x, torch.Tensor)
        for x in index.add_and_pair(torch.zeros(1, 4, dtype=torch.uint8), 0, [6000][: int(with_ids)] or None)
    )


def test_codes_are_paired_with_those_that_are_left(make):
    index = make(32)
    codes, ids = shared_ids(index)
    new = random_codes(30, seed=1)
    found = index.add_and_pair(new, 2, np.arange(2000, 2030))
    expected = fh.hamming_pairs(np.concatenate([codes, new]), 2, since=57)
    all_ids = np.concatenate([ids, np.arange(2000, 2030)])
    assert len(expected.i) > 10
    for x, wanted in zip(found, (all_ids[expected.i], all_ids[expected.j], expected.distances), strict=True):
        np.testing.assert_array_equal(x, wanted)


def test_nothing_is_added_when_pairing_fails(make, monkeypatch):
    index = make(32)
    shared_ids(index)
    before = index.codes.tolist(), index.ids.tolist()

    def interrupted(*arguments):
        raise KeyboardInterrupt

    for arguments, message in (
        ((random_codes(3), -1, [1, 2, 3]), "expected radius at least 0, got -1"),
        ((random_codes(3), 1, [1, 2]), "expected ids of shape"),
        ((random_codes(3), 1, [1, 2, 2]), "expected ids that are new, got 2 again"),
        ((random_codes(3), 1), "expected ids, as the codes in the index were added with ids"),
    ):
        with pytest.raises(ValueError, match=f"Index.add_and_pair: {message}"):
            index.add_and_pair(*arguments)
    with pytest.raises(ValueError, match=r"Index.add_and_pair: expected at most 1 pairs"):
        index.add_and_pair(np.zeros((3, 4), np.uint8), 1, [1001, 1002, 1003], max_pairs=1)
    with monkeypatch.context() as patch:
        patch.setattr("fasthash.index.base.pairs_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index.add_and_pair(random_codes(3), 1, [1001, 1002, 1003])
    assert (index.codes.tolist(), index.ids.tolist()) == before
    index.add(random_codes(2, seed=5), [1002, 1001])
    assert index.get([1002, 1001]).tolist() == random_codes(2, seed=5).tolist()


def expected_asymmetric(index, projections, k, bits=4, mask=None):
    """As `asymmetric_topk` finds them among the index's codes, ids for positions."""
    scores, at = fh.asymmetric_topk(projections, index.codes.numpy(), k, bits=bits, mask=mask)
    return -scores, np.append(index.ids.numpy(), -1)[at]


@pytest.mark.parametrize("n_bits", [27, 32])
def test_projections_are_compared_with_all_codes(make, n_bits, rng):
    index = make(n_bits)
    vectors, projections = (rng.standard_normal((n, n_bits)).astype(np.float32) for n in (300, 6))
    index.add(fh.pack_bits(vectors), ids=np.arange(300)[::-1].copy() * 3)
    index.remove([6, 9, 300])
    for arguments in ({}, {"bits": 1}, {"bits": 8}, {"mask": rng.random(297) < 0.5}):
        found = index.search(projections, 7, **arguments)
        expected = expected_asymmetric(index, projections, 7, **arguments)
        np.testing.assert_array_equal(found.distances, expected[0])
        np.testing.assert_array_equal(found.ids, expected[1])
    few = index.search(projections, 4, among=[0, 12, 15])
    assert np.isposinf(few.distances[:, 3]).all()
    assert (np.sort(few.ids[:, :3], axis=1) == [0, 12, 15]).all()
    again = fh.index.from_bytes(index.to_bytes()).search(torch.from_numpy(projections), 7)
    assert torch.equal(again.ids, torch.from_numpy(index.search(projections, 7).ids))


@pytest.mark.parametrize("given", [("factors",), ("offsets",), ("factors", "offsets")])
def test_projections_are_compared_by_factors_and_offsets(make, given, rng):
    index = make(24)
    vectors, projections = (rng.standard_normal((n, 24)).astype(np.float32) for n in (300, 6))
    index.add(fh.pack_bits(vectors), ids=np.arange(300)[::-1].copy() * 3)
    index.remove([6, 9, 300, 891])
    numbers = {"factors": np.float32([0.5, 1, 3])[np.arange(296) % 3], "offsets": rng.standard_normal(296, np.float32)}
    numbers = {name: numbers[name] for name in given}
    ids = np.append(index.ids.numpy(), -1)
    plain = index.search(projections, 7)
    for index_like in (index, fh.index.from_bytes(index.to_bytes())):
        for mask in (None, rng.random(296) < 0.5, rng.random(296) < 0.02):
            found = index_like.search(projections, 7, bits=3, mask=mask, **numbers)
            scores, at = fh.asymmetric_topk(projections, index.codes.numpy(), 7, bits=3, mask=mask, **numbers)
            np.testing.assert_array_equal(found.distances, -scores)
            np.testing.assert_array_equal(found.ids, ids[at])
    assert not np.array_equal(index.search(projections, 7, **numbers).ids, plain.ids)
    few = index.search(projections, 4, among=ids[[5, 2, 9]], **numbers)
    expected = fh.asymmetric_topk(
        projections, index.codes.numpy()[[2, 5, 9]], 4, **{name: y[[2, 5, 9]] for name, y in numbers.items()}
    )
    np.testing.assert_array_equal(few.distances, -expected.scores)


@pytest.mark.parametrize(
    ("queries", "numbers", "message"),
    [
        (np.ones((1, 32)), {"factors": np.ones(5, np.float32)}, r"search: expected factors of shape \[4\], one a code"),
        (np.ones((1, 32)), {"offsets": np.ones((4, 1), np.float32)}, r"search: expected offsets of shape \[4\], one"),
        (
            np.ones((1, 32)),
            {"offsets": np.float32([0, 0, 0, np.inf])},
            "search: expected offsets to be finite, got inf at 3",
        ),
        (
            np.zeros((1, 4), np.uint8),
            {"factors": np.ones(4, np.float32)},
            "only with floating-point queries, got uint8",
        ),
    ],
)
def test_numbers_that_do_not_fit_the_codes_are_refused(make, queries, numbers, message):
    index = make(32)
    index.add(random_codes(5))
    index.remove([1])
    with pytest.raises(ValueError, match=message):
        index.search(queries, 2, **numbers)
    with pytest.raises(TypeError, match="search: expected factors of dtype float32, got float64"):
        index.search(np.ones((1, 32)), 2, factors=np.ones(4))


def test_what_projections_find_is_reranked(make, rng):
    index = make(32)
    vectors, queries = (rng.standard_normal((n, 32)).astype(np.float32) for n in (300, 6))
    index.add(fh.pack_bits(vectors))
    _, candidates = expected_asymmetric(index, queries, 15)
    found = index.search(queries, 5, rerank=vectors, rerank_queries=queries, factor=3)
    inner = np.take_along_axis(queries @ vectors.T, candidates, axis=1)
    np.testing.assert_array_equal(found.ids, np.take_along_axis(candidates, np.argsort(-inner, axis=1)[:, :5], axis=1))


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (np.ones((2, 4), np.float32), r"search: expected queries of shape \[q, 32\] where they are projections, got"),
        (np.ones(32, np.float32), r"search: expected queries of shape \[q, 32\] where they are projections, got"),
        (np.full((2, 32), np.nan), "search: expected queries to be finite, got nan in row 0, column 0"),
    ],
)
def test_projections_that_do_not_fit_are_refused(make, queries, message):
    index = make(32)
    index.add(random_codes(5))
    with pytest.raises(ValueError, match=message):
        index.search(queries, 2)
    with pytest.raises(ValueError, match="search: expected bits from 1 to 8, got 9"):
        index.search(np.ones((2, 32)), 2, bits=9)
    with pytest.raises(TypeError, match="radius_search: expected queries of dtype uint8"):
        index.radius_search(np.ones((2, 32)), 2)


def test_ids_of_python_are_found_whatever_torchs_default_device_is(index):
    with torch.device("meta"):
        assert 5 in index
        assert 5000 not in index
        assert index.remove([5]) == 1
