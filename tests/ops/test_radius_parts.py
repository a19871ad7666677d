from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.ops.hamming import KERNELS
from fasthash.ops.hamming.radius_parts import Sought, radius_hits, radius_parts
from tests.conftest import on_kernel_device, runnable, small_hamming_blocks

CODES = np.random.default_rng(0).integers(0, 4, (300, 3), dtype=np.uint8)
CODES[100:220] = CODES[100]
DISTANCES = np.bitwise_count(CODES[:, None] ^ CODES[None]).sum(2, dtype=np.int32)
OWN = np.arange(300)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    small_hamming_blocks(monkeypatch)


def rows(radius, max_hits=300, exclude=None, eligible=True, queries=OWN):
    """The hits of each query in order, by all distances."""
    found = []
    for i in queries:
        order = np.argsort(DISTANCES[i], kind="stable")
        kept = (DISTANCES[i] <= radius) & eligible
        if exclude is not None:
            kept &= np.arange(300) != exclude[i]
        order = order[kept[order]][:max_hits]
        found.append((DISTANCES[i][order], order))
    return found


def joined(found):
    offsets = np.cumsum([0, *(len(ids) for _, ids in found)])
    return offsets, *(np.concatenate([row[k] for row in found]) for k in range(2))


def assert_same(hits, expected):
    for ours, theirs, dtype in zip(hits, expected, (np.int64, np.int32, np.int64), strict=True):
        assert np.asarray(ours).dtype == dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_no_kernel_finds_what_is_farther(kernel):
    codes = on_kernel_device(kernel, torch.from_numpy(CODES))[0]
    eligible = np.random.default_rng(1).random(300) < 0.6
    mask = torch.from_numpy(np.packbits(eligible, bitorder="little")).to(codes.device)
    for k, max_distance in ((1, 0), (7, 2), (130, 3), (310, 24), (7, 4096)):
        for bits, chosen in ((None, True), (mask, eligible)):
            found = kernel.function("hamming_topk")(codes[95:105], codes, k, bits, 2, max_distance)
            for i, (distances, ids) in enumerate(rows(max_distance, k, None, chosen, OWN[95:105])):
                assert found[1][i].tolist() == [*ids, *[-1] * (k - len(ids))]
                assert found[0][i].tolist() == [*distances, *[2**31 - 1] * (k - len(ids))]


def test_a_sample_that_misleads_is_not_believed_below_the_largest_distance():
    """The codes that a sample looks at are near, those between them are not."""
    codes = np.full((70_000, 8), 255, np.uint8)
    codes[:40] = 0
    codes[60_000:] = 0
    query = np.zeros((3, 8), np.uint8)
    for max_hits in (5, 3000, 20_000):
        hits = fh.hamming_radius(query, codes, 3, max_hits=max_hits)
        n = min(max_hits, 10_040)
        assert hits.offsets.tolist() == [0, n, 2 * n, 3 * n]
        np.testing.assert_array_equal(hits.ids[:n], np.r_[np.arange(40), np.arange(60_000, 70_000)][:n])


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
@pytest.mark.parametrize("radius", [0, 2, 9, 24])
@pytest.mark.parametrize("max_hits", [None, 1, 3, 150, 300, 10**9])
def test_a_radius_has_the_nearest_of_its_hits_but_those_that_are_excluded(kernel, radius, max_hits):
    eligible = np.random.default_rng(1).random(300) < 0.6
    some = np.where(OWN % 3 == 0, -1, OWN)
    asked = OWN[80:120]
    for exclude in (None, OWN, some, np.full(300, 100), np.full(300, 10**12)):
        own = None if exclude is None else exclude[asked]
        for mask, chosen in ((None, True), (eligible, eligible)):
            options = {"max_hits": max_hits, "exclude": own, "mask": mask, "kernel": kernel}
            hits = fh.hamming_radius(CODES[asked], CODES, radius, **options)
            assert_same(hits, joined(rows(radius, max_hits or 300, exclude, chosen, asked)))


def test_hits_of_no_queries_or_codes():
    nobody = np.empty(0, np.int32)
    for options in ({}, {"max_hits": 3}, {"exclude": nobody}, {"max_hits": 3, "exclude": nobody}, {"exclude": []}):
        assert [len(x) for x in fh.hamming_radius(CODES[:0], CODES, 3, **options)] == [1, 0, 0]
    found = fh.hamming_radius(CODES[:4], CODES[:0], 3, max_hits=3, exclude=torch.tensor([0, 1, 2, -1]))
    assert [x.tolist() for x in found] == [[0] * 5, [], []]
    tensors = fh.hamming_radius(torch.from_numpy(CODES), CODES, 3, max_hits=2)
    assert all(isinstance(x, torch.Tensor) for x in tensors)


class Counted:
    """A search that keeps how much it was asked for."""

    n_codes = 300

    def __init__(self):
        self.places = []

    def nearest(self, queries, k, max_distance):
        self.places.append(len(queries) * k)
        return KERNELS["reference"].function("hamming_topk")(queries, torch.from_numpy(CODES), k, None, 0, max_distance)

    def within(self, queries, radius):
        assert len(queries) == 1
        return KERNELS["reference"].function("hamming_radius")(queries, torch.from_numpy(CODES), radius)


@pytest.mark.parametrize("first", [0, 99, 299, 300])
@pytest.mark.parametrize("part_hits", [1, 100, 130, 1000, 20_000, 10**6])
@pytest.mark.parametrize("max_hits", [None, 5, 110])
def test_parts_are_of_bounded_size_and_together_all(first, part_hits, max_hits):
    for exclude in (None, OWN):
        own = None if exclude is None else torch.from_numpy(exclude)
        search, at = Counted(), first
        for begin, (offsets, distances, ids) in radius_parts(
            search, Sought(torch.from_numpy(CODES), 2, max_hits, own), first, part_hits
        ):
            n = len(offsets) - 1
            assert begin == at
            assert n > 0
            assert len(ids) <= part_hits or n == 1
            expected = rows(2, max_hits or 300, exclude, queries=range(begin, begin + n))
            assert_same((offsets.numpy(), distances.numpy(), ids.numpy()), joined(expected))
            at += n
        assert at == 300
        assert all(places <= 1.1 * part_hits + 330 for places in search.places)


def test_queries_of_many_hits_do_not_slow_down_the_others():
    search = Counted()
    assert len(list(radius_parts(search, Sought(torch.from_numpy(CODES), 2, None, None), 0, 6400))) < 30
    assert sum(search.places) < 30 * 6400


def test_hits_of_several_parts_are_joined(monkeypatch):
    monkeypatch.setattr("fasthash.ops.hamming.radius_parts.PART_HITS", 50)
    sought = Sought(torch.from_numpy(CODES), 2, 7, torch.from_numpy(OWN))
    assert_same([x.numpy() for x in radius_hits(Counted(), sought)], joined(rows(2, 7, OWN)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_hits": 0}, "max_hits at least 1, got 0"),
        ({"max_hits": 1.5}, "max_hits to be an integer, got float"),
        ({"exclude": [1, 2]}, r"exclude of shape \[300\], an id a query, got \[2\]"),
        ({"exclude": OWN * 1.0}, "exclude of an integer dtype, got float64"),
        ({"exclude": OWN > 3}, "exclude of an integer dtype, got bool"),
    ],
)
def test_errors(options, message):
    with pytest.raises((TypeError, ValueError), match=f"^hamming_radius: expected {message}"):
        fh.hamming_radius(CODES, CODES, 3, **options)
