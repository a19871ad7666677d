from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

import fasthash as fh
from fasthash import _core
from fasthash.ops.pairs import KERNELS
from fasthash.ops.pairs.kernel_cpu import pair_search
from tests.conftest import runnable_names

CPU = [name for name, kernel in KERNELS.items() if "cpu" in kernel.devices]
ALL = runnable_names(KERNELS, *CPU)
COMPILED = runnable_names(KERNELS, *(name for name in CPU if name != "reference"))


def clustered(n, n_bytes, flip=0.03, seed=0):
    """Codes of which many are near each other and some equal."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (max(1, n // 10), n_bytes), dtype=np.uint8)
    return centres[rng.integers(0, len(centres), n)] ^ np.packbits(rng.random((n, 8 * n_bytes)) < flip, axis=1)


def uniform(n, n_bytes):
    return np.random.default_rng(1).integers(0, 256, (n, n_bytes), dtype=np.uint8)


def copied_bits(n, n_bytes):
    """Each bit twice, side by side."""
    return np.packbits(np.unpackbits(clustered(n, n_bytes), axis=1)[:, : 4 * n_bytes].repeat(2, axis=1), axis=1)


def skewed(n, n_bytes):
    """Bits that are 1 ever more often."""
    rng = np.random.default_rng(2)
    return np.packbits(rng.random((n, 8 * n_bytes)) < np.linspace(0, 0.5, 8 * n_bytes), axis=1)


SETS = {
    "clustered": clustered,
    "uniform": uniform,
    "all zero": lambda n, n_bytes: np.zeros((n, n_bytes), np.uint8),
    "one bit each": lambda n, n_bytes: np.packbits(np.eye(n, 8 * n_bytes, dtype=bool), axis=1),
    "constant but for a byte": lambda n, n_bytes: np.pad(clustered(n, 1), ((0, 0), (n_bytes - 1, 0))),
    "copied bits": copied_bits,
    "skewed": skewed,
}


def distances(codes, others):
    return np.bitwise_count(codes[:, None] ^ others[None]).sum(2, dtype=np.int32)


def brute_force(codes, radius, others=None, copies="first", eligible=True):
    """Every pair, by all distances."""
    between = distances(codes, codes if others is None else others)
    eligible = np.broadcast_to(eligible, len(codes))
    within = (between <= radius) & eligible[:, None]
    if others is None:
        within = np.triu(within & eligible, 1)
        if copies == "first":
            is_copy = np.triu((between == 0) & within, 1).any(0)
            within &= ~is_copy[:, None] & (~is_copy | (between == 0))
    i, j = np.nonzero(within)
    return i, j, between[i, j]


def assert_same(found, expected):
    for ours, theirs, dtype in zip(found, expected, (np.int64, np.int64, np.int32), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("n_bytes", [1, 3, 8, 9, 16, 32, 40])
@pytest.mark.parametrize("made", SETS)
def test_kernels_agree_with_brute_force(kernel, n_bytes, made):
    for n in (0, 1, 2, 131):
        codes = SETS[made](n, n_bytes)
        for radius in (0, 1, n_bytes, 8 * n_bytes, 5000):
            found = fh.hamming_pairs(codes, radius, threads=1 + radius % 2, kernel=kernel)
            assert_same(found, brute_force(codes, radius))


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("n_bytes", [3, 8, 40])
def test_pairs_between_two_sets(kernel, n_bytes):
    codes = clustered(150, n_bytes)
    for others in (codes[20:90][::-1].copy(), clustered(31, n_bytes, seed=1), codes[:0]):
        for radius in (0, 2, 3 * n_bytes):
            found = fh.hamming_pairs(codes, radius, others=others, threads=2, kernel=kernel)
            assert_same(found, brute_force(codes, radius, others))
    assert_same(fh.hamming_pairs(codes[:0], 3, others=codes, kernel=kernel), brute_force(codes[:0], 3, codes))


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("radius", [0, 9, 64])
def test_codes_that_come_later_find_what_all_at_once_do(kernel, radius, rng):
    codes = clustered(300, 8)
    for mask in (None, rng.random(300) < 0.7):
        parts, before = [], 0
        for end in (120, 120, 121, 300):
            chosen = None if mask is None else mask[:end]
            parts.append(fh.hamming_pairs(codes[:end], radius, since=before, mask=chosen, kernel=kernel))
            assert (parts[-1].j >= before).all()
            before = end
        i, j, apart = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.lexsort((j, i))
        assert_same((i[order], j[order], apart[order]), fh.hamming_pairs(codes, radius, mask=mask))
        assert len(fh.hamming_pairs(codes, radius, since=300, mask=mask, kernel=kernel).i) == 0


def test_copies_that_come_later_cost_one_pair_each():
    codes = clustered(40_000, 8)
    codes[::2] = codes[0]
    found = fh.hamming_pairs(codes, 8, since=10_000, max_pairs=150_000)
    whole = fh.hamming_pairs(codes, 8)
    assert_same(found, [x[whole.j >= 10_000] for x in whole])
    assert (found.i[found.distances == 0] == 0).sum() == 15_000


def run(search, n_codes):
    parts = []
    while search.first < n_codes:
        while not search.step():
            assert 0 <= search.share_done <= 1
        parts.append(search.take())
    return [torch.cat(columns).numpy() for columns in zip(*parts, strict=True)]


@pytest.mark.parametrize("kernel", COMPILED)
@pytest.mark.parametrize("more_parts", [-1, 1, 2, 3])  # than the radius; -1 is the scan
@pytest.mark.parametrize(("n_bytes", "radius"), [(2, 0), (2, 3), (8, 3), (8, 6), (9, 5), (32, 9), (72, 4)])
def test_every_way_finds_the_same(kernel, n_bytes, radius, more_parts):
    codes = clustered(400, n_bytes)
    n_parts = -1 if more_parts < 0 else radius + more_parts
    eligible = np.random.default_rng(0).random(400) < 0.7
    bits = torch.from_numpy(np.packbits(eligible, bitorder="little"))
    find = KERNELS[kernel].function("pair_search")
    for others, mask in itertools.product((None, clustered(300, n_bytes)[::-1].copy()), (None, bits)):
        rows = None if others is None else torch.from_numpy(others)
        i, j, apart = brute_force(codes, radius, others, eligible=True if mask is None else eligible)
        for capacity, since in ((10**9, 0), (30, 0), (0, 0), (10**9, 250), (30, 250)):
            if since and others is not None:
                continue
            search = find(torch.from_numpy(codes), rows, mask, radius, since, 0, capacity, 2, n_parts=n_parts)
            assert search.n_parts == n_parts
            assert_same(run(search, len(codes)), [x[j >= since] for x in (i, j, apart)])


@pytest.mark.parametrize("more_parts", [1, 2, 3])
@pytest.mark.parametrize("made", [copied_bits, skewed, SETS["constant but for a byte"], SETS["all zero"]])
@pytest.mark.parametrize(("n_bytes", "radius"), [(2, 1), (8, 3), (9, 6), (40, 5)])
def test_every_way_finds_the_same_where_bits_are_uneven(made, n_bytes, radius, more_parts):
    codes = made(400, n_bytes)
    for others in (None, made(300, n_bytes)[::-1].copy()):
        rows = None if others is None else torch.from_numpy(others)
        search = pair_search(torch.from_numpy(codes), rows, None, radius, 0, 0, 10**9, 2, n_parts=radius + more_parts)
        assert_same(run(search, len(codes)), brute_force(codes, radius, others))


def test_where_the_telling_bits_are_does_not_matter():
    """Parts of constant bits, or of bits that say the same, would make more parts cheaper, or the scan."""
    half = uniform(100_000, 4)
    spread = np.zeros((100_000, 8), np.uint8)
    spread[:, ::2] = half
    twice = np.packbits(np.unpackbits(half, axis=1).repeat(2, axis=1), axis=1)
    for codes in (np.pad(half, ((0, 0), (4, 0))), np.pad(half, ((0, 0), (0, 4))), spread, twice):
        n_parts = pair_search(torch.from_numpy(codes), None, None, 3, 0, 0, 10**9, 1).n_parts
        assert n_parts in (4, 5)  # which cost nearly the same: 4 where a comparison is cheap, at AVX-512's levels


def test_sets_of_many_blocks(rng):
    """Beyond one block of rows and one turn of the scan, on several threads."""
    codes = clustered(50_000, 8)
    expected = fh.hamming_radius(codes, codes, 5)
    queries = np.repeat(np.arange(len(codes)), np.diff(expected.offsets))
    later = queries < expected.ids
    order = np.lexsort((expected.ids[later], queries[later]))
    expected = queries[later][order], expected.ids[later][order], expected.distances[later][order]
    assert_same(fh.hamming_pairs(codes, 5, copies="all"), expected)
    first = fh.hamming_pairs(codes, 5)
    for n_parts in (-1, 6, 7, 8):
        assert_same(
            run(pair_search(torch.from_numpy(codes), None, None, 5, 0, 0, 10**9, 2, n_parts=n_parts), 50_000), first
        )
    parts = list(fh.iter_hamming_pairs(codes, 5, part_pairs=10_000, threads=2))
    assert len(parts) > 5
    assert all(len(part.i) <= 10_000 for part in parts)
    assert_same([np.concatenate(columns) for columns in zip(*parts, strict=True)], first)


@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(st.binary(min_size=width, max_size=width).map(lambda x: bytes(b & 3 for b in x)))
    ),
    st.integers(0, 10),
)
def test_any_codes(rows, radius):
    codes = np.array([list(row) for row in rows], np.uint8).reshape(len(rows), -1 if rows else 1)
    for copies in ("first", "all"):
        found = fh.hamming_pairs(codes, radius, copies=copies)
        assert_same(found, brute_force(codes, radius, copies=copies))


@pytest.mark.parametrize("n_bytes", [1, 8])
def test_all_pairs_of_copies(n_bytes):
    codes = clustered(300, n_bytes)
    assert (fh.hamming_pairs(codes, 0).distances == 0).any()
    for radius in (0, 1, 5, 8 * n_bytes):
        assert_same(fh.hamming_pairs(codes, radius, copies="all"), brute_force(codes, radius, copies="all"))
    n = len(brute_force(codes, 2, copies="all")[0])
    assert len(fh.hamming_pairs(codes, 2, copies="all", max_pairs=n).i) == n
    with pytest.raises(ValueError, match=f"hamming_pairs: expected at most {n - 1} pairs, as max_pairs says, found"):
        fh.hamming_pairs(codes, 2, copies="all", max_pairs=n - 1)


def test_copies_cost_a_pair_each():
    codes = uniform(60_000, 8)
    codes[:50_000] = codes[0]
    found = fh.hamming_pairs(codes, 3, max_pairs=60_000)
    assert len(found.i) == 49_999
    assert (found.i == 0).all()
    assert (found.j == np.arange(1, 50_000)).all()
    assert (found.distances == 0).all()


@pytest.mark.parametrize("kernel", ALL)
def test_more_pairs_than_wanted_are_refused(kernel):
    codes = clustered(200, 8)
    n = len(brute_force(codes, 9)[0])
    assert len(fh.hamming_pairs(codes, 9, max_pairs=n, kernel=kernel).i) == n
    for most in (n - 1, 0):
        with pytest.raises(ValueError, match=f"hamming_pairs: expected at most {most} pairs, as max_pairs says, found"):
            fh.hamming_pairs(codes, 9, max_pairs=most, kernel=kernel)
    for most in (199, 0):
        with pytest.raises(ValueError, match=f"hamming_pairs: expected at most {most} pairs, as max_pairs says, found"):
            fh.hamming_pairs(codes[:1], 64, others=codes, max_pairs=most, kernel=kernel)
    assert len(fh.hamming_pairs(codes[:1], 64, others=codes, max_pairs=200, kernel=kernel).i) == 200


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("others", [None, clustered(120, 8)], ids=["one set", "two sets"])
def test_parts_are_the_whole_and_can_be_resumed(kernel, others):
    codes = clustered(200, 8)
    whole = fh.hamming_pairs(codes, 9, others=others)
    for part_pairs in (1, 17, 10**6):
        parts = list(fh.iter_hamming_pairs(codes, 9, others=others, part_pairs=part_pairs, kernel=kernel))
        assert_same([np.concatenate(columns) for columns in zip(*parts, strict=True)], whole)
        for part in parts:
            assert 0 < len(part.i) <= part_pairs or len(set(part.i.tolist())) == 1
    kept = next(fh.iter_hamming_pairs(codes, 9, others=others, part_pairs=40, kernel=kernel))
    rest = list(fh.iter_hamming_pairs(codes, 9, others=others, first=int(kept.i[-1]) + 1, kernel=kernel))
    assert_same([np.concatenate(columns) for columns in zip(kept, *rest, strict=True)], whole)
    assert list(fh.iter_hamming_pairs(codes, 9, others=others, first=200, kernel=kernel)) == []


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("others", [None, clustered(90, 8)], ids=["one set", "two sets"])
def test_a_mask_leaves_codes_out(kernel, others):
    codes = clustered(131, 8)
    chosen = np.random.default_rng(0).random(131) < 0.6
    for eligible in (chosen, np.zeros(131, bool), np.ones(131, bool)):
        expected = brute_force(codes, 9, others, eligible=eligible)
        for mask in (eligible, np.packbits(eligible, bitorder="little")):
            assert_same(fh.hamming_pairs(codes, 9, others=others, mask=mask, kernel=kernel), expected)
    everything = brute_force(codes, 9, copies="all", eligible=chosen)
    assert_same(fh.hamming_pairs(codes, 9, copies="all", mask=chosen, kernel=kernel), everything)
    groups = fh.duplicate_groups(codes, 9, mask=chosen, kernel=kernel)
    assert set(groups.members) == {*everything[0], *everything[1]}


def test_tensors_give_tensors_and_odd_arrays_are_taken():
    codes = clustered(60, 8)
    expected = fh.hamming_pairs(codes, 6)
    found = fh.hamming_pairs(torch.from_numpy(codes), 6)
    assert all(isinstance(x, torch.Tensor) for x in found)
    assert_same([x.numpy() for x in found], expected)
    assert_same(fh.hamming_pairs(np.asfortranarray(codes), 6), expected)
    assert_same(fh.hamming_pairs(np.repeat(codes, 2, axis=0)[::2], 6), expected)


def test_neighbor_lists_are_those_of_a_search():
    codes = clustered(200, 8)
    codes = np.unique(codes, axis=0)
    pairs = fh.hamming_pairs(codes, 12)
    lists = pairs.neighbors(len(codes))
    for i in range(len(codes)):
        row = slice(lists.offsets[i], lists.offsets[i + 1])
        apart = distances(codes[i : i + 1], codes)[0]
        order = np.argsort(apart, kind="stable")
        order = order[(apart[order] <= 12) & (order != i)]
        np.testing.assert_array_equal(lists.ids[row], order)
        np.testing.assert_array_equal(lists.distances[row], apart[order])
    assert len(fh.hamming_pairs(codes[:0], 3).neighbors(2).offsets) == 3
    with pytest.raises(ValueError, match=r"HammingPairs\.neighbors: expected n_codes at least \d+, got 3"):
        pairs.neighbors(3)


def members_of(groups):
    return [
        groups.members[start:end].tolist() for start, end in zip(groups.offsets[:-1], groups.offsets[1:], strict=True)
    ]


@pytest.mark.parametrize("n_bytes", [1, 8])
@pytest.mark.parametrize("radius", [0, 2, 6])
def test_groups_of_single_linkage_are_connected_components(n_bytes, radius):
    codes = clustered(150, n_bytes)
    graph = csr_array(distances(codes, codes) <= radius)
    labels = connected_components(graph, directed=False)[1]
    expected = sorted(np.flatnonzero(labels == label).tolist() for label in set(labels))
    groups = fh.duplicate_groups(codes, radius)
    assert members_of(groups) == [group for group in expected if len(group) > 1]
    assert groups.representatives.tolist() == [group[0] for group in members_of(groups)]


@pytest.mark.parametrize("radius", [0, 2, 6, 20])
def test_groups_of_complete_linkage(radius):
    codes = clustered(150, 8, flip=0.1)
    groups = members_of(fh.duplicate_groups(codes, radius, linkage="complete"))
    apart = distances(codes, codes)
    inside = {i for group in groups for i in group}
    every = groups + [[i] for i in range(len(codes)) if i not in inside]
    assert sorted(i for group in every for i in group) == list(range(150))
    for k, group in enumerate(every):
        assert apart[np.ix_(group, group)].max() <= radius
        for other in every[:k]:
            assert apart[np.ix_(group, other)].max() > radius  # else they would be one


def test_complete_linkage_is_scipys_where_no_distances_are_equal():
    codes = np.zeros((12, 512), np.uint8)
    bits = np.unpackbits(codes, axis=1)
    for i, places in enumerate(np.random.default_rng(19).permuted(np.tile(np.arange(4096), (12, 1)), axis=1)):
        bits[i, places[: 2**i + 3 * i]] = 1
    codes = np.packbits(bits, axis=1)
    apart = distances(codes, codes)
    upper = apart[np.triu_indices(12, 1)]
    assert len(set(upper)) == len(upper)
    for radius in (50, 300, 700, 2085):
        labels = fcluster(linkage(upper, "complete"), radius, "distance")
        expected = sorted(np.flatnonzero(labels == label).tolist() for label in set(labels))
        groups = fh.duplicate_groups(codes, radius, linkage="complete")
        assert members_of(groups) == [group for group in expected if len(group) > 1]


@pytest.mark.parametrize("of", ["single", "complete"])
def test_the_central_member(of):
    codes = clustered(150, 8)
    apart = distances(codes, codes)
    groups = fh.duplicate_groups(codes, 5, linkage=of, representative="central")
    for group, representative in zip(members_of(groups), groups.representatives, strict=True):
        within = apart[np.ix_(group, group)]
        near = within <= 5
        order = np.lexsort((group, (within * near).sum(1), -near.sum(1)))
        assert representative == group[order[0]]


def test_groups_of_nothing_and_of_equal_codes():
    for linked in ("single", "complete"):
        for chosen in ("first", "central"):
            options = {"linkage": linked, "representative": chosen}
            assert [x.tolist() for x in fh.duplicate_groups(uniform(9, 8)[:0], 3, **options)] == [[0], [], []]
            assert [x.tolist() for x in fh.duplicate_groups(uniform(9, 8), 3, **options)] == [[0], [], []]
            same = np.zeros((5, 8), np.uint8)
            assert [x.tolist() for x in fh.duplicate_groups(same, 0, **options)] == [[0, 5], [0, 1, 2, 3, 4], [0]]
    assert all(isinstance(x, torch.Tensor) for x in fh.duplicate_groups(torch.zeros(3, 8, dtype=torch.uint8), 0))


PEAK = """
import resource
import numpy as np
import fasthash as fh
codes = np.random.default_rng(0).integers(0, 256, (3_000_000, 8), dtype=np.uint8)
codes[::3] = 7
fh.hamming_pairs(codes[:1000], 3, threads=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n = {find}
print(n, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize(
    ("find", "most"),
    [
        ("len(fh.hamming_pairs(codes, 3, threads=2).i)", 20 * 3_000_000 + 36 * 1_000_000),
        ("sum(len(part.i) for part in fh.iter_hamming_pairs(codes, 3, part_pairs=10**5, threads=2))", 20 * 3_000_000),
        ("len(fh.duplicate_groups(codes, 3, threads=2).members)", 50 * 3_000_000),
    ],
)
def test_peak_memory(find, most):
    """Beside the codes, of which a third are equal; and some MiB a thread."""
    output = subprocess.run(
        [sys.executable, "-c", PEAK.format(find=find)], capture_output=True, text=True, check=True, timeout=300
    )
    n, peak = map(int, output.stdout.split())
    assert n >= 999_999
    assert peak < most + 2**26


def test_progress_is_shown(capsys):
    fh.hamming_pairs(clustered(500, 8), 3, progress=True)
    assert "100%" in capsys.readouterr().err
    fh.hamming_pairs(clustered(500, 8), 3)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("n_parts", [-1, 41])
def test_a_search_stops_at_an_interrupt(n_parts):
    codes = torch.from_numpy(uniform(400_000, 16))
    search = pair_search(codes, None, None, 40, 0, 0, 10**9, 2, n_parts=n_parts)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        end = time.monotonic() + 60
        while time.monotonic() < end and not search.step():
            pass


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros((2, 8)), 3), {}, "codes of dtype uint8"),
        ((uniform(2, 8), -1), {}, "radius at least 0, got -1"),
        ((uniform(2, 8), 1.5), {}, "radius to be an integer, got float"),
        ((uniform(2, 8), 3), {"others": uniform(2, 4)}, r"others as wide as codes \(8 bytes\), got 4"),
        ((uniform(2, 8), 3), {"others": np.zeros((2, 8))}, "others of dtype uint8"),
        ((uniform(2, 8), 3), {"mask": np.ones(3, bool)}, r"mask of shape \[2\] for 2 codes, got \[3\]"),
        ((uniform(2, 8), 3), {"since": 3}, "since from 0 to 2, got 3"),
        ((uniform(2, 8), 3), {"since": 1, "others": uniform(2, 8)}, "since or others, got both"),
        ((uniform(2, 8), 3), {"since": 1, "copies": "all"}, "since only with copies 'first', got 1 and 'all'"),
        ((uniform(2, 8), 3), {"copies": "none"}, "copies to be one of 'first', 'all', got 'none'"),
        ((uniform(2, 8), 3), {"max_pairs": -1}, "max_pairs at least 0, got -1"),
        ((uniform(2, 8), 3), {"progress": 1}, "progress to be True or False, got 1"),
        ((uniform(2, 8), 3), {"threads": 0}, "threads from 1 to 4096, got 0"),
        ((uniform(2, 8), 3), {"kernel": "x"}, "kernel to be one of"),
        ((torch.zeros(2, 8, dtype=torch.uint8, device="meta"), 3), {}, "tensors on a CPU or a CUDA device, got meta"),
    ],
)
def test_errors(arguments, options, message):
    with pytest.raises((TypeError, ValueError), match=f"^hamming_pairs: expected {message}"):
        fh.hamming_pairs(*arguments, **options)


