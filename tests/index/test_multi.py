from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash import _core
from tests.conftest import named
from tests.index.conftest import random_codes

WIDTHS = [16, 17, 24, 31, 48, 64, 65, 72, 100, 120, 128, 136, 200, 256, 384, 512]
UNLIMITED = 2**60  # as max_candidates: the tables alone answer


def draw_codes(rng, n, q, n_bits, flip):
    """Codes and queries that are centres with every bit flipped with a probability; 0.5 is uniform."""
    width = (n_bits + 7) // 8
    centres = rng.integers(0, 256, (max(1, n // 30), width), dtype=np.uint8)
    codes = centres[rng.integers(0, len(centres), n + q)]
    codes ^= np.packbits(rng.random((n + q, 8 * width)) < flip, axis=1)
    codes[:, -1] &= 255 >> -n_bits % 8
    return codes[:n], codes[n:]


def filled(n_bits, codes, *args, **options):
    index = fh.MultiIndex(n_bits, *args, **options)
    index.add(codes)
    index.build()
    return index


def assert_same(found, expected):
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("layout", ["fast", "compact"])
@pytest.mark.parametrize("flip", [0.05, 0.15, 0.5])
@pytest.mark.parametrize("n_bits", WIDTHS)
def test_every_width_agrees_with_the_reference(rng, n_bits, flip, layout):
    """The numbers of tables are odd and even, and cut the codes into unequal parts."""
    codes, queries = draw_codes(rng, 1500, 8, n_bits, flip)
    nearest = {k: fh.hamming_topk(queries, codes, k, kernel="reference") for k in (1, 10, 150)}
    near = {r: fh.hamming_radius(queries, codes, r, kernel="reference") for r in (0, n_bits // 16, n_bits // 5)}
    for n_tables in ("auto", 1, 3, 8):
        index = filled(n_bits, codes, n_tables, layout=layout)
        for k, expected in nearest.items():
            assert_same(index.search(queries, k), expected)
            distances, ids, complete = index.search_bounded(queries, k, max_candidates=UNLIMITED)
            assert_same((distances, ids), expected)
            assert complete.all()
        for radius, expected in near.items():
            assert_same(index.radius_search(queries, radius), expected)


@pytest.mark.parametrize("isa", _core.runnable_isas())
@pytest.mark.parametrize("n_bits", [56, 64, 120, 200])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_every_level_agrees_with_a_scan(rng, isa, n_bits, fast, masked):
    """So many near codes that the cost model prefers the tables, and some of the codes are not in them."""
    codes, queries = draw_codes(rng, 100_000, 40, n_bits, 0.05)
    tables = _core.MultiIndexTables(codes[:99_001], n_bits, 0, fast, 2)
    mask = np.packbits(rng.random(len(codes)) < 0.6, bitorder="little") if masked else None
    distances, ids = np.empty((40, 5), np.int32), np.empty((40, 5), np.int64)
    for threads in (1, 2):
        tables.topk(queries, codes, 5, mask, 0, distances, ids, None, threads, isa)
        assert_same((distances, ids), fh.hamming_topk(queries, codes, 5, mask=mask))
        hits = tables.radius(queries, codes, n_bits // 16, mask, threads, isa)
        assert_same(hits, fh.hamming_radius(queries, codes, n_bits // 16, mask=mask))


@pytest.mark.parametrize("n", [1, 2, 3, 63, 64, 65])
def test_few_codes(rng, n):
    codes, queries = draw_codes(rng, n, 3, 40, 0.5)
    assert_same(filled(40, codes).search(queries, 5), fh.hamming_topk(queries, codes, 5))
    assert filled(40, codes).search_bounded(queries, 5, max_candidates=UNLIMITED).complete.all()


def test_nothing_to_build():
    index = fh.MultiIndex(40)
    index.build()
    assert index.search(np.zeros((2, 5), np.uint8), 1).ids.tolist() == [[-1], [-1]]


def test_an_empty_mask(rng):
    codes, queries = draw_codes(rng, 3000, 3, 40, 0.5)
    index, nothing = filled(40, codes), np.zeros(3000, bool)
    assert (index.search(queries, 2, mask=nothing).ids == -1).all()
    assert (index.search_bounded(queries, 2, 5, mask=nothing).ids == -1).all()
    assert index.radius_search(queries, 9, mask=nothing).offsets.tolist() == [0, 0, 0, 0]


def test_equal_codes_are_ordered_by_insertion(rng):
    """More of them than are verified at once, and than a list keeps."""
    codes = np.zeros((20_000, 8), np.uint8)
    codes[rng.integers(0, 20_000, 3)] = 1
    index = filled(64, codes)
    for k in (1, 10, 7000):
        expected = fh.hamming_topk(codes[:2], codes, k)
        assert_same(index.search(codes[:2], k), expected)
        assert_same(index.search_bounded(codes[:2], k, max_candidates=UNLIMITED)[:2], expected)


@given(st.data())
def test_adds_and_removes_in_any_order_agree_with_flat(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    layout = data.draw(st.sampled_from(["fast", "compact"]))
    multi, flat = fh.MultiIndex(48, data.draw(st.integers(1, 6)), layout=layout), fh.FlatIndex(48)
    with_ids = data.draw(st.booleans())
    next_id = 0
    for _ in range(data.draw(st.integers(1, 6))):
        action = data.draw(st.sampled_from(["add", "add", "remove", "build", "reset"]))
        if action == "add":
            codes, _ = draw_codes(rng, data.draw(st.integers(0, 200)), 0, 48, 0.05)
            ids = 7 * rng.permutation(np.arange(next_id, next_id + len(codes))) if with_ids else None
            next_id += len(codes)
            multi.add(codes, ids)
            flat.add(codes, ids)
        elif action == "remove":
            removed = flat.ids.numpy()[rng.random(len(flat)) < 0.3]
            multi.remove(removed)
            flat.remove(removed)
        elif action == "build":
            multi.build()
        else:
            multi.reset()
            flat.reset()
    _, queries = draw_codes(rng, 1, 5, 48, 0.5)
    mask = rng.random(len(flat)) < 0.7
    for m in (None, mask):
        assert_same(multi.search(queries, 4, mask=m), flat.search(queries, 4, mask=m))
        assert_same(
            multi.search_bounded(queries, 4, mask=m, max_candidates=UNLIMITED)[:2],
            flat.search(queries, 4, mask=m),
        )
        assert_same(multi.radius_search(queries, 12, mask=m), flat.radius_search(queries, 12, mask=m))


def test_tensors_in_tensors_out(rng):
    codes, queries = (torch.from_numpy(x) for x in draw_codes(rng, 500, 3, 64, 0.1))
    index = filled(64, codes)
    for part in (
        *index.search(queries, 2),
        *index.search_bounded(queries, 2, max_candidates=5),
        *index.radius_search(queries, 9),
    ):
        assert isinstance(part, torch.Tensor)
    assert_same(index.search(queries[::2], 2), fh.hamming_topk(queries[::2], codes, 2))


def test_a_bound_reports_what_it_cut_short(rng):
    codes, queries = draw_codes(rng, 20_000, 50, 64, 0.1)
    index = filled(64, codes)
    expected = fh.hamming_topk(queries, codes, 10)
    shares = []
    for bound in (1, 100, 1000, 5000, UNLIMITED):
        distances, ids, complete = index.search_bounded(queries, 10, max_candidates=bound)
        assert_same((distances[complete], ids[complete]), (expected.distances[complete], expected.ids[complete]))
        assert (distances >= expected.distances).all()
        again = index.search_bounded(queries, 10, max_candidates=bound, threads=1)
        assert_same(again, (distances, ids, complete))
        shares.append(complete.mean())
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[3] > 0
    assert shares[-1] == 1


def test_a_bounded_search_builds_the_tables_that_it_is_bounded_by(rng):
    codes, queries = draw_codes(rng, 20_000, 5, 64, 0.1)
    index = fh.MultiIndex(64)
    index.add(codes)
    assert not index.search_bounded(queries, 10, max_candidates=1).complete.any()
    assert index.stats().n_indexed == 20_000
    index.add(queries[:1])
    distances, ids, complete = index.search_bounded(queries[:1], 1, max_candidates=1)
    assert (distances.tolist(), ids.tolist(), complete.tolist()) == ([[0]], [[20_000]], [False])
    assert index.stats().n_waiting == 1  # compared, not indexed


def test_tables_are_built_when_scans_have_cost_as_much(rng):
    codes, queries = draw_codes(rng, 20_000, 100, 64, 0.1)
    index = fh.MultiIndex(64)
    index.add(codes)
    index.search(queries[:1], 10)
    assert index.stats().n_tables == 0
    for _ in range(1000):
        index.search(queries, 10)
        if index.stats().n_tables > 0:
            break
    assert index.stats().n_indexed == 20_000
    index.add(codes[:5])
    assert index.stats().n_waiting == 5
    assert_same(index.search(queries, 10), fh.hamming_topk(queries, index.codes.numpy(), 10))
    assert index.stats().n_waiting == 5
    index.build()
    assert index.stats().n_waiting == 0
    index.remove(np.array([3]))
    assert index.stats()[2:4] == (20_004, 0)  # passed over
    index.remove(np.arange(4, 3000))
    assert index.stats()[:4] == (0, (), 0, 17_008)  # the others were moved


@pytest.mark.parametrize(
    ("n_bits", "layout", "most"), [(64, "fast", 5), (64, "compact", 2), (128, "fast", 5), (256, "compact", 2)]
)
def test_stats(rng, n_bits, layout, most):
    n = 100_000
    index = fh.MultiIndex(n_bits, layout=layout)
    assert index.stats() == (0, (), 0, 0, 0, 0, ())
    index.add(draw_codes(rng, n, 0, n_bits, 0.5)[0])
    index.build()
    stats = index.stats()
    assert stats.n_tables == len(stats.keys) > 1
    assert stats.table_bytes <= most * stats.code_bytes == most * n * n_bits // 8
    ends = [first + bits for first, bits in stats.keys]
    assert all(end <= first for end, (first, _) in zip(ends, stats.keys[1:], strict=False))
    assert ends[-1] <= n_bits
    # Within radius s are the codes that the first s + 1 steps find; step m r + t is radius r in table t of m.
    assert stats.probes[: stats.n_tables + 1] == (*range(1, stats.n_tables + 1), stats.n_tables + stats.keys[0][1])
    assert stats.probes[-1] < n


def test_building_again_does_nothing_until_codes_are_added(rng):
    codes = rng.integers(0, 256, (2000, 8), dtype=np.uint8)
    index = fh.MultiIndex(64)
    index.add(codes[:1000])
    index.build()
    tables = index._tables
    index.build()
    assert index._tables is tables
    index.add(codes[1000:])
    index.build()
    assert index._tables is not tables
    assert index.stats().n_indexed == 2000


def test_repr(rng):
    index = filled(64, draw_codes(rng, 100, 0, 64, 0.5)[0], 5, layout="compact")
    assert repr(index) == "MultiIndex(n_bits=64, n_tables=5, layout='compact'): 100 codes, 100 of them in 5 tables"


def test_searches_from_several_threads(rng):
    """The tables are built by one of them."""
    codes, queries = draw_codes(rng, 20_000, 60, 64, 0.1)
    index = fh.MultiIndex(64)
    index.add(codes)
    expected = fh.hamming_topk(queries, codes, 10)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: index.search_bounded(queries, 10, max_candidates=UNLIMITED), range(20)):
            assert_same(found[:2], expected)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_stops_a_search_and_a_build(threads):
    """Every query meets every code; either would take many seconds."""
    index = filled(512, np.zeros((200_000, 64), np.uint8), 2)
    queries = np.zeros((100_000, 64), np.uint8)
    waiting = fh.MultiIndex(64, 40)
    waiting.add(np.zeros((3_000_000, 8), np.uint8))
    calls = [
        lambda: index.search_bounded(queries, 5, max_candidates=UNLIMITED, threads=threads),
        lambda: waiting.build(threads=threads),
    ]
    for call in calls:
        interrupt = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
        interrupt.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            call()
        interrupt.join()
        assert time.monotonic() - start < 30
    assert waiting.stats().n_tables == 0
    assert index.search(queries[:1], 1).ids.tolist() == [[0]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fh.MultiIndex(64, 0), ValueError, "MultiIndex: expected n_tables from 1 to 64, got 0"),
        (lambda: fh.MultiIndex(64, 65), ValueError, "MultiIndex: expected n_tables from 1 to 64, got 65"),
        (lambda: fh.MultiIndex(64, 2.0), TypeError, "MultiIndex: expected n_tables to be an integer, got float"),
        (
            lambda: fh.MultiIndex(64, "many"),
            ValueError,
            "MultiIndex: expected n_tables to be one of 'auto', got 'many'",
        ),
        (
            lambda: fh.MultiIndex(64, layout="tall"),
            ValueError,
            "MultiIndex: expected layout to be one of 'fast', 'comp",
        ),
        (
            lambda: fh.MultiIndex(64).search_bounded(np.zeros((1, 8), np.uint8), 1, max_candidates=0),
            ValueError,
            "MultiIndex.search_bounded: expected max_candidates at least 1, got 0",
        ),
        (lambda: fh.MultiIndex(64).build(threads=0), ValueError, "MultiIndex.build: expected threads from 1 to 4096"),
    ],
    ids=named,
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_build_within_another_is_refused_and_a_search_goes_on():
    """As of a signal handler."""
    index = fh.MultiIndex(32)
    index.add(random_codes(50))
    expected = index.search(random_codes(3), 5)
    with index._build_lock:
        for found, wanted in zip(index.search(random_codes(3), 5), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        with pytest.raises(RuntimeError, match="MultiIndex.build: expected no call for this index under way"):
            index.build()
        with pytest.raises(RuntimeError, match="MultiIndex.search_bounded: expected no call for this index under way"):
            index.search_bounded(random_codes(3), 5, 10)
    index.build()
