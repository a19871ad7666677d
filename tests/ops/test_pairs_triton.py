"""The GPU's search for pairs: every way to search, keys that are equal by chance, lists and passes that are full."""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.ops.pairs import op, plan, reference
from fasthash.ops.registry import Kernel
from tests.conftest import DEVICE
from tests.ops.test_pairs import SETS, brute_force, clustered, members_of, uniform

pytest.importorskip("triton")
import triton.language as tl

from fasthash.ops.pairs import kernel_triton

pytestmark = pytest.mark.slow
interpreted = pytest.mark.skipif(not os.environ.get("TRITON_INTERPRET"), reason="changes a compiled kernel's constant")
find = op.KERNELS["triton"].function("pair_search")
MANY = 10**9


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """Which the interpreter takes one after the other; where the borders between them matter, a test says so."""
    if os.environ.get("TRITON_INTERPRET"):
        monkeypatch.setattr(kernel_triton, "ROWS", 256)


def arguments(codes, others=None, mask=None):
    bits = None if mask is None else np.packbits(mask, bitorder="little")
    return [None if x is None else torch.from_numpy(x) for x in (codes, others, bits)]


def passes(search, n_codes):
    """All pairs of a search, and where its passes end."""
    parts, ends = (
        [[torch.empty(0, dtype=dtype, device=DEVICE) for dtype in (torch.int64, torch.int64, torch.int32)]],
        [],
    )
    while search.first < n_codes:
        done = 0
        while not search.step():
            assert done <= search.share_done <= 1
            done = 0 if search.end < n_codes else search.share_done
        ends.append(search.end)
        parts.append(search.take())
    return [torch.cat(columns).cpu() for columns in zip(*parts, strict=True)], ends


def assert_as_reference(
    codes, radius, others=None, mask=None, since=0, first=0, capacity=MANY, n_parts=0, search_by=find
):
    given = arguments(codes, others, mask)
    expected = reference.pair_search(*given, radius, since, first, MANY, 0).take()
    on_device = [None if x is None else x.to(DEVICE) for x in given]
    search = search_by(*on_device, radius, since, first, capacity, 0, n_parts=n_parts)
    assert n_parts in (0, search.n_parts)
    found, ends = passes(search, len(codes))
    for ours, right in zip(found, expected, strict=True):
        assert ours.dtype == right.dtype
        assert torch.equal(ours, right)
    for begin, end in itertools.pairwise([first, *ends]):
        assert ((found[0] >= begin) & (found[0] < end)).sum() <= capacity or end == begin + 1
    return ends


@pytest.mark.parametrize(
    ("n_bytes", "radius", "n_parts"),
    [
        (1, 0, 1),
        (1, 2, 3),
        (3, 1, 3),
        (8, 3, 4),
        (8, 3, 5),
        (9, 5, 6),
        (16, 3, 6),
        (32, 9, 10),
        (8, 20, -1),
        (9, 90, -1),
    ],
)
def test_every_way_agrees_with_the_reference(n_bytes, radius, n_parts):
    assert_as_reference(clustered(60, n_bytes), radius, n_parts=n_parts)


@pytest.mark.parametrize("made", [name for name in SETS if name != "clustered"])
@pytest.mark.parametrize(("n_bytes", "n_parts"), [(8, 4), (17, 3)])
def test_bits_may_be_uneven(made, n_bytes, n_parts):
    codes = SETS[made](40, n_bytes)
    assert_as_reference(codes, 2, n_parts=n_parts)
    assert_as_reference(codes[:20], 2, codes[15:].copy(), n_parts=n_parts)


@pytest.mark.parametrize("n_parts", [-1, 1, 3, 4])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_codes(n, n_parts):
    radius = {-1: 64, 1: 0, 3: 2, 4: 2}[n_parts]
    for codes in (uniform(n, 8), np.zeros((n, 8), np.uint8)):
        for others in (None, codes[:0], np.zeros((2, 8), np.uint8)):
            assert_as_reference(codes, radius, others, n_parts=n_parts)
            assert_as_reference(codes, radius, others, first=n)


def test_codes_of_all_words_differ_in_the_last_bits():
    """Of 9 bytes the last word has 56 bits of padding."""
    codes = np.zeros((9, 9), np.uint8)
    codes[1:, 8] = 1 << np.arange(8)
    for n_parts in (3, 4, -1):
        assert_as_reference(codes, 2, n_parts=n_parts)


