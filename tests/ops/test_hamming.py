from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import zlib
from functools import cache, lru_cache
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash import _core
from fasthash.ops.arrays import to_tensor
from fasthash.ops.hamming import KERNELS, NO_DISTANCE, reference
from tests.conftest import DEVICE, on_kernel_device, opcheck, runnable, small_hamming_blocks

WIDTHS = [1, 3, 8, 9, 16, 24, 32, 64, 72, 128]  # bytes
SIZES = [0, 1, 7, 31, 33, 300]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    small_hamming_blocks(monkeypatch)


def random_codes(n, width, seed=0, alphabet=256):
    """Random bytes; a small alphabet makes many codes equal and most distances ties."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, alphabet, (n, width), dtype=np.uint8))


def oracle(queries, codes):
    """All distances, by NumPy."""
    return np.bitwise_count(queries.numpy()[:, None] ^ codes.numpy()[None]).sum(-1, dtype=np.int32)


def oracle_topk(distances, k):
    """The k nearest by (distance, id), padded."""
    n = distances.shape[1]
    order = np.lexsort((np.broadcast_to(np.arange(n), distances.shape), distances), axis=1)[:, :k]
    pad = ((0, 0), (0, k - order.shape[1]))
    nearest = np.take_along_axis(distances, order, 1)
    return np.pad(nearest, pad, constant_values=NO_DISTANCE), np.pad(order, pad, constant_values=-1)


def assert_hits(hits, expected):
    np.testing.assert_array_equal(np.asarray(hits[0].cpu()), expected[0])
    np.testing.assert_array_equal(np.asarray(hits[1].cpu()), expected[1])


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n", SIZES)
def test_kernels_agree_with_numpy(kernel, width, n):
    interpreted = kernel.package == "triton" and DEVICE == "cpu"  # takes seconds a case
    for alphabet in ((256, 2)[n % 2],) if interpreted else (256, 2):
        queries, codes = random_codes(2, width, seed=1, alphabet=alphabet), random_codes(n, width, alphabet=alphabet)
        q, c = on_kernel_device(kernel, queries, codes)
        expected = oracle(queries, codes)
        np.testing.assert_array_equal(kernel.function("hamming_distance")(q, c, 1).cpu().numpy(), expected)
        for k in (1, 10, n + 3):
            assert_hits(kernel.function("hamming_topk")(q, c, k, None, 1), oracle_topk(expected, k))
        radius = int(np.median(expected)) if n else 0
        offsets, *hits = kernel.function("hamming_radius")(q, c, radius, None, 1)
        for i, row in enumerate(expected):
            order = np.lexsort((np.arange(n), row))
            within = order[row[order] <= radius]
            part = slice(int(offsets[i]), int(offsets[i + 1]))
            assert_hits([x[part] for x in hits], (row[within], within))


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_no_queries(kernel):
    q, c = on_kernel_device(kernel, random_codes(0, 8), random_codes(20, 8))
    assert kernel.function("hamming_distance")(q, c, 1).shape == (0, 20)
    assert [x.shape for x in kernel.function("hamming_topk")(q, c, 3, None, 1)] == [(0, 3), (0, 3)]
    assert [x.shape for x in kernel.function("hamming_radius")(q, c, 3, None, 1)] == [(1,), (0,), (0,)]


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_a_masked_search_is_a_search_of_the_subset(kernel, density):
    queries, codes = random_codes(4, 9, seed=1, alphabet=3), random_codes(301, 9, alphabet=3)
    eligible = np.random.default_rng(2).random(301) < density
    ids = np.flatnonzero(eligible)
    mask = torch.from_numpy(np.packbits(eligible, bitorder="little"))
    mask[-1] |= 0b11000000  # bits past the last code mean nothing
    q, c, m = on_kernel_device(kernel, queries, codes, mask)
    distances = oracle(queries, codes[eligible])
    for k in (1, 7, 400):
        nearest, positions = oracle_topk(distances, k)
        expected_ids = np.where(positions < 0, -1, np.append(ids, -1)[positions])
        assert_hits(kernel.function("hamming_topk")(q, c, k, m, 1), (nearest, expected_ids))
    offsets, found, found_ids = kernel.function("hamming_radius")(q, c, 20, m, 1)
    assert offsets.tolist() == [0, *np.cumsum((distances <= 20).sum(1))]
    nearest, positions = oracle_topk(distances, len(ids))
    first = slice(int(offsets[1]))
    assert_hits((found[first], found_ids[first]), (nearest[0][first], ids[positions[0][first]]))


@pytest.mark.parametrize("kernel", runnable({name: KERNELS[name] for name in KERNELS if name.startswith("cpu")}))
@pytest.mark.parametrize("n_words", [5, 6, 7, 10, 11, 12, 13, 15, 16, 17, 31, 33, 62, 63, 64])
def test_few_queries_read_codes_of_any_number_of_words_where_they_lie(kernel, n_words):
    queries, codes = random_codes(2, 8 * n_words, seed=1), random_codes(131, 8 * n_words, alphabet=2)
    codes[[0, 33, 130]] = queries[0] ^ 1
    codes[[31, 64]] = queries[1]
    expected = oracle(queries, codes)
    for q in (1, 2):
        for n in (32, 131):
            hits = kernel.function("hamming_topk")(queries[:q], codes[:n], 9, None, 1)
            assert_hits(hits, oracle_topk(expected[:q, :n], 9))


@pytest.mark.parametrize(
    "kernel", runnable({name: kernel for name, kernel in KERNELS.items() if kernel.isa is not None})
)
@pytest.mark.parametrize("width", [8, 16, 24, 32, 48, 192])
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_masks_of_codes_here_and_there(kernel, width, share):
    """Those left out are dropped from what one or two queries find; nearly every list has some."""
    queries, codes = random_codes(2, width, seed=1), random_codes(9_001, width)
    mask = torch.from_numpy(np.packbits(np.random.default_rng(0).random(9_001) < share, bitorder="little"))
    for n_queries in (1, 2):
        expected = reference.hamming_topk(queries[:n_queries], codes, 200, mask)
        assert_hits(kernel.function("hamming_topk")(queries[:n_queries], codes, 200, mask, 1), expected)


@pytest.mark.parametrize(
    "kernel", runnable({name: kernel for name, kernel in KERNELS.items() if kernel.isa is not None})
)
@pytest.mark.parametrize("width", [3, 8, 16, 24, 32, 40, 64])
@pytest.mark.parametrize("run", [40, 700, 4000])
def test_masks_that_most_codes_pass(kernel, width, run):
    """Runs of eligible codes, shorter and longer than what is scanned at a time, are not gathered one by one."""
    n = 9_001
    rng = np.random.default_rng(run)
    queries, codes = random_codes(20, width, seed=1), random_codes(n, width)
    eligible = np.ones(n, dtype=bool)
    eligible[np.cumsum(rng.integers(1, 2 * run, 2 * n // run)) % n] = False
    mask = torch.from_numpy(np.packbits(eligible, bitorder="little"))
    for n_queries in (1, 20):  # rows are scanned where they lie for few queries only
        expected = reference.hamming_topk(queries[:n_queries], codes, 50, mask)
        assert_hits(kernel.function("hamming_topk")(queries[:n_queries], codes, 50, mask, 2), expected)
    radius = int(expected[0][0, -1])
    for found, wanted in zip(
        kernel.function("hamming_radius")(queries, codes, radius, mask, 1),
        reference.hamming_radius(queries, codes, radius, mask),
        strict=True,
    ):
        assert torch.equal(found, wanted)


@lru_cache(1)
def many_queries(width):
    """Queries, codes, and searches, of the nearest and within a radius: their arguments and what is expected."""
    queries, codes = random_codes(130, width, seed=1), random_codes(2_500, width)
    codes[::50] = queries[:50]
    queries[0], queries[1], queries[2], queries[3] = 0, 255, 15, torch.arange(width) % 2 * 255
    codes[7:600:7], codes[11:600:11] = 0, 255
    distances = oracle(queries, codes)
    nearest = [((k, None, threads), oracle_topk(distances, k)) for k, threads in ((1, 1), (10, 2), (700, 1))]
    masks = {None: None}
    for every in (3, 40):  # so many pass that they are gathered, or dropped from what is found
        masks[every] = torch.from_numpy(np.packbits(np.arange(len(codes)) % every != 0, bitorder="little"))
        nearest.append(((10, masks[every], 1), reference.hamming_topk(queries, codes, 10, masks[every])))
    order = np.argsort(distances, axis=1, kind="stable")
    ordered = np.take_along_axis(distances, order, 1)
    within = []
    for radius, every in product((0, 1, 2 * width, 4 * width, 8 * width - 1, 8 * width), masks):
        found = ordered <= radius
        if every is not None:
            found &= order % every != 0
        expected = np.cumsum([0, *found.sum(1)]), ordered[found], order[found]
        within.append(((radius, masks[every], 1), expected))
    return queries, codes, nearest, within


@pytest.mark.parametrize(
    "kernel", runnable({name: kernel for name, kernel in KERNELS.items() if kernel.isa is not None})
)
@pytest.mark.parametrize("width", [*range(1, 10), 12, 16, 24, 31, 32, 40, 57, 64, 65, 96, 128])
def test_many_queries_at_a_time(kernel, width):
    """So many that codes are searched on bit planes; among them zeros, ones, and half of each."""
    queries, codes, nearest, within = many_queries(width)
    for arguments, expected in nearest:
        assert_hits(kernel.function("hamming_topk")(queries, codes, *arguments), expected)
    for arguments, expected in within:
        for found, wanted in zip(kernel.function("hamming_radius")(queries, codes, *arguments), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


@cache
def large_case(width):
    """Enough codes for many tiles, full candidate buffers and ranges of codes that are merged, and what is expected."""
    n = 150_000 if width <= 8 else 20_000
    queries, codes = random_codes(3, width, seed=1), random_codes(n, width)
    codes[n // 2 :] = codes[: n - n // 2]  # every distance is at least a tie
    mask = torch.from_numpy(np.packbits(np.arange(n) % 3 == 0, bitorder="little"))
    nearest = reference.hamming_topk(queries, codes, n)
    radius = int(nearest[0][0, 2000])
    masked = reference.hamming_topk(queries, codes, 100, mask)
    return queries, codes, mask, nearest, masked, radius, reference.hamming_radius(queries, codes, radius, mask)


@pytest.mark.parametrize(
    "kernel", runnable({name: kernel for name, kernel in KERNELS.items() if kernel.isa is not None})
)
@pytest.mark.parametrize("width", [5, 8, 16, 40, pytest.param(512, marks=pytest.mark.slow)])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_large_searches_at_every_level_and_thread_count(kernel, width, threads):
    queries, codes, mask, nearest, masked, radius, within = large_case(width)
    for k in (1, 10, 1500, len(codes)):
        hits = kernel.function("hamming_topk")(queries, codes, k, None, threads)
        assert_hits(hits, [x[:, :k] for x in nearest])
    assert_hits(kernel.function("hamming_topk")(queries, codes, 100, mask, threads), masked)
    for found, wanted in zip(
        kernel.function("hamming_radius")(queries, codes, radius, mask, threads), within, strict=True
    ):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    "kernel", runnable({name: kernel for name, kernel in KERNELS.items() if kernel.isa is not None})
)
def test_nearer_codes_arriving_last_displace_all_before(kernel):
    """Descending distances make every code a candidate and cut the buffer back again and again."""
    codes = np.zeros((40_000, 32), np.uint8)
    distance = np.repeat(np.arange(256, 0, -1), 40_000 // 256 + 1)[:40_000]
    codes[:] = np.packbits(np.arange(256) < distance[:, None], axis=1)
    query = torch.zeros((1, 32), dtype=torch.uint8)
    expected = oracle_topk(distance[None].astype(np.int32), 3000)
    assert_hits(kernel.function("hamming_topk")(query, torch.from_numpy(codes), 3000, None, 2), expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_sample_that_misleads_costs_only_time(threads):
    """The near codes are where the sample looks, fewer than are wanted, so the limit it gives is too low."""
    n, near = 400_000, 2_000
    codes = np.full((n, 8), 255, np.uint8)
    codes[:near] = 0
    codes[:near, 0] = np.arange(near) % 2
    queries = torch.zeros((70, 8), dtype=torch.uint8)
    for k in (1_500, 3_000):
        distances, ids = fh.hamming_topk(queries, codes, k, threads=threads)
        even, odd = np.arange(0, near, 2), np.arange(1, near, 2)
        expected = np.concatenate([even, odd, np.arange(near, n)])[:k]
        assert (ids == torch.from_numpy(expected)).all()
        assert distances.sum(1).tolist() == [min(k - 1000, 1000) + 64 * max(0, k - near)] * 70


@pytest.mark.slow
def test_more_than_four_billion_codes():
    n = 2**32 + 1000
    codes = np.zeros((n, 1), np.uint8)  # pages never written to take no memory
    near = np.array([2**32 - 1, 2**32, n - 1])
    codes[near] = 255
    query = np.full((1, 1), 255, np.uint8)
    hits = fh.hamming_topk(query, codes, 4)
    assert hits.ids.tolist() == [[*near, 0]]
    assert hits.distances.tolist() == [[0, 0, 0, 8]]
    assert fh.hamming_radius(query, codes, 7).ids.tolist() == near.tolist()


@pytest.mark.slow
def test_memory_is_of_the_results_not_of_the_distances():
    """All distances would take 4 GB even as bytes."""
    script = """
