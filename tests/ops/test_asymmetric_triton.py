"""The GPU's asymmetric search: both filters, what it does when lists overflow, and codes in chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.ops.asymmetric import reference
from tests.conftest import DEVICE, small_hamming_blocks

pytest.importorskip("triton")

from fasthash.ops.asymmetric import kernel_triton
from fasthash.ops.hamming import kernel_triton as hamming

pytestmark = pytest.mark.slow
FILTERS = {"scan": 2**31, "product": 1}  # from how many queries on products are taken


@pytest.fixture(params=FILTERS)
def filtered_by(request, monkeypatch):
    """Either filter, with samples of every second, fourth, ... group of codes."""
    small_hamming_blocks(monkeypatch, ratio=2, from_queries=FILTERS[request.param])
    return request.param


def random_codes(n, width, seed=0, alphabet=256):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, alphabet, (n, width), dtype=np.uint8))


def random_queries(q, n_bits, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((q, n_bits), np.float32))


def assert_as_reference(x, codes, k, bits, mask=None, search=kernel_triton.asymmetric_topk):
    packed = None if mask is None else fh.pack_bits(mask[None])[0]
    expected = reference.asymmetric_topk(x, codes, k, bits, packed)
    given = [None if y is None else y.to(DEVICE) for y in (x, codes, packed)]
    for found, wanted in zip(search(*given[:2], k, bits, given[2]), expected, strict=True):
        assert found.dtype == wanted.dtype
        assert torch.equal(found.cpu(), wanted)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("n_bits", [5, 32, 100])
def test_filters_agree_with_the_reference(filtered_by, n_bits, bits):
    codes, x = random_codes(130, -(-n_bits // 8)), random_queries(3, n_bits)
    codes[::9] = codes[4]
    assert_as_reference(x, codes, 3, bits)
    assert_as_reference(x, codes, 3, bits, torch.arange(130) % 7 == 2)


def test_the_widest_codes_at_the_largest_weights(filtered_by):
    """No distance is farther: 127 at each of 4,096 bits."""
    x = random_queries(1, 4096).sign()
    codes = random_codes(40, 512)
    codes[9] = fh.pack_bits(x)[0]
    codes[10] = ~codes[9]
    assert_as_reference(x, codes, 40, 8)


@pytest.mark.parametrize("alike", [False, True])
def test_lists_that_overflow_cost_only_time(filtered_by, monkeypatch, alike):
    """Samples, of every second group of eight codes, see none of the near ones, which may all be at one distance."""
    calls, by_products = [], kernel_triton.least_products
    monkeypatch.setattr(kernel_triton, "least_products", lambda *inputs: calls.append(1) or by_products(*inputs))
    near = np.zeros(900) if alike else np.sort(np.random.default_rng(3).integers(0, 65, 900))[::-1]
    codes = torch.from_numpy(np.packbits(np.arange(64) < near[:, None], axis=1))
    codes[(torch.arange(900) // 8) % 2 == 0] = 255
    x = -1 - random_queries(2, 64).abs()
    for mask in (None, torch.arange(900) % 3 > 0):
        assert_as_reference(x, codes, 1, 4, mask)
    assert bool(calls) is not alike


@pytest.mark.parametrize("width", [8, 6])
@pytest.mark.parametrize("chunk", [8, 64, 1000])
def test_chunks_are_searched_as_one(filtered_by, monkeypatch, width, chunk):
    monkeypatch.setattr(kernel_triton, "chunk_of", lambda codes, device: chunk)
    codes = random_codes(150, width, alphabet=3)
    assert_as_reference(random_queries(3, 8 * width), codes, 5, 4)
    assert_as_reference(random_queries(2, 8 * width), codes, 5, 4, torch.arange(150) > 140)
    assert_as_reference(random_queries(2, 8 * width), codes[:0], 5, 4)


def test_few_queries_are_scanned_and_many_multiplied(monkeypatch):
    """By popcounts, of which a query has as many as planes."""
    taken = []
    for name in ("hamming_scan_kernel", "hamming_scan_one_kernel", "hamming_product_kernel"):
        kernel = getattr(hamming, name)

        class Spy:
            def __getitem__(self, grid, name=name, kernel=kernel):
                taken.append(name)
                return kernel[grid]

        small_hamming_blocks(monkeypatch, from_queries=6)
        monkeypatch.setattr(hamming, name, Spy())
    for q, bits in ((5, 2), (6, 2), (1, 4), (2, 4), (1, 8)):
        assert_as_reference(random_queries(q, 16), random_codes(40, 2), 2, bits)
        by_product = q * (bits - 1) >= 6
        assert taken[-1] == (
            "hamming_product_kernel" if by_product else "hamming_scan_one_kernel" if q == 1 else "hamming_scan_kernel"
        )
        assert by_product == ("hamming_product_kernel" in taken)
        taken.clear()