@pytest.mark.parametrize("n_parts", [-1, 3, 4])
def test_pairs_between_two_sets_with_a_mask(n_parts):
    codes, others = clustered(40, 9), clustered(30, 9)[::-1].copy()
    chosen = np.random.default_rng(0).random(40) < 0.6
    for against in (others, None):
        assert_as_reference(codes, 2, against, chosen, n_parts=n_parts)
    assert_as_reference(codes, 2, others, np.zeros(40, bool), n_parts=n_parts)
    assert_as_reference(codes, 2, others, chosen, first=15, capacity=12, n_parts=n_parts)


@pytest.mark.parametrize("n_parts", [-1, 3, 4])
def test_codes_that_come_later(n_parts):
    codes = clustered(45, 8)
    codes[30:35] = codes[:5]
    chosen = np.random.default_rng(0).random(45) < 0.7
    for since, mask in ((20, None), (20, chosen), (45, None)):
        assert_as_reference(codes, 2, mask=mask, since=since, n_parts=n_parts)
    assert_as_reference(codes, 2, since=20, capacity=12, n_parts=n_parts)
    assert_as_reference(codes, 2, since=20, first=10, n_parts=n_parts)
    assert_as_reference(codes, 2, since=20, first=25, n_parts=n_parts)


@pytest.mark.parametrize("n_parts", [-1, 3, 4])
@pytest.mark.parametrize("places", [1, 20])
def test_lists_and_passes_that_are_full(monkeypatch, places, n_parts):
    monkeypatch.setattr(kernel_triton, "PLACES", places)
    codes = clustered(45, 8)
    codes[35:] = codes[:10]
    assert assert_as_reference(codes, 2, n_parts=n_parts) == [45]
    assert len(assert_as_reference(codes, 2, capacity=25, n_parts=n_parts)) > 1
    assert len(assert_as_reference(codes[:12], 2, capacity=0, n_parts=n_parts)) > 2
    assert len(assert_as_reference(np.zeros((20, 8), np.uint8), 2, capacity=5, n_parts=n_parts)) == 2


@interpreted
def test_a_pass_is_shortened_at_once(monkeypatch):
    """By how many pairs there are, 384 in the first table, of which the list holds 16: not by halves."""
    monkeypatch.setattr(kernel_triton, "PLACES", 16)
    monkeypatch.setattr(kernel_triton, "ROWS", 8)
    launches, kernel = [], kernel_triton.pair_compare_kernel

    class Spy:
        def __getitem__(self, grid):
            launches.append(grid)
            return kernel[grid]

    monkeypatch.setattr(kernel_triton, "pair_compare_kernel", Spy())
    codes = np.zeros((256, 8), np.uint8)
    codes[:, 0], codes[:, 7] = np.arange(256) % 64, np.arange(256) // 64
    find(*arguments(codes), 8, 0, 0, 16, 0, n_parts=9).step()
    assert len(launches) <= 3


@interpreted
@pytest.mark.parametrize("factor", [0, 2**32])
def test_keys_that_are_equal_by_chance_cost_only_work(monkeypatch, factor):
    """A hash of 0 for all codes, or of their low bits: codes of one hash are neither copies nor near for it."""
    monkeypatch.setattr(kernel_triton, "FACTOR", tl.constexpr(factor))
    codes = clustered(24, 8)
    codes[15:20] = codes[:5]
    for others in (None, clustered(12, 8)):
        assert_as_reference(codes, 2, others, n_parts=4)
    originals = kernel_triton.first_of_equals(kernel_triton.whole_words(torch.from_numpy(codes)))
    equal = (codes[:, None] == codes).all(2)
    assert originals.tolist() == equal.argmax(1).tolist()


@interpreted
@pytest.mark.parametrize("shifts", [1, 4])
def test_borders_between_programs(monkeypatch, shifts):
    """Runs of one key that begin in one program and end in another, and last codes of a program's own."""
    monkeypatch.setattr(kernel_triton, "ROWS", 16)
    monkeypatch.setattr(kernel_triton, "SHIFTS", shifts)
    monkeypatch.setattr(kernel_triton, "LISTED", 16)
    codes = uniform(33, 2) & np.uint8([3, 15])
    for n in (33, 32):
        for others in (None, codes[5:25].copy()):
            assert_as_reference(codes[:n], 1, others, n_parts=2)


