"""Every launch fits on a GPU, at sizes that no machine of the tests has.

Torch's meta tensors, which have shapes and no memory, stand for those on a GPU, and a stub for each Triton kernel.
"""

from __future__ import annotations

import importlib
import math
import pkgutil

import numpy as np
import pytest
import torch

from fasthash import ops
from fasthash.ops.declaration import RefusedError

pytest.importorskip("triton")
from fasthash.ops.asymmetric import kernel_triton as asymmetric
from fasthash.ops.h2q import Plan
from fasthash.ops.h2q import kernel_triton as h2q
from fasthash.ops.hamming import kernel_triton as hamming
from fasthash.ops.hamming import kernel_triton_count as counting
from fasthash.ops.householder import kernel_triton as householder
from fasthash.ops.packing import kernel_triton as packing
from fasthash.ops.pairs import kernel_triton as pairs
from fasthash.ops.pairs.plan import Scheme
from fasthash.ops.wasserstein import kernel_triton as wasserstein

MOST = (2**31 - 1, 2**16 - 1, 2**16 - 1)  # programs in each dimension of a grid
SCANS = {"hamming_scan_kernel", "hamming_scan_one_kernel"}  # the second is the last pass of one query
MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(ops.__path__, f"{ops.__name__}.")
    if "kernel_triton" in module.name
]


class Stub:
    """Stands for a Triton kernel and reads what it is launched with."""

    def __init__(self, kernel, launched):
        self.kernel, self.launched = kernel, launched

    def __getitem__(self, grid):
        def launch(*arguments, **options):
            assert all(1 <= size <= most for size, most in zip(grid, MOST, strict=False)), grid
            given = dict(zip(self.kernel.arg_names, arguments, strict=False))
            assert set(self.kernel.arg_names) <= set(given) | set(options)
            self.launched[self.kernel.fn.__name__] = grid

        return launch


class NotANumberError(Exception):
    """That what was read, 0, is the place of a NaN."""


@pytest.fixture
def launched(monkeypatch):
    """The grids of the kernels that are launched, by name; whatever is read of a tensor is 0."""
    grids = {}
    for module in MODULES:
        for name, kernel in list(vars(module).items()):
            if name.endswith("_kernel"):
                monkeypatch.setattr(module, name, Stub(kernel, grids))
    for name in ("item", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, lambda tensor: 0)
    monkeypatch.setattr(packing, "nan_projection", lambda place, n_bits: NotANumberError())
    torch.use_deterministic_algorithms(False)  # new memory that is filled with NaN has to exist
    return grids