import resource, torch, fasthash as fh
codes = torch.randint(0, 256, (1_000_000, 8), dtype=torch.uint8)
fh.hamming_topk(codes[:10], codes, 10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fh.hamming_topk(codes[:4000], codes, 10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown_kib = int(subprocess.check_output([sys.executable, "-c", script], text=True))
    assert grown_kib < 64 * 1024


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("n_queries", "radius", "search"),
    [
        (40, 34, "fh.hamming_radius(queries, codes, radius, threads=threads)"),
        (5000, 21, "fh.hamming_radius(queries, codes, radius, threads=threads)"),
        (5000, 21, "tables.radius(queries, codes, radius, None, threads)"),
        (300, 4, "tables.radius(queries, alike, radius, None, threads)"),
    ],
)
def test_memory_of_a_radius_search_is_that_of_its_hits(n_queries, radius, search, threads):
    script = f"""
import torch, fasthash as fh
from fasthash.ops.multi_index.op import build_tables
torch.manual_seed(0)
codes = torch.randint(0, 256, (1_000_000, 8), dtype=torch.uint8)
alike = codes[torch.randint(0, 10, (1_000_000,))]
n_queries, radius, threads = {n_queries}, {radius}, {threads}
tables = build_tables(alike if "alike" in {search!r} else codes, 64, 0, True, threads)
queries = codes[:n_queries].clone() if n_queries != 300 else alike[:n_queries].clone()
fh.hamming_radius(codes[:1], codes, 10, threads=threads)
def status(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) * 1024
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak is now what there is
hits = {search}
size = sum(x.numel() * x.element_size() for x in hits)
print(size, status("VmHWM") - before)
"""
    size, grown = map(int, subprocess.check_output([sys.executable, "-c", script], text=True).split())
    assert size > 200e6
    assert grown < 1.1 * size + threads * (64 << 20)


@pytest.mark.slow
@given(st.data())
def test_faiss_agrees_on_random_shapes(data):
    faiss = pytest.importorskip("faiss")
    width, n, q = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 400)), data.draw(st.integers(1, 9))
    k, alphabet = data.draw(st.integers(1, n)), data.draw(st.sampled_from([2, 3, 256]))
    codes, queries = (random_codes(m, width, seed=m, alphabet=alphabet) for m in (n, q))
    index = faiss.IndexBinaryFlat(width * 8)
    index.add(codes.numpy())
    distances, ids = index.search(queries.numpy(), k)
    assert_hits(fh.hamming_topk(queries, codes, k), (distances, ids))


