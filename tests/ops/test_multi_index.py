from __future__ import annotations

import pytest
import torch

import fasthash as fh
from fasthash.ops.hamming.reference import hamming_radius, hamming_topk
from fasthash.ops.multi_index import KERNELS, MAX_CODES, build_tables, cost_of_build, cost_of_scan
from tests.conftest import runnable_names

ALL = runnable_names(KERNELS, *KERNELS)


def near_codes(n, n_bits, seed=0):
    """Codes in clusters, as hash functions make them; the bits beyond `n_bits` are 0."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(max(1, n // 20), n_bits, generator=generator)
    of = torch.randint(0, len(centres), (n,), generator=generator)
    return fh.pack_bits(centres[of] + 0.3 * torch.randn(n, n_bits, generator=generator))


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "compact"])
@pytest.mark.parametrize("n_bits", [13, 32, 64, 100, 256])
def test_kernels_agree_with_the_exhaustive_search(kernel, n_bits, fast):
    codes = near_codes(700, n_bits)
    queries = torch.cat([codes[:5], near_codes(3, n_bits, seed=1)])
    mask = torch.randint(0, 256, (88,), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    mask[-1] &= 0b1111
    for n_tables, n_indexed in ((0, 700), (3, 500)):
        tables = build_tables(codes[:n_indexed], n_bits, n_tables, fast, 0, kernel=kernel)
        assert tables.n_codes == n_indexed
        for eligible in (None, mask):
            for k in (1, 7, 900):
                assert_same(tables.topk(queries, codes, k, eligible, 2), hamming_topk(queries, codes, k, eligible))
            for radius in (0, n_bits // 8, n_bits):
                found = tables.radius(queries, codes, radius, eligible, 2)
                assert_same(found, hamming_radius(queries, codes, radius, eligible))


@pytest.mark.parametrize("kernel", ALL)
def test_no_codes_and_no_queries(kernel):
    for n, q in ((0, 3), (1, 0), (0, 0)):
        codes, queries = near_codes(n, 64), near_codes(q, 64)
        tables = build_tables(codes, 64, 0, True, 0, kernel=kernel)
        assert_same(tables.topk(queries, codes, 2, None, 0), hamming_topk(queries, codes, 2))
        assert_same(tables.radius(queries, codes, 9, None, 0), hamming_radius(queries, codes, 9))


@pytest.mark.parametrize("kernel", ALL)
def test_rows_that_a_bound_leaves_complete_are_exact(kernel):
    codes = near_codes(3000, 64)
    tables = build_tables(codes, 64, 0, True, 0, kernel=kernel)
    expected = hamming_topk(codes[:50], codes, 5)
    for bound in (1, 200, 10**9):
        distances, positions, complete = tables.topk_bounded(codes[:50], codes, 5, None, 0, bound)
        assert_same((distances[complete], positions[complete]), [part[complete] for part in expected])
    assert complete.all()


def test_a_bound_cuts_short_what_the_core_searches():
    codes = near_codes(3000, 64)
    complete = build_tables(codes, 64, 0, True, 0).topk_bounded(codes[:50], codes, 5, None, 0, 1)[2]
    assert not complete.all()


def test_what_tables_consist_of():
    codes = near_codes(1000, 64)
    tables = build_tables(codes, 64, 4, True, 0)
    assert len(tables.keys) == 4
    assert tables.keys[0][0] == 0
    assert tables.memory > 0
    assert tables.probes(0) == 1
    assert tables.probes(4) > tables.probes(3) >= 4
    assert 4 * 10**9 < MAX_CODES < 2**32
    assert 0 < cost_of_scan(1000, 8, 1, 0) < cost_of_scan(1000, 8, 10, 0)
    assert cost_of_build(10**6, 8, 64, 0, True, 0) > cost_of_build(10**5, 8, 64, 0, True, 0) > 0


def test_errors_name_the_function_that_the_user_called():
    codes = near_codes(5, 64)
    with pytest.raises(ValueError, match=r"MultiIndex\.build: expected kernel to be one of 'reference', 'cpu', .*'x'"):
        build_tables(codes, 64, 0, True, 0, kernel="x", where="MultiIndex.build")
    with pytest.raises(ValueError, match="multi_index: expected tensors on a CPU, got meta"):
        build_tables(codes.to("meta"), 64, 0, True, 0)