def test_errors_of_parts_and_groups():
    codes = uniform(2, 8)
    for options, message in (({"first": 3}, "first from 0 to 2, got 3"), ({"part_pairs": 0}, "part_pairs at least 1")):
        with pytest.raises(ValueError, match=f"^iter_hamming_pairs: expected {message}"):
            fh.iter_hamming_pairs(codes, 3, **options)
    for options, message in (
        ({"linkage": "average"}, "linkage to be one of 'single', 'complete', got 'average'"),
        ({"representative": "last"}, "representative to be one of 'first', 'central', got 'last'"),
        ({"max_pairs": 0}, "at most 0 pairs, as max_pairs says, found more"),
    ):
        with pytest.raises(ValueError, match=f"^duplicate_groups: expected {message}"):
            fh.duplicate_groups(np.zeros((3, 8), np.uint8), 3, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"others": np.zeros((3, 4), np.uint8)}, r"others of shape \[3, 8\], got \[3, 4\]"),
        ({"mask": np.zeros(2, np.uint8)}, r"mask of shape \[1\], got \[2\]"),
        ({"codes": np.zeros((3, 600), np.uint8)}, "codes of 1 to 512 bytes, got 600"),
        ({"radius": -1}, "radius of at least 0, got -1"),
        ({"since": 4}, "since from 0 to the number of codes of one set, got 4"),
        ({"since": 1, "others": np.zeros((3, 8), np.uint8)}, "since from 0 to the number of codes of one set, got 1"),
        ({"first": 4}, "first from 0 to the number of codes, got 4"),
        ({"capacity": -1}, "capacity of at least 0, got -1"),
        ({"n_parts": 3}, "n_parts of more than the radius, 0 or -1, got 3"),
        ({"n_parts": 65}, "n_parts of more than the radius, 0 or -1, got 65"),
    ],
)
def test_the_core_refuses_what_does_not_fit(change, message):
    arguments = {
        "codes": np.zeros((3, 8), np.uint8),
        "others": None,
        "mask": None,
        "radius": 3,
        "since": 0,
        "first": 0,
        "capacity": 9,
    }
    with pytest.raises(ValueError, match=f"PairSearch: expected {message}"):
        _core.PairSearch(**{**arguments, "capacity": 9, "n_parts": 0, "threads": 1, "isa": "", **change})