def empty(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


def codes(n, n_bits=64):
    return empty(n, n_bits // 8, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("n", "n_bits"), [(1, 4_194_241), (1, 10**10), (1, 2**31 - 1), (10**9, 64), (10**8, 4096), (10**10, 8)]
)
def test_packing(launched, n, n_bits):
    """A row of a billion bits is a mask."""
    packing.pack_bits(empty(n, n_bits, dtype=torch.bool))
    packing.pack_bits(empty(n, n_bits))
    ((programs,),) = launched.values()
    assert programs * packing.TILE >= n * (n_bits / 8)


@pytest.mark.parametrize(("n", "n_bits"), [(10**9, 64), (10**8, 4096), (1, 1)])
def test_packing_projections(launched, n, n_bits):
    with pytest.raises(NotANumberError):
        packing.pack_projections(empty(n, 128), empty(128, n_bits), None)
    assert len(launched["pack_projections_kernel"]) == 1


@pytest.mark.parametrize("n_queries", [1, 10, 100, 10**6])
@pytest.mark.parametrize(("n", "n_bits"), [(10**9, 64), (10**10, 32), (10**8, 4096), (3, 64)])
def test_hamming_search(launched, n_queries, n, n_bits):
    queries, database = counting.signed_words(codes(n_queries, n_bits)), counting.signed_words(codes(n, n_bits))
    for mask in (None, empty(-(-n // 8), dtype=torch.uint8)):
        limits, best = empty(n_queries, dtype=torch.int64), empty(n_queries, 100, dtype=torch.int64)
        hamming._filter(hamming.BitQueries(queries), database, mask, limits, best, sampled=True)
    assert launched.pop("hamming_select_kernel")[0] <= n_queries
    assert set(launched) == {"hamming_product_kernel"} or {*launched, *SCANS} == SCANS


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("n_queries", [1, 3, 100, 10**6])
@pytest.mark.parametrize(("n", "n_bits"), [(10**9, 64), (10**9, 384), (10**10, 32), (10**8, 4096), (3, 64)])
def test_asymmetric_search(launched, monkeypatch, n_queries, n, n_bits, bits):
    monkeypatch.setattr(asymmetric, "pack_bits_op", torch.ops.fasthash.pack_bits)  # of meta tensors, too
    queries = asymmetric.weighted_queries(empty(n_queries, n_bits), bits)
    assert queries.farthest < hamming.FAR.value
    database = counting.signed_words(codes(n, n_bits))
    for mask in (None, empty(-(-n // 8), dtype=torch.uint8)):
        limits, best = empty(n_queries, dtype=torch.int64), empty(n_queries, 100, dtype=torch.int64)
        hamming._filter(queries, database, mask, limits, best, sampled=True)
    assert launched.pop("hamming_select_kernel")[0] <= n_queries
    assert set(launched) == {"hamming_product_kernel"} or {*launched, *SCANS} == SCANS


@pytest.mark.parametrize(("n_queries", "n", "n_bits"), [(1, 10**10, 64), (10**5, 10**7, 64), (10**4, 10**6, 4096)])
def test_hamming_counting(launched, n_queries, n, n_bits):
    queries, database = codes(n_queries, n_bits), codes(n, n_bits)
    for rows in counting._groups(n_queries, n):
        assert (rows.stop - rows.start) * -(-n // (counting.BLOCK * counting.BLOCKS_PER_CHUNK)) <= MOST[0]
    counting.hamming_distance(queries, database)
    counting.nearest_by_counting(counting.signed_words(queries[:3]), counting.signed_words(database), None, 100)
    assert set(launched) == {"hamming_distance_kernel", "hamming_count_kernel", "hamming_chunk_count_kernel"}


@pytest.mark.parametrize(("n", "n_bits"), [(1, 64), (pairs.MAX_ROWS, 64), (10**9, 40), (10**8, 4096)])
def test_pairs(launched, n, n_bits):
    words = pairs.whole_words(codes(n, n_bits))
    pairs.first_of_equals(words)
    n_others = min(n, pairs.MAX_ROWS - n) or 1
    for others in (None, pairs.Rows(words[:n_others], offset=n)):
        for scheme in (Scheme(n_bits), Scheme(n_bits, 5, 2)):
            search = pairs.TableSearch(
                pairs.Rows(words), others, empty(0, dtype=torch.int64), scheme, 3, 0, n, first=0, capacity=9
            )
            search.step()
        assert launched["pair_compare_kernel"][0] * pairs.ROWS >= n  # of a table; a step of the scan has some rows
    assert set(launched) == {"pair_keys_kernel", "pair_originals_kernel", "pair_compare_kernel"}


def test_more_codes_than_a_gpu_sorts_are_refused(launched):
    with pytest.raises(RefusedError, match="expected at most 2,147,418,112 codes on a GPU, got 2,147,418,113"):
        pairs.pair_search(codes(pairs.MAX_ROWS), codes(1), None, 3, 0, 0, 9, 0)
    assert not launched


@pytest.mark.parametrize(
    ("n", "m"),
    [(128, 64), (1, 10**9), (128, 8_388_481), (4096, 8_388_481), (16_385, 10**7), (10**9, 3), (2**31 - 2**16, 1)],
)
def test_two_point_distance(launched, n, m):
    x = empty(n, m)
    _, parting = wasserstein.two_point_wasserstein(x, None, 0.0, -1.0, 1.0, 2.0, True)
    wasserstein.two_point_backward(empty(), x, parting, 0.0, -1.0, 1.0, 2.0)
    assert math.prod(launched["two_point_backward_kernel"]) * wasserstein.TILE >= n * m


def test_a_column_of_too_many_rows_is_refused(launched):
    with pytest.raises(RefusedError, match=r"expected x of at most 2,147,418,112 rows on a GPU, got 2,147,483,648"):
        wasserstein.two_point_wasserstein(empty(2**31, 1), None, 0.0, -1.0, 1.0, 2.0, True)
    assert not launched


@pytest.mark.parametrize(("n", "k"), [(1, 128), (10**9, 64), (10**10, 8)])
def test_householder_products(launched, n, k):
    x, v = empty(n, k), empty(k, k)
    y, q, s = householder.householder_apply(x, v, False)
    householder.householder_backward(empty(n, k), y, v, q, s, False, True)
    assert set(launched) == {f"householder_{step}_kernel" for step in ("factors", "apply", "backward")}


def test_h2q_training(launched):
    n, k, runs = 30, 64, 3
    settings = {"loss": "l2", "optimizer": "adam", "rate": 0.005, "cosine": True, "renormalize": False}
    plan = Plan(**settings, epochs=1, batch_size=10, patience=0, seed=0)
    rows = torch.ones(n, k)
    h2q.H2QTrainer(rows, rows, np.ones((runs, k, k), np.float32), plan).train(1)
    assert launched == {"h2q_kernel": (runs,)}