@given(st.data())
def test_permuting_the_codes_permutes_the_ids(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    codes, queries = random_codes(60, 5, seed), random_codes(4, 5, seed + 1)
    order = np.random.default_rng(seed).permutation(60)
    hits, permuted = fh.hamming_topk(queries, codes, 9), fh.hamming_topk(queries, codes[torch.from_numpy(order)], 9)
    for i in range(4):
        sure = hits.distances[i] < hits.distances[i, -1]  # ties at the last place may be others
        assert set(order[permuted.ids[i][sure].numpy()].tolist()) == set(hits.ids[i][sure].tolist())


@pytest.mark.slow
@given(st.data())
def test_metric_axioms_and_invariances(data):
    width = data.draw(st.integers(1, 20))
    seed = data.draw(st.integers(0, 2**32 - 1))
    codes, queries = random_codes(40, width, seed), random_codes(6, width, seed + 1)
    d = fh.hamming_distance(codes, codes)
    assert torch.equal(d, d.T)
    assert not d.diagonal().any()
    assert ((d[:, :, None] + d[None, :, :]) >= d[:, None, :]).all()
    base = fh.hamming_topk(queries, codes, 7)
    flip = random_codes(1, width, seed + 2)
    for x, y in zip(base, fh.hamming_topk(queries ^ flip, codes ^ flip, 7), strict=True):
        assert torch.equal(x, y)
    shuffled = torch.from_numpy(np.random.default_rng(seed).permutation(40))
    assert torch.equal(base.distances, fh.hamming_topk(queries, codes[shuffled], 7).distances)
    radius = int(base.distances.max())
    found = fh.hamming_radius(queries, codes, radius)
    assert found.offsets.diff().tolist() == (fh.hamming_distance(queries, codes) <= radius).sum(1).tolist()


def test_faiss_agrees(rng):
    faiss = pytest.importorskip("faiss")
    for n_bits in (8, 24, 64, 128, 200, 512):
        for alphabet in (256, 2):
            codes = random_codes(5000, n_bits // 8, seed=n_bits, alphabet=alphabet)
            queries = random_codes(20, n_bits // 8, seed=1, alphabet=alphabet)
            index = faiss.IndexBinaryFlat(n_bits)
            index.add(codes.numpy())
            for k in (1, 10, 300):
                distances, ids = index.search(queries.numpy(), k)
                assert_hits(fh.hamming_topk(queries, codes, k), (distances, ids))


def test_numpy_torch_and_memory_maps(tmp_path):
    codes, queries = random_codes(100, 8), random_codes(3, 8, seed=1)
    expected = fh.hamming_topk(queries, codes, 4)
    assert all(isinstance(x, torch.Tensor) for x in expected)
    np.save(tmp_path / "codes.npy", codes.numpy())
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    strided = np.repeat(codes.numpy(), 2, axis=0)[::2]
    for given_codes in (codes.numpy(), mapped, strided, codes, np.asfortranarray(codes.numpy())):
        hits = fh.hamming_topk(queries.numpy(), given_codes, 4)
        assert all(isinstance(x, np.ndarray) for x in hits)
        assert_hits([torch.from_numpy(x) for x in hits], [x.numpy() for x in expected])
    assert hits.distances.dtype == np.int32
    assert hits.ids.dtype == np.int64


class OnlyDLPack:
    """Another library's array."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnlyInterface:
    def __init__(self, array):
        self.array = array
        self.__array_interface__ = array.__array_interface__


@pytest.mark.parametrize("wrapper", [OnlyDLPack, OnlyInterface])
def test_other_libraries_arrays_are_read_where_they_lie(wrapper):
    codes = random_codes(50, 8).numpy()
    assert to_tensor("test", "codes", wrapper(codes)).data_ptr() == codes.ctypes.data
    assert to_tensor("test", "codes", codes).data_ptr() == codes.ctypes.data
    hits = fh.hamming_topk(codes[:2], wrapper(codes), 3)
    np.testing.assert_array_equal(hits.ids, fh.hamming_topk(codes[:2], codes, 3).ids)


def test_unaligned_codes_and_masks():
    codes, queries = random_codes(100, 8), random_codes(3, 8, seed=1)
    expected = fh.hamming_topk(queries, codes, 4)
    unaligned = torch.cat([torch.zeros(1, dtype=torch.uint8), codes.flatten()])[1:].view(100, 8)
    assert torch.equal(fh.hamming_topk(queries, unaligned, 4).ids, expected.ids)
    as_bool = torch.arange(100) % 2 == 0
    masked = fh.hamming_topk(queries, codes, 4, mask=as_bool)
    assert torch.equal(masked.ids, fh.hamming_topk(queries, codes, 4, mask=fh.pack_bits(as_bool[None])[0]).ids)
    assert (masked.ids % 2 == 0).all()


def test_ops_are_registered_as_torch_wants_them():
    queries, codes = random_codes(5, 9, seed=1), random_codes(50, 9)
    mask = random_codes(1, 7)[0]
    opcheck(torch.ops.fasthash.hamming_distance, (queries, codes, 0))
    for m in (None, mask):
        opcheck(torch.ops.fasthash.hamming_topk, (queries, codes, 3, m, 0))
        opcheck(torch.ops.fasthash.hamming_radius, (queries, codes, 30, m, 0))


def test_compiles_without_a_graph_break():
    torch.compiler.reset()
    queries, codes = random_codes(5, 9, seed=1), random_codes(50, 9)
    compiled = torch.compile(lambda q, c: fh.hamming_topk(q, c, 3).ids + 1, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(queries, codes), fh.hamming_topk(queries, codes, 3).ids + 1)


def test_many_python_threads_at_once():
    queries, codes = random_codes(40, 8, seed=1), random_codes(200_000, 8)
    expected = fh.hamming_topk(queries, codes, 5).ids
    wrong = []

    def search():
        for threads in (1, 2, 3):
            if not torch.equal(fh.hamming_topk(queries, codes, 5, threads=threads).ids, expected):
                wrong.append(threads)

    workers = [threading.Thread(target=search) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_search_after_a_fork():
    script = """
import os, torch, fasthash as fh
codes = torch.arange(400_000, dtype=torch.uint8).view(-1, 2)
expected = fh.hamming_topk(codes[:2], codes, 3, threads=2).ids
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(fh.hamming_topk(codes[:2], codes, 3, threads=2).ids, expected) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_stops_a_long_search(threads):
    """The search would take minutes at the baseline level."""
    codes = torch.zeros((2_000_000, 64), dtype=torch.uint8)
    queries = torch.full((5_000, 64), 255, dtype=torch.uint8)
    interrupt = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fh.hamming_topk(queries, codes, 5, threads=threads, kernel="cpu-baseline")
    interrupt.join()
    assert time.monotonic() - start < 30
    assert fh.hamming_topk(queries[:1], codes[:10], 1).ids.tolist() == [[0]]


def search_in_a_new_process(**variables):
    """Search by the core alone, without waiting for torch to be imported."""
    script = """
import zlib, numpy as np
from fasthash import _core
codes = np.random.default_rng(0).integers(0, 256, (3000, 13), dtype=np.uint8)
distances, ids = np.empty((9, 20), np.int32), np.empty((9, 20), np.int64)
_core.hamming_topk(codes[:9], codes, 20, None, distances, ids, 0, "")
print(_core.active_isa(), zlib.crc32(distances), zlib.crc32(ids))
"""
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("isa", _core.runnable_isas())
def test_the_environment_forces_a_level(isa):
    done = search_in_a_new_process(FASTHASH_ISA=isa)
    codes = random_codes(3000, 13)
    expected = fh.hamming_topk(codes[:9], codes, 20, kernel="reference")
    digests = [str(zlib.crc32(array.numpy())) for array in expected]
    assert done.stdout.split() == [isa, *digests], done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FASTHASH_ISA", "sse9", "FASTHASH_ISA: expected one of baseline.* got 'sse9'"),
        ("FASTHASH_THREADS", "many", "FASTHASH_THREADS: expected an integer from 1 to 4096, got 'many'"),
        ("FASTHASH_THREADS", "0", "FASTHASH_THREADS: expected an integer from 1 to 4096, got '0'"),
    ],
)
def test_bad_environment(variable, value, message):
    done = search_in_a_new_process(**{variable: value})
    assert done.returncode != 0
    assert re.search(message, done.stderr), done.stderr


CODES = torch.zeros((4, 8), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(queries=CODES.float()), TypeError, r"expected queries of dtype uint8 \(packed codes, .*\), got float32"),
        (dict(codes=CODES.int()), TypeError, r"expected codes of dtype uint8 .* got int32"),
        (
            dict(queries=CODES[0]),
            ValueError,
            r"expected queries of shape .* got \[8\]; pass queries\[None\] for a single row",
        ),
        (dict(queries=CODES[:, :7]), ValueError, r"expected queries as wide as codes \(8 bytes\), got 7 bytes"),
        (
            dict(queries=CODES[:, :0], codes=CODES[:, :0]),
            ValueError,
            r"expected queries of 1 to 512 bytes a row, got 0",
        ),
        (dict(k=0), ValueError, r"expected k at least 1, got 0"),
        (dict(k=2.0), TypeError, r"expected k to be an integer, got float"),
        (
            dict(mask=torch.ones(3, dtype=torch.bool)),
            ValueError,
            r"expected mask of shape \[4\] for 4 codes, got \[3\]",
        ),
        (
            dict(mask=torch.ones(4, dtype=torch.uint8)),
            ValueError,
            r"expected mask of shape \[1\] for 4 codes, got \[4\]",
        ),
        (dict(mask=torch.ones(4)), TypeError, r"expected mask of dtype bool \[n\] or uint8 .* got float32"),
        (dict(threads=0), ValueError, r"expected threads from 1 to 4096, got 0"),
        (dict(codes=CODES.to("meta")), ValueError, r"expected queries on meta, where the other tensors are, got cpu"),
        (dict(kernel="gpu"), ValueError, r"expected kernel to be one of .* got 'gpu'"),
        (dict(codes="words"), TypeError, r"expected codes to be a numeric array"),
    ],
    ids=str,
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match="hamming_topk: " + message):
        fh.hamming_topk(**{"queries": CODES, "codes": CODES, "k": 1, **arguments})