@interpreted
@pytest.mark.parametrize("n", [1, 6, 13])
def test_every_row_finds_its_key(monkeypatch, n):
    """By itself: in a program of several rows one that goes on takes the others along."""
    monkeypatch.setattr(kernel_triton, "ROWS", 1)
    monkeypatch.setattr(kernel_triton, "SHIFTS", 1)
    codes = uniform(14, 8)
    assert_as_reference(codes, 0, codes[:n].copy(), n_parts=1)
    assert_as_reference(codes, 0, codes[:n].repeat(2, axis=0), n_parts=1)


@interpreted
def test_a_row_looks_no_farther_than_its_key(monkeypatch):
    """While another of its program goes on: its place may then be no number of 32 bits."""
    monkeypatch.setattr(kernel_triton, "ROWS", 16)
    search = find(*arguments(np.zeros((0, 8), np.uint8)), 0, 0, 0, MANY, 0)
    search.end = 12
    keys = torch.tensor([5, *[7] * 10, 5], dtype=torch.int32)  # no list is like this: the last is out of reach
    search._pieces = torch.empty((0, 4), dtype=torch.int64)
    rows = kernel_triton.Listing(keys, torch.arange(12)[:, None] % 11, torch.arange(12))
    search._compare(rows, rows, 0, 12)
    assert search._found == 0


def test_a_scan_takes_steps(monkeypatch):
    monkeypatch.setattr(kernel_triton, "COMPARISONS", 320)
    codes = clustered(40, 8)
    search = find(*arguments(codes), 20, 0, 0, MANY, 0, n_parts=-1)
    shares = []
    while not search.step():
        shares.append(search.share_done)
    assert len(shares) >= 3
    assert shares == sorted(set(shares))
    assert_as_reference(codes, 20, clustered(30, 8), n_parts=-1)
    assert len(assert_as_reference(codes, 20, capacity=11, n_parts=-1)) > 1


@pytest.fixture
def anywhere(monkeypatch):
    """Let the functions take tensors on a CPU, which the interpreter runs, for this kernel."""
    monkeypatch.setitem(op.KERNELS, "triton", Kernel(kernel_triton.__name__, ("cpu", "cuda"), package="triton"))


def test_the_functions_take_it(anywhere):
    codes = clustered(40, 8)
    codes[30:] = codes[:10]
    given = torch.from_numpy(codes).to(DEVICE)
    for copies in ("first", "all"):
        found = fh.hamming_pairs(given, 9, copies=copies, kernel="triton")
        assert all(x.device == given.device for x in found)
        for ours, right in zip(found, brute_force(codes, 9, copies=copies), strict=True):
            assert ours.tolist() == right.tolist()
    n = len(fh.hamming_pairs(codes, 9).i)
    assert len(fh.hamming_pairs(given, 9, max_pairs=n, kernel="triton").i) == n
    with pytest.raises(ValueError, match=f"hamming_pairs: expected at most {n - 1} pairs, as max_pairs says, found"):
        fh.hamming_pairs(given, 9, max_pairs=n - 1, kernel="triton")
    parts = list(fh.iter_hamming_pairs(given, 9, part_pairs=15, kernel="triton"))
    assert len(parts) > 1
    assert torch.cat([part.j for part in parts]).tolist() == fh.hamming_pairs(codes, 9).j.tolist()
    for options in ({}, {"linkage": "complete", "representative": "central"}):
        groups = fh.duplicate_groups(given, 9, kernel="triton", **options)
        assert groups.members.device == given.device
        right = fh.duplicate_groups(codes, 9, **options)
        assert members_of(type(groups)(*(x.cpu().numpy() for x in groups))) == members_of(right)
        assert groups.representatives.tolist() == right.representatives.tolist()
    neighbors = fh.hamming_pairs(given, 9, kernel="triton").neighbors(40)
    assert neighbors.ids.tolist() == fh.hamming_pairs(codes, 9).neighbors(40).ids.tolist()


def test_what_torch_cannot_sort_is_refused(anywhere, monkeypatch):
    codes = torch.from_numpy(clustered(30, 8)).to(DEVICE)
    n = len(fh.hamming_pairs(codes, 9).i)
    monkeypatch.setattr(kernel_triton, "PLACES", 4)
    monkeypatch.setattr(kernel_triton, "MAX_PAIRS", n - 1)
    with pytest.raises(
        ValueError, match=f"^hamming_pairs: expected at most {n - 1} pairs at a time on a GPU, found {n}"
    ):
        fh.hamming_pairs(codes, 9, kernel="triton")
    monkeypatch.setattr(kernel_triton, "MAX_ROWS", 39)
    with pytest.raises(ValueError, match="^iter_hamming_pairs: expected at most 39 codes on a GPU, got 40"):
        fh.iter_hamming_pairs(codes, 9, others=codes[:10], kernel="triton")


