"""The GPU's search by filtering: its two filters, its samples, what it does when lists overflow, chunks and shards."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from typing import ClassVar
from unittest import mock

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.ops.hamming import op, reference
from tests.conftest import DEVICE, small_hamming_blocks

pytest.importorskip("triton")

from fasthash.ops.hamming import kernel_triton
from fasthash.ops.hamming import kernel_triton_count as counting

FILTERS = {"scan": 2**31, "product": 1}  # from how many queries on products are taken
interpreted = pytest.mark.skipif(not os.environ.get("TRITON_INTERPRET"), reason="needs the interpreter's order")


@pytest.fixture(params=FILTERS)
def filtered_by(request, monkeypatch):
    """Either filter, with samples of every second, fourth, ... group of codes."""
    small_hamming_blocks(monkeypatch, ratio=2, from_queries=FILTERS[request.param])
    return request.param


def random_codes(n, width, seed=0, alphabet=256):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, alphabet, (n, width), dtype=np.uint8))


def ascending(n, descending=False):
    """64-bit codes whose number of ones grows."""
    ones = np.sort(np.random.default_rng(3).integers(0, 65, n))
    return torch.from_numpy(np.packbits(np.arange(64) < ones[:: -1 if descending else 1, None], axis=1))


def in_odd_groups(n):
    """64-bit codes: all ones in every second group of eight, where samples look, and nearer and nearer to 0 between."""
    codes = ascending(n, descending=True)
    codes[(torch.arange(n) // 8) % 2 == 0] = 255
    return codes


def first_of_all(n):
    """64-bit codes, the nearest three to 0 in the first group, of which the first is the last hit."""
    codes = torch.full((n, 8), 255, dtype=torch.uint8)
    codes[[0, 5, 6]] = 0
    codes[[0, 6], 0] = torch.tensor([3, 1], dtype=torch.uint8)
    return codes


DATA = {
    "first": first_of_all,
    "random": lambda n: random_codes(n, 8),
    "ties": lambda n: random_codes(n, 4, alphabet=2),
    "equal": lambda n: torch.zeros((n, 8), dtype=torch.uint8),
    "ascending": ascending,
    "descending": lambda n: ascending(n, descending=True),
    "hidden": in_odd_groups,
}


def masks(n):
    return {"none": None, "sparse": torch.arange(n) % 7 == 2, "range": (torch.arange(n) - n // 2).abs() < 12}


def assert_as_reference(queries, codes, k, mask=None, search=kernel_triton.hamming_topk):
    bits = None if mask is None else fh.pack_bits(mask[None])[0]
    expected = reference.hamming_topk(queries, codes, k, bits)
    given = [None if x is None else x.to(DEVICE) for x in (queries, codes, bits)]
    for found, wanted in zip(search(*given[:2], k, given[2]), expected, strict=True):
        assert found.dtype == wanted.dtype
        assert torch.equal(found.cpu(), wanted)


@pytest.mark.parametrize("interpreter", ["", "1"])
def test_a_filter_that_is_asked_for_is_taken(monkeypatch, interpreter):
    """On a GPU, too, where blocks are as large as they are in use."""
    monkeypatch.setenv("TRITON_INTERPRET", interpreter)
    small_hamming_blocks(monkeypatch, from_queries=1)
    for width in kernel_triton.TUNING["default"]:
        assert width["product"]["from_queries"] == 1
        assert width["product"]["codes"] == (64 if interpreter else 128)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "mask"),
    [*((data, "none") for data in DATA), *itertools.product(("random", "ties", "hidden"), ("sparse", "range"))],
)
def test_filters_agree_with_the_reference(filtered_by, data, mask):
    codes = DATA[data](420)
    queries = torch.cat([codes[[5]], random_codes(2, codes.shape[1], seed=1), torch.zeros_like(codes[:1])])
    assert_as_reference(queries, codes, 3, masks(420)[mask])


@pytest.mark.parametrize("width", [8, 12, 24])
@pytest.mark.parametrize("mask", masks(1))
def test_one_query_is_scanned_in_turns(monkeypatch, width, mask):
    """A program has several blocks of codes; the last is whole, or has one code, or is the only one and not whole."""
    small_hamming_blocks(monkeypatch, ratio=2, from_queries=2)
    n_words = width // (8 if width % 8 == 0 else 4)
    codes = kernel_triton.scan_constants(n_words, kernel_triton.TUNING["default"][0]["scan"])["CODES"]
    for n in (6 * codes, 5 * codes + 1, codes - 1):
        assert_as_reference(random_codes(1, width, seed=1), random_codes(n, width, alphabet=3), 3, masks(n)[mask])


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 2, 6, 12, 24, 100, 512])
def test_filters_take_every_width(filtered_by, width):
    assert_as_reference(random_codes(3, width, seed=1), random_codes(203 if width < 100 else 131, width), 2)


@pytest.mark.parametrize("k", [60, 130, 150])
def test_many_hits_of_few_codes(filtered_by, k):
    assert_as_reference(random_codes(2, 8, seed=1), random_codes(130, 8), k)


def test_queries_are_searched_in_groups(filtered_by, monkeypatch):
    monkeypatch.setattr(kernel_triton, "LIST_BYTES", 1)
    assert_as_reference(random_codes(9, 8, seed=1), random_codes(130, 8), 1)


@pytest.mark.slow
@interpreted
def test_filters_see_few_codes_where_codes_are_random(filtered_by, monkeypatch):
    """Samples lower the limit: the lists of the last pass, of all codes, are short, and nothing is searched again."""
    calls = spy(monkeypatch)
    codes = random_codes(4_000, 8)
    assert_as_reference(codes[:2], codes, 1)
    assert calls == ["_filter"]


def spy(monkeypatch):
    """The names of the searches that are run, in order."""
    calls = []
    for name in ("_filter", "nearest_by_counting"):
        function = getattr(kernel_triton, name)

        def called(*args, name=name, function=function, **options):
            calls.append(name)
            return function(*args, **options)

        monkeypatch.setattr(kernel_triton, name, called)
    return calls


@pytest.mark.slow
@interpreted
def test_lists_that_overflow_cost_only_time(filtered_by, monkeypatch):
    """Samples see none of the near codes; those that the lists hold are the farthest of these, and then the nearest."""
    calls = spy(monkeypatch)
    query = torch.zeros((1, 8), dtype=torch.uint8)
    assert_as_reference(query, in_odd_groups(1_000), 1)
    assert calls == ["_filter", "_filter", "nearest_by_counting"]
    calls.clear()
    equal = torch.where((torch.arange(1_000) // 8 % 2 == 0)[:, None], query - 1, query + 1)
    assert_as_reference(query, equal, 1)
    assert calls == ["_filter", "_filter"]


@pytest.mark.parametrize("bins", [8, 16, 64, 128])
def test_distances_are_counted_range_by_range(monkeypatch, bins):
    small_hamming_blocks(monkeypatch)
    monkeypatch.setattr(counting, "MAX_BINS", bins)
    codes = random_codes(300, 8)
    codes[7] = ~codes[0]  # at the largest distance there is

    def search(queries, codes, k, mask):
        best = counting.nearest_by_counting(*map(counting.signed_words, (queries, codes)), mask, k)
        return (best >> counting.ID_BITS.value).int(), best & counting.ID_MASK.value

    for mask in (None, torch.arange(300) % 3 < 2):
        assert_as_reference(torch.cat([codes[:1], random_codes(1, 8, seed=1)]), codes, 199, mask, search)


@pytest.mark.slow
@pytest.mark.parametrize("width", [8, 6])
@pytest.mark.parametrize("chunk", [8, 64, 1000])
def test_chunks_are_searched_as_one(monkeypatch, width, chunk):
    small_hamming_blocks(monkeypatch, ratio=2)
    codes = random_codes(150, width, alphabet=3)

    def search(queries, codes, k, mask):
        asked = kernel_triton.BitQueries(counting.signed_words(queries))
        return kernel_triton.nearest(asked, codes, k, mask, chunk)

    assert_as_reference(random_codes(3, width, seed=1, alphabet=3), codes, 5, search=search)
    assert_as_reference(random_codes(2, width, seed=1, alphabet=3), codes, 5, torch.arange(150) > 140, search=search)
    assert_as_reference(random_codes(2, width), codes[:0], 5, search=search)


def test_the_table_covers_every_width():
    for widths in kernel_triton.TUNING.values():
        bounds = [entry["up_to_bits"] for entry in widths]
        assert bounds == sorted(bounds)
        assert bounds[-1] == 4096
        for entry in widths:
            assert entry["product"]["codes"] % 8 == 0
            assert entry["product"]["depth"] % 32 == 0
            assert min(entry["scan"]["ratio"], entry["product"]["ratio"]) > 1
    assert "default" in kernel_triton.TUNING


def test_several_arrays_are_searched_as_one():
    codes, queries = random_codes(100, 8, alphabet=2), random_codes(4, 8, seed=1, alphabet=2)
    mask = torch.arange(100) % 3 == 0
    bits = fh.pack_bits(mask[None])[0]
    shards = [codes[:13], codes[13:13], codes[13:60], codes[60:]]
    for options in ({}, {"mask": mask}, {"mask": bits}, {"kernel": "reference"}, {"threads": 1}):
        for k in (1, 9, 150):
            expected = fh.hamming_topk(queries, codes, k, **options)
            for found, wanted in zip(fh.hamming_topk(queries, shards, k, **options), expected, strict=True):
                assert torch.equal(found, wanted)
    found = fh.hamming_topk(queries.numpy(), tuple(x.numpy() for x in shards), 9)
    assert isinstance(found.ids, np.ndarray)
    np.testing.assert_array_equal(found.ids, fh.hamming_topk(queries, codes, 9).ids)


class OnGpu(torch.Tensor):
    """Data of the CPU that says it lies on a GPU and tells which streams it was copied between GPUs on."""

    copied_on: ClassVar[list] = []

    @property
    def device(self):
        return vars(self).get("place", torch.device("cpu"))

    def to(self, device, non_blocking=False):
        if device == self.device:
            return self
        self.copied_on += [torch.cuda.current_stream(place) for place in (device, self.device) if place.type == "cuda"]
        moved = self.clone().as_subclass(OnGpu)
        moved.place = device
        return moved


def test_searches_copy_on_one_stream(monkeypatch):
    """Memory that a stream took is kept for that stream."""
    made, device = [], torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: made.append(device) or mock.Mock())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: mock.Mock())
    monkeypatch.setattr(OnGpu, "record_stream", lambda tensor, stream: None)
    kernel_triton._copy_stream.cache_clear()
    codes = random_codes(100, 8).as_subclass(OnGpu)
    for _ in range(2):
        parts = list(kernel_triton._parts(codes, None, device, 40))
        assert [first for first, _, _ in parts] == [0, 40, 80]
        assert sum(len(words) for _, words, _ in parts) == 100
    assert made == [device]
    kernel_triton._copy_stream.cache_clear()


def test_arrays_on_several_gpus_are_searched_in_the_callers_streams(monkeypatch):
    """Every thread has current streams of its own, at first those that nothing orders with the caller's."""
    streams, used = threading.local(), []

    @contextlib.contextmanager
    def stream(entered):
        before = vars(streams).copy()
        if entered is not None:
            setattr(streams, entered.partition(" of ")[2], entered)
        yield
        vars(streams).clear()
        vars(streams).update(before)

    def search(queries, codes, k, mask, threads, **options):
        assert queries.device == codes.device
        assert mask is None or mask.device == codes.device
        used.append(torch.cuda.current_stream(codes.device))
        hits = reference.hamming_topk(*(x if x is None else x.as_subclass(torch.Tensor) for x in (queries, codes)), k)
        placed = [x.as_subclass(OnGpu) for x in hits]
        for x in placed:
            x.place = codes.device
        return tuple(placed)

    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda device: getattr(streams, str(device), f"default of {device}")
    )
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(op, "topk_op", search)
    monkeypatch.setattr(OnGpu, "copied_on", [])
    codes, queries = random_codes(60, 8), random_codes(3, 8, seed=1).as_subclass(OnGpu)
    queries.place = torch.device("cuda:0")
    shards = [part.as_subclass(OnGpu) for part in codes.split(20)]
    for shard, device in zip(shards, (0, 1, 1), strict=True):
        shard.place = torch.device("cuda", device)
    with stream("caller's of cuda:0"), stream("caller's of cuda:1"):
        found = fh.hamming_topk(queries, shards, 5)
    expected = reference.hamming_topk(queries.as_subclass(torch.Tensor), codes, 5)
    for got, wanted in zip(found, expected, strict=True):
        assert torch.equal(got.as_subclass(torch.Tensor), wanted)
    assert sorted(used) == ["caller's of cuda:0", "caller's of cuda:1", "caller's of cuda:1"]
    assert set(OnGpu.copied_on) == {"caller's of cuda:0", "caller's of cuda:1"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(codes=[]), ValueError, "expected codes of at least one array, got an empty list"),
        (dict(codes=[torch.zeros((2, 8))]), TypeError, r"expected codes\[0\] of dtype uint8"),
        (dict(codes=[random_codes(2, 8), random_codes(2, 7)]), ValueError, r"expected queries as wide as codes\[1\]"),
        (
            dict(mask=torch.ones(3, dtype=torch.bool)),
            ValueError,
            r"expected mask of shape \[4\] for 4 codes, got \[3\]",
        ),
        (dict(codes=random_codes(2, 8).to("meta")), ValueError, "expected queries on meta"),
    ],
    ids=str,
)
def test_bad_shards(arguments, error, message):
    given = {"queries": random_codes(1, 8), "codes": [random_codes(2, 8)] * 2, "k": 1, **arguments}
    with pytest.raises(error, match=f"hamming_topk: {message}"):
        fh.hamming_topk(**given)
