from __future__ import annotations

import os
import signal
import threading
import time
from functools import cache, cached_property

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash import _core
from fasthash.ops.asymmetric import reference as asymmetric_rows
from fasthash.ops.hamming import NO_DISTANCE
from fasthash.ops.hamming import reference as rows
from fasthash.ops.packing import pack_bits
from fasthash.ops.planes import (
    BLOCK_CODES,
    KERNELS,
    asymmetric_planes_topk,
    new_planes,
    planes_radius,
    planes_topk,
    read_planes,
    write_planes,
)
from tests.conftest import runnable, runnable_names

COMPILED = {name: kernel for name, kernel in KERNELS.items() if kernel.isa is not None}
WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 24, 31, 32, 33, 40, 64, 65, 100, 128, 256, 512]  # bytes


def random_codes(n, width, seed=0, alphabet=256):
    """Random bytes; a small alphabet makes many codes equal and most distances ties."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, alphabet, (n, width), dtype=np.uint8))


def stored(codes, kernel="cpu"):
    planes = new_planes(codes.shape[1] * 8, len(codes))
    write_planes(planes, codes, 0, kernel=kernel)
    return planes


def random_mask(n, density, seed=0):
    """Bits of the codes, and any past the last."""
    flags = np.random.default_rng(seed).random(n) < density
    mask = torch.from_numpy(np.packbits(flags, bitorder="little"))
    if n % 8:
        mask[-1] |= 256 - (1 << n % 8)
    return mask


def odd_queries(width):
    """Random, zeros, ones, half of the bits, by nibbles and by bytes, and one bit more or less."""
    queries = random_codes(8, width, seed=1)
    queries[1], queries[2], queries[3], queries[4] = 0, 255, 15, torch.arange(width) % 2 * 255
    queries[5], queries[6] = 15, 15
    queries[5, 0], queries[6, 0] = 31, 7
    return queries


def assert_equal(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


class Case:
    """Queries, codes and a mask, and all that a search can find of them in the order of hits."""

    def __init__(self, queries, codes, mask=None):
        self.queries, self.codes, self.mask = queries, codes, mask
        self.n = len(codes)
        self.nearest = rows.hamming_topk(queries, codes, self.n, mask)

    @cached_property
    def planes(self):
        return stored(self.codes)

    def check_topk(self, kernel, k, threads=1):
        padding = [(0, k - self.n)] if k > self.n else [(0, 0)]
        fills = zip(self.nearest, (NO_DISTANCE, -1), strict=True)
        expected = [torch.nn.functional.pad(x[:, :k], *padding, value=fill) for x, fill in fills]
        assert_equal(planes_topk(self.queries, self.planes, self.n, k, self.mask, threads, kernel=kernel), expected)

    def check_radius(self, kernel, radius, threads=1):
        distances, ids = self.nearest
        within = (distances <= radius) & (ids >= 0)
        offsets = torch.nn.functional.pad(within.sum(1).cumsum(0), (1, 0))
        found = planes_radius(self.queries, self.planes, self.n, radius, self.mask, threads, kernel=kernel)
        assert_equal(found, (offsets, distances[within], ids[within]))


def test_the_layout():
    """Of two codes at the borders of bytes and words; files have it, too."""
    codes = torch.tensor([[0b101, 0x80]], dtype=torch.uint8).repeat(600, 1)
    planes = stored(codes)
    assert planes.shape == (1, 16 + 6, BLOCK_CODES // 8)
    assert planes.data_ptr() % 64 == 0
    ones = [0, 2, 15, *(16 + i for i in range(6) if 3 + 8 >> i & 1)]
    for plane in range(22):
        expected = np.zeros(BLOCK_CODES // 8, np.uint8)
        if plane in ones:
            expected[:75] = 255
        np.testing.assert_array_equal(planes[0, plane].numpy(), expected)


@pytest.mark.parametrize(("n_bits", "most"), [(8, 1.8), (32, 1.2), (64, 1.15), (128, 1.15), (256, 1.15), (4096, 1.15)])
def test_planes_take_few_bytes_more_than_rows(n_bits, most):
    planes = new_planes(n_bits, BLOCK_CODES)
    assert planes.shape[0] == 1
    assert planes.numel() <= most * BLOCK_CODES * n_bits / 8


@cache
def written_by_the_reference(n, width):
    planes = new_planes(width * 8, n)
    KERNELS["reference"].function("write_planes")(planes, random_codes(n, width), 0, 1)
    return planes


@pytest.mark.parametrize("kernel", runnable(COMPILED))
@pytest.mark.parametrize("width", WIDTHS)
def test_codes_that_are_written_in_parts_are_the_references(kernel, width):
    n = 1_700
    codes, planes = random_codes(n, width), new_planes(width * 8, n)
    kernel.function("write_planes")(planes, codes.flip(0), 0, 1)
    for first, last in ((0, 1), (1, 64), (600, 1_111), (64, 600), (1_111, n)):
        kernel.function("write_planes")(planes, codes[first:last], first, 1)
    assert torch.equal(planes, written_by_the_reference(n, width))
    read = kernel.function("read_planes")
    assert torch.equal(read(planes, width * 8, slice(0, n), 1), codes)
    assert torch.equal(read(planes, width * 8, slice(513, 1_030), 1), codes[513:1_030])
    positions = torch.tensor([n - 1, 0, 511, 512, 0, 700])
    assert torch.equal(read(planes, width * 8, positions, 1), codes[positions])
    assert read(planes, width * 8, slice(5, 5), 1).shape == (0, width)


@pytest.mark.parametrize("kernel", runnable(COMPILED))
@pytest.mark.parametrize("threads", [1, 3])
def test_codes_of_several_blocks(kernel, threads):
    n = 2 * BLOCK_CODES + 5
    codes = random_codes(n, 9)
    planes = new_planes(72, n)
    for first, last in ((0, BLOCK_CODES - 1), (BLOCK_CODES - 1, n)):
        kernel.function("write_planes")(planes, codes[first:last], first, threads)
    assert torch.equal(kernel.function("read_planes")(planes, 72, slice(0, n), threads), codes)
    positions = torch.randperm(n)
    assert torch.equal(kernel.function("read_planes")(planes, 72, positions, threads), codes[positions])


@cache
def cases_of_width(width):
    """Few queries and many, with a mask and without."""
    queries, codes = odd_queries(width), random_codes(1_100, width)
    codes[::50] = queries.repeat(3, 1)[:22]
    codes[7:600:7], codes[11:600:11] = 0, 255
    mask = random_mask(len(codes), 0.6)
    return [Case(q, codes, m) for m in (None, mask) for q in (queries[:1], queries[1:2], queries)]


@pytest.mark.parametrize("kernel", runnable_names(COMPILED, *COMPILED))
@pytest.mark.parametrize("width", WIDTHS)
def test_searches_agree_with_rows(kernel, width):
    for case in cases_of_width(width):
        for k in (1, 10, 1_102):
            case.check_topk(kernel, k)
        for radius in (0, 1, 2 * width, 4 * width, 8 * width - 1, 8 * width, 5_000):
            case.check_radius(kernel, radius)


def test_the_reference_agrees_with_rows():
    for case in cases_of_width(9):
        case.check_topk("reference", 10)
        case.check_radius("reference", 30)


BORDERS = [0, 1, 63, 64, 65, 511, 512, 513, 5_633, BLOCK_CODES - 1, BLOCK_CODES, BLOCK_CODES + 1, 2 * BLOCK_CODES + 600]


@cache
def cases_of_size(n):
    queries, codes = random_codes(3, 4, seed=1, alphabet=3), random_codes(n, 4, alphabet=3)
    return [Case(queries, codes, mask) for mask in (None, random_mask(n, 0.5))]


@pytest.mark.parametrize("kernel", runnable_names(COMPILED, *COMPILED))
@pytest.mark.parametrize("n", BORDERS)
def test_sizes_around_the_borders_of_blocks(kernel, n):
    for case in cases_of_size(n):
        for k in (1, n + 2):
            case.check_topk(kernel, k)
        for radius in (0, 9):
            case.check_radius(kernel, radius)


@pytest.mark.parametrize("kernel", runnable_names(COMPILED, *COMPILED))
def test_places_that_hold_no_code_are_never_found(kernel):
    """Those after the last, though they were written."""
    codes, queries = random_codes(1_000, 8), random_codes(2, 8, seed=1)
    case = Case(queries, codes)
    case.planes = stored(torch.cat([codes, queries.repeat(500, 1)]))
    case.check_topk(kernel, 3)
    case.check_radius(kernel, 64)


@cache
def case_of_density(density):
    n = BLOCK_CODES + 1_003
    queries, codes = random_codes(5, 8, seed=1, alphabet=3), random_codes(n, 8, alphabet=3)
    return Case(queries, codes, random_mask(n, density))


@pytest.mark.parametrize("kernel", runnable_names(COMPILED, *COMPILED))
@pytest.mark.parametrize("density", [0.0, 0.0005, 0.02, 0.999, 1.0])
def test_masks(kernel, density):
    case = case_of_density(density)
    for k in (1, 60, case.n):
        case.check_topk(kernel, k)
    for radius in (0, 20):
        case.check_radius(kernel, radius)


@cache
def large_cases(width):
    """Enough codes for ranges that are merged and for samples, every distance at least a tie."""
    n = 150_000 if width == 8 else 20_000
    queries, codes = random_codes(3, width, seed=1), random_codes(n, width)
    codes[n // 2 :] = codes[: n - n // 2]
    return [Case(queries, codes, mask) for mask in (None, random_mask(n, 0.3))]


@pytest.mark.parametrize("kernel", runnable_names(COMPILED, *COMPILED))
@pytest.mark.parametrize("width", [8, 40])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_large_searches_at_every_level_and_thread_count(kernel, width, threads):
    for case in large_cases(width):
        for k in (1, 100, 1_500, case.n):
            case.check_topk(kernel, k, threads)
        case.check_radius(kernel, int(case.nearest[0][0, 2_000]), threads)


@pytest.mark.parametrize("kernel", runnable_names(COMPILED, *COMPILED))
def test_many_queries_at_a_time(kernel):
    case = many_queries()
    case.check_topk(kernel, 10, 2)
    case.check_radius(kernel, 50, 1)


@cache
def many_queries():
    return Case(random_codes(300, 16, seed=1), random_codes(2_500, 16))


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_no_queries(kernel):
    planes = stored(random_codes(20, 8))
    queries = random_codes(0, 8)
    assert [x.shape for x in kernel.function("planes_topk")(queries, planes, 20, 3, None, 1)] == [(0, 3), (0, 3)]
    assert [x.shape for x in kernel.function("planes_radius")(queries, planes, 20, 3, None, 1)] == [(1,), (0,), (0,)]


def test_a_sample_that_misleads_costs_only_time():
    n, near = 400_000, 2_000
    codes = torch.full((n, 8), 255, dtype=torch.uint8)
    codes[:near] = 0
    queries = torch.zeros((2, 8), dtype=torch.uint8)
    distances, positions = planes_topk(queries, stored(codes), n, 3_000)
    assert (positions == torch.arange(3_000)).all()
    assert distances.sum(1).tolist() == [64 * 1_000] * 2


@given(st.data())
def test_any_appends_and_searches(data):
    width, seed = data.draw(st.integers(1, 40)), data.draw(st.integers(0, 2**32 - 1))
    sizes = data.draw(st.lists(st.integers(0, 700), min_size=1, max_size=4))
    codes = random_codes(sum(sizes), width, seed, data.draw(st.sampled_from([2, 256])))
    planes = new_planes(8 * width, len(codes))
    for first, part in zip(np.cumsum([0, *sizes]), codes.split(sizes), strict=False):
        write_planes(planes, part, int(first))
    assert torch.equal(read_planes(planes, 8 * width, slice(0, len(codes))), codes)
    queries = random_codes(data.draw(st.integers(1, 5)), width, seed + 1)
    mask = random_mask(len(codes), 0.5, seed) if data.draw(st.booleans()) else None
    case = Case(queries, codes, mask)
    case.planes = planes
    threads = data.draw(st.integers(1, 3))
    case.check_topk(None, data.draw(st.integers(1, 50)), threads)
    case.check_radius(None, data.draw(st.integers(0, 8 * width)), threads)


def test_memory_mapped_planes(tmp_path):
    case = Case(random_codes(3, 8, seed=1), random_codes(20_000, 8))
    case.planes.numpy().tofile(tmp_path / "planes")
    case.planes = torch.from_numpy(np.memmap(tmp_path / "planes", np.uint8, "c", shape=tuple(case.planes.shape)))
    case.check_topk(None, 10)
    case.check_radius(None, 20)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_stops_a_long_search(threads):
    codes = torch.zeros((2_000_000, 64), dtype=torch.uint8)
    queries = torch.full((5_000, 64), 15, dtype=torch.uint8)
    planes = stored(codes)
    interrupt = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        planes_topk(queries, planes, len(codes), 5, threads=threads, kernel="cpu-baseline")
    interrupt.join()
    assert time.monotonic() - start < 30


def test_many_python_threads_at_once():
    case = Case(random_codes(20, 8, seed=1), random_codes(50_000, 8))
    planes, wrong = case.planes, []

    def search():
        for threads in (1, 2, 3):
            found = planes_topk(case.queries, planes, case.n, 5, threads=threads)
            if not all(torch.equal(x, y[:, :5]) for x, y in zip(found, case.nearest, strict=True)):
                wrong.append(threads)

    workers = [threading.Thread(target=search) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


PLANES = np.zeros((1, 71, BLOCK_CODES // 8), np.uint8)
CODES = np.zeros((2, 8), np.uint8)
DISTANCES, IDS = np.zeros((2, 3), np.int32), np.zeros((2, 3), np.int64)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            _core.planes_topk,
            (CODES, PLANES[:, :70].copy(), 2, 3, None, DISTANCES, IDS, 1, ""),
            rf"planes_topk: expected planes of shape \[1, 71, {BLOCK_CODES // 8}\], got \[1, 70, {BLOCK_CODES // 8}\]",
        ),
        (
            _core.planes_topk,
            (CODES, PLANES, BLOCK_CODES + 1, 3, None, DISTANCES, IDS, 1, ""),
            f"planes_topk: expected planes with places for {BLOCK_CODES + 1} codes, got {BLOCK_CODES}",
        ),
        (
            _core.planes_topk,
            (CODES, PLANES, 9, 3, np.zeros(1, np.uint8), DISTANCES, IDS, 1, ""),
            r"planes_topk: expected mask of shape \[2\], got \[1\]",
        ),
        (
            _core.planes_topk,
            (CODES, PLANES, 9, 4, None, DISTANCES, IDS, 1, ""),
            r"planes_topk: expected distances of shape \[2, 4\], got \[2, 3\]",
        ),
        (
            _core.planes_radius,
            (CODES[:, :7].copy(), PLANES, 2, 3, None, 1, ""),
            r"planes_radius: expected planes of shape \[1, 63, .*\], got \[1, 71, ",
        ),
        (
            _core.planes_radius,
            (np.zeros((1, 513), np.uint8), PLANES, 2, 3, None, 1, ""),
            "planes_radius: expected codes of 1 to 512 bytes, got 513",
        ),
        (
            _core.write_planes,
            (PLANES, CODES, BLOCK_CODES - 1, 1, ""),
            f"write_planes: expected planes with places for {BLOCK_CODES + 1} codes, got {BLOCK_CODES}",
        ),
        (_core.write_planes, (PLANES, CODES, -1, 1, ""), "write_planes: expected first at least 0, got -1"),
        (_core.read_planes, (PLANES, -1, CODES, 1, ""), "read_planes: expected first at least 0, got -1"),
        (
            _core.gather_planes,
            (PLANES, np.array([3, BLOCK_CODES]), CODES, 1),
            f"gather_planes: expected positions from 0 to {BLOCK_CODES - 1}, got {BLOCK_CODES}",
        ),
        (
            _core.gather_planes,
            (PLANES, np.array([3]), CODES, 1),
            r"gather_planes: expected codes of shape \[1, 8\], got \[2, 8\]",
        ),
        (
            _core.read_planes,
            (np.zeros(PLANES.size + 1, np.uint8)[1:].reshape(PLANES.shape), 0, CODES, 1, ""),
            "read_planes: expected planes at a multiple of 8 bytes, got another address",
        ),
    ],
)
def test_the_core_refuses_what_it_would_read_or_write_beyond(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, *COMPILED))
@pytest.mark.parametrize("n_bits", [7, 24, 64, 200, 384, 1000, 4096])
def test_asymmetric_searches_agree_with_rows(kernel, n_bits):
    n = 2_300
    codes = random_codes(n, -(-n_bits // 8))
    codes[1_000:1_200] = codes[5]
    planes, projections = stored(codes), torch.randn(4, n_bits, generator=torch.Generator().manual_seed(0))
    projections[3] = 0
    for mask in (None, random_mask(n, 0.3)):
        for k, bits in ((1, 4), (20, 1), (n + 1, 4), (20, 8)):
            expected = asymmetric_rows.asymmetric_topk(projections, codes, k, bits, mask)
            found = asymmetric_planes_topk(projections, planes, n, k, bits, mask, 1, kernel=kernel)
            assert_equal(found, expected)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("q", [1, 70])
def test_asymmetric_searches_of_several_blocks(threads, q):
    """Of clustered codes, for which planes are left out."""
    n = 4 * BLOCK_CODES + 700
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(50, 96, generator=generator)
    codes = pack_bits(centres.repeat(n // 50 + 1, 1)[:n] + 0.5 * torch.randn(n, 96, generator=generator))
    projections = centres[torch.arange(q) % 50] + 0.5 * torch.randn(q, 96, generator=generator)
    for mask in (None, random_mask(n, 0.5)):
        found = asymmetric_planes_topk(projections, stored(codes), n, 10, 4, mask, threads)
        assert_equal(found, asymmetric_rows.asymmetric_topk(projections, codes, 10, 4, mask))


@pytest.mark.parametrize("kernel", ["cpu", "reference"])
def test_asymmetric_searches_refuse_projections_that_are_not_finite(kernel):
    projections = torch.full((1, 8), torch.nan)
    with pytest.raises(ValueError, match="expected projections to be finite, got nan in row 0, column 0"):
        asymmetric_planes_topk(projections, stored(random_codes(9, 1)), 9, 1, 4, kernel=kernel)