def test_a_step_is_launched_on_the_gpu_of_its_tensors(monkeypatch):
    search = find(*(None if x is None else x.to(DEVICE) for x in arguments(clustered(20, 8))), 3, 0, 0, MANY, 0)
    entered = []

    @contextmanager
    def device_of(tensor):
        entered.append(tensor.device)
        yield

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    search.step()
    assert entered == [search.take()[0].device]


@pytest.mark.parametrize(
    ("n_bits", "n_parts", "agreeing"), [(8, 3, 1), (64, 5, 2), (72, 7, 3), (200, 9, 2), (256, 12, 1)]
)
def test_a_pair_is_first_met_in_one_table(n_bits, n_parts, agreeing):
    scheme = plan.Scheme(n_bits, n_parts, agreeing)
    n_words = -(-n_bits // 64)
    bits = np.random.default_rng(0).random((300, 64 * n_words)) < np.linspace(0, 0.05, 300)[:, None]
    bits[:, n_bits:] = False
    differing = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
    parts = [bits[:, slice(*scheme.part(p))].any(1) for p in range(n_parts)]
    assert [scheme.part(p) for p in (0, n_parts - 1)] == [
        (0, n_bits // n_parts),
        ((n_parts - 1) * n_bits // n_parts, n_bits),
    ]
    n_first = np.zeros(300, int)
    for chosen in scheme.tables():
        agree = ~np.any([parts[p] for p in chosen], axis=0)
        np.testing.assert_array_equal((differing & scheme.key_bits(chosen) == 0).all(1), agree)
        first = agree & np.all([parts[p] for p in range(chosen[-1]) if p not in chosen] or [agree], axis=0)
        taken, differs = np.ones(300, bool), np.zeros(300, bool)
        for word, mask, is_chosen, is_last in scheme.pieces(chosen):
            differs |= differing[:, int(word)] & mask != 0
            if is_last:
                taken &= differs != bool(is_chosen)
                differs[:] = False
        np.testing.assert_array_equal(taken, first)
        n_first += first
    agreeing_parts = n_parts - np.sum(parts, axis=0)
    np.testing.assert_array_equal(n_first, agreeing_parts >= agreeing)
    assert plan.meetings(scheme, differing) >= np.mean([plan.math.comb(n, agreeing) for n in agreeing_parts])


def test_the_plan():
    """Tables for many codes and few bits, more parts of which agree the more codes there are; else the scan."""

    def planned(n, n_bits, radius, differing=None):
        drawn = np.random.default_rng(0).integers(0, 2**63, (4096, n_bits // 64), dtype=np.uint64) << np.uint64(1)
        work = plan.Work(n, n * (n - 1) / 2, n_bits, radius)
        return plan.choose_scheme(work, lambda: drawn if differing is None else differing)

    assert planned(1000, 64, 3) == plan.Scheme(64)
    assert planned(10**6, 64, 64) == plan.Scheme(64)
    assert planned(10**6, 64, 30) == plan.Scheme(64)
    assert planned(10**6, 64, 3) == plan.Scheme(64, 4, 1)
    assert planned(10**6, 64, 8).n_agreeing == 2
    assert planned(10**9, 64, 3).n_agreeing > planned(10**6, 64, 3).n_agreeing
    half = np.random.default_rng(0).integers(0, 2**32, (4096, 1), dtype=np.uint64)
    assert planned(10**7, 64, 3, half).n_agreeing > planned(10**7, 64, 3).n_agreeing


def test_planned_searches_sample_codes(monkeypatch):
    """Where a table is expected to cost nothing codes are looked at, however few there are."""
    monkeypatch.setattr(plan, "TABLE_COST", 0)
    monkeypatch.setattr(plan, "BYTE_COST", 0)
    codes = clustered(40, 8)
    for others, since in ((None, 0), (None, 20), (clustered(30, 8), 0)):
        search = find(*(None if x is None else x.to(DEVICE) for x in arguments(codes, others)), 3, since, 0, MANY, 0)
        assert search.n_parts > 3
        assert_as_reference(codes, 3, others, since=since, n_parts=search.n_parts)