def test_bad_radius():
    with pytest.raises(ValueError, match="hamming_radius: expected radius at least 0, got -1"):
        fh.hamming_radius(CODES, CODES, -1)


def test_a_kernel_this_processor_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(_core, "runnable_isas", lambda: ["baseline"])
    absent = f"cpu-{_core.built_isas()[-1]}"
    with pytest.raises(ValueError, match=f"kernel '{absent}' cannot run: this processor has no"):
        fh.hamming_topk(CODES, CODES, 1, kernel=absent)


@pytest.mark.parametrize(
    ("installed", "reason"),
    [(None, "triton is not installed"), ("3.2.0", r"triton 3\.2\.0 is installed, older than 3\.6")],
)
def test_a_gpu_without_a_triton_that_serves_is_told_what_to_install(monkeypatch, installed, reason):
    from fasthash.errors import MissingDependencyError
    from fasthash.ops import registry

    registry._unusable.cache_clear()
    monkeypatch.setattr(registry.util, "find_spec", lambda package: installed)
    monkeypatch.setattr(registry.metadata, "version", lambda package: installed)
    try:
        with pytest.raises(
            MissingDependencyError,
            match=rf"hamming_topk on cuda .* needs triton, but {reason}; pip install 'torch-fasthash\[triton\]'",
        ):
            registry.choose(KERNELS, torch.device("cuda"), None, "hamming_topk")
    finally:
        registry._unusable.cache_clear()
