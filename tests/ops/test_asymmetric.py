from __future__ import annotations

import os
import signal
import threading
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.ops.asymmetric import KERNELS, reference
from tests.conftest import on_kernel_device, opcheck, runnable, runnable_names, small_hamming_blocks

COMPILED = [name for name, kernel in KERNELS.items() if kernel.isa is not None]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    small_hamming_blocks(monkeypatch)


def random_codes(n, n_bits, seed=0):
    """With ones in the spare bits, too."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, -(-n_bits // 8)), dtype=np.uint8))


def random_queries(q, n_bits, seed=1, dtype=torch.float32):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((q, n_bits))).to(dtype)


def random_mask(n, density, seed=2):
    return torch.from_numpy(np.random.default_rng(seed).random(n) < density)


def signs(codes, n_bits):
    """float64, whose sums of products with weights are exact."""
    return np.unpackbits(np.asarray(codes), axis=1, bitorder="little", count=n_bits) * 2.0 - 1


def weights_of(projections, bits):
    """Integers [q, n_bits] and what they are multiplied by, as the docstring has them."""
    x = projections.numpy() if projections.dtype == torch.float64 else projections.float().numpy()
    if bits == 1:
        return np.where(x > 0, 1, -1), np.abs(x).max(1)
    largest, levels = np.abs(x).max(1), x.dtype.type(2 ** (bits - 1) - 1)
    weights = np.rint(x / np.where(largest > 0, largest, 1)[:, None] * levels).astype(np.int64)
    return weights, largest / levels


def expected_hits(projections, codes, k, bits, mask=None):
    """By all sums in integers and a stable sort."""
    weights, scale = weights_of(projections, bits)
    q, n = len(projections), len(codes)
    eligible = np.arange(n) if mask is None else np.flatnonzero(mask.numpy())
    scores, ids = np.full((q, k), -np.inf, scale.dtype), np.full((q, k), -1)
    sums = weights @ signs(codes, projections.shape[1])[eligible].T
    order = np.argsort(-sums, axis=1, kind="stable")[:, :k]
    m = order.shape[1]
    scores[:, :m] = np.take_along_axis(sums, order, 1).astype(scale.dtype) * scale[:, None]
    ids[:, :m] = eligible[order]
    return scores, ids


def assert_hits(found, expected):
    assert found.ids.dtype == torch.int64
    np.testing.assert_array_equal(found.ids.cpu().numpy(), expected[1])
    np.testing.assert_array_equal(found.scores.cpu().numpy(), expected[0], strict=True)


WIDTHS = [1, 7, 8, 20, 63, 64, 65, 128, 200, 384, 520, 768, 1000]
FEW_WIDTHS = [7, 65, 384]  # of what is interpreted, whose every call takes a second


@pytest.mark.parametrize(
    ("kernel", "n_bits"),
    [
        pytest.param(kernel, n_bits, id=f"{kernel_case.id}-{n_bits}", marks=kernel_case.marks)
        for kernel_case in runnable(KERNELS)
        for (kernel,) in [kernel_case.values]
        for n_bits in (FEW_WIDTHS if kernel.package == "triton" else WIDTHS)
    ],
)
def test_kernels_agree_with_integers(kernel, n_bits):
    n = 203 if kernel.package == "triton" else 1_103
    codes, x = random_codes(n, n_bits), random_queries(5, n_bits)
    x[1], x[2, : n_bits // 2] = x[1].sign(), 0
    codes[::97] = codes[5]  # ties
    search = kernel.function("asymmetric_topk")
    for bits in (1, 8) if kernel.package == "triton" else (1, 2, 4, 8):
        for mask, k in ((None, 10), (random_mask(n, 0.5), n + 97), (random_mask(n, 0.02), 1)):
            packed = None if mask is None else fh.pack_bits(mask[None])[0]
            found = search(*on_kernel_device(kernel, x, codes), k, bits, *on_kernel_device(kernel, packed), 1)
            assert_hits(fh.ScoredHits(*found), expected_hits(x, codes, k, bits, mask))


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("bits", range(1, 9))
def test_every_number_of_bits_of_a_query(kernel, bits):
    codes, x = random_codes(700, 96), random_queries(3, 96)
    found = kernel.function("asymmetric_topk")(*on_kernel_device(kernel, x, codes), 20, bits)
    assert_hits(fh.ScoredHits(*found), expected_hits(x, codes, 20, bits))


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, *COMPILED))
@pytest.mark.parametrize(("n_bits", "bits"), [(4096, 8), (4096, 1), (2048, 8), (1536, 6), (1024, 4), (512, 7)])
def test_the_widest_codes(kernel, n_bits, bits):
    """All weights at the largest: no sum of a search is greater."""
    codes, x = random_codes(600, n_bits), random_queries(2, n_bits)
    x[0] = x[0].sign()
    codes[17] = torch.from_numpy(np.packbits(x[0].numpy() > 0, bitorder="little"))
    codes[18] = ~codes[17]
    for k in (3, 600):
        for q in (1, 2):  # few columns in all read rows
            found = fh.asymmetric_topk(x[:q], codes, k, bits=bits, kernel=kernel)
            assert_hits(found, expected_hits(x[:q], codes, k, bits))


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, *COMPILED))
@pytest.mark.parametrize("threads", [1, 3])
def test_large_searches_at_every_level_and_thread_count(kernel, threads):
    """Clustered codes, for which most planes are left out; the near ones last, so that limits fall late."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, 128, generator=generator)
    items = centres.repeat_interleave(1_800, 0) + 0.5 * torch.randn(72_000, 128, generator=generator)
    codes, x = fh.pack_bits(items), centres[[39, 38, 0, 20]] + 0.5 * torch.randn(4, 128, generator=generator)
    mask = random_mask(len(codes), 0.3)
    for k in (1, 10, 900):
        for eligible in (None, mask):
            found = fh.asymmetric_topk(x, codes, k, mask=eligible, threads=threads, kernel=kernel)
            assert_hits(found, expected_hits(x, codes, k, 4, eligible))


@lru_cache(1)
def few_queries_of_rows(n_words):
    """Queries and codes, and searches: their arguments and what is expected of them."""
    n_bits = 64 * n_words
    codes, x = random_codes(2_500, n_bits), random_queries(2, n_bits)
    codes[::311] = codes[7]  # ties
    mask = torch.ones(2_500, dtype=torch.bool)
    mask[[3, 1_900, 2_499]] = False
    factors = FACTORS["alike"](2_500)
    searches = []
    for q, bits in ((1, 1), (1, 2), (1, 3), (1, 4), (2, 4), (1, 5), (1, 7), (1, 8)):
        for eligible in (None, mask):
            expected = expected_hits(x[:q], codes, 20, bits, eligible)
            searches.append((x[:q], {"bits": bits, "mask": eligible}, expected))
        expected = expected_scores(x[:q], codes, 20, bits, factors, None, mask)
        searches.append((x[:q], {"bits": bits, "mask": mask, "factors": factors}, expected))
    return x, codes, searches


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, *COMPILED))
@pytest.mark.parametrize("n_words", [2, 3, 4, 5, 6, 7, 8, 11, 12, 16, 24, 31, 62, 64])
def test_few_queries_of_rows(kernel, n_words):
    """One query of few bits reads rows where they lie; the last codes, and those of a broken run of a mask, do not."""
    x, codes, searches = few_queries_of_rows(n_words)
    for queries, arguments, expected in searches:
        assert_hits(fh.asymmetric_topk(queries, codes, 20, **arguments, kernel=kernel), expected)
    unaligned = torch.empty(codes.numel() + 1, dtype=torch.uint8)[1:].view(codes.shape).copy_(codes)
    assert_hits(fh.asymmetric_topk(x[:1], unaligned, 20, kernel=kernel), expected_hits(x[:1], codes, 20, 4))
    nothing = torch.zeros_like(x[:1])
    assert_hits(fh.asymmetric_topk(nothing, codes, 20, kernel=kernel), expected_hits(nothing, codes, 20, 4))


def expected_scores(projections, codes, k, bits, factors, offsets, mask=None):
    """By all scores, rounded at every step, and a stable sort."""
    weights, scale = weights_of(projections, bits)
    eligible = np.arange(len(codes)) if mask is None else np.flatnonzero(mask.numpy())
    dense = (weights @ signs(codes, projections.shape[1])[eligible].T).astype(scale.dtype) * scale[:, None]
    if factors is not None:
        dense = dense * factors.numpy()[eligible].astype(scale.dtype)
    if offsets is not None:
        dense = dense + offsets.numpy()[eligible].astype(scale.dtype)
    scores, ids = np.full((len(projections), k), -np.inf, scale.dtype), np.full((len(projections), k), -1)
    order = np.argsort(-dense, axis=1, kind="stable")[:, :k]
    scores[:, : order.shape[1]] = np.take_along_axis(dense, order, 1)
    ids[:, : order.shape[1]] = eligible[order]
    return scores, ids


FACTORS = {
    "alike": lambda n: torch.from_numpy(np.random.default_rng(4).uniform(0.9, 1.1, n).astype(np.float32)),
    "norms": lambda n: torch.from_numpy(np.random.default_rng(5).lognormal(0, 2, n).astype(np.float32)),
    "signed": lambda n: torch.from_numpy(np.random.default_rng(6).standard_normal(n).astype(np.float32)),
    "few": lambda n: torch.arange(n) % 3 * 0.5,
    "none": lambda n: None,
}


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("factors", FACTORS)
def test_factors_and_offsets(kernel, factors):
    search, f = kernel.function("asymmetric_topk"), FACTORS[factors](2_300)
    offsets = 20 * torch.from_numpy(np.random.default_rng(7).standard_normal(2_300, np.float32))
    for n_bits, dtype in ((8, torch.float32), (61, torch.float64), (200, torch.float32)):
        codes, x = random_codes(2_300, n_bits), random_queries(4, n_bits, dtype=dtype)
        x[1] = 0
        codes[::97] = codes[5]  # ties, where factors are few
        half, few = random_mask(2_300, 0.5), random_mask(2_300, 0.02)
        for o, mask, k in ((None, None, 10), (offsets, None, 1), (offsets, half, 30), (None, few, 2_400)):
            if f is None and o is None:
                continue
            packed = None if mask is None else fh.pack_bits(mask[None])[0]
            given = on_kernel_device(kernel, x, codes), on_kernel_device(kernel, packed, f, o)
            found = search(*given[0], k, 4, given[1][0], 2, *given[1][1:])
            assert_hits(fh.ScoredHits(*found), expected_scores(x, codes, k, 4, f, o, mask))


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, *COMPILED))
@pytest.mark.parametrize("threads", [1, 3])
def test_large_searches_with_factors_at_every_level(kernel, threads):
    """Clustered codes, for which most planes are left out; the near ones last, so that limits fall late."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, 128, generator=generator)
    items = centres.repeat_interleave(900, 0) + 0.5 * torch.randn(36_000, 128, generator=generator)
    codes, x = fh.pack_bits(items), centres[[39, 38, 0, 20]] + 0.5 * torch.randn(4, 128, generator=generator)
    squares = items.square().sum(1)
    factors, mask = squares / items.abs().sum(1), random_mask(len(codes), 0.3)
    for f, o in ((factors, None), (2 * factors, -squares)):
        for k, eligible in ((1, None), (10, mask), (600, None)):
            found = fh.asymmetric_topk(x, codes, k, factors=f, offsets=o, mask=eligible, threads=threads, kernel=kernel)
            assert_hits(found, expected_scores(x, codes, k, 4, f, o, eligible))


def test_factors_recall_inner_products_and_distances():
    """Of vectors of unlike lengths, which signs do not tell."""
    generator = torch.Generator().manual_seed(0)
    items = torch.randn(4_000, 64, generator=generator) * (1 + torch.rand(4_000, 1, generator=generator))
    x = torch.randn(50, 64, generator=generator)
    codes, squares = fh.pack_bits(items), items.square().sum(1)
    factors = squares / items.abs().sum(1)

    def recall(found, exact):
        return (found.ids[:, :, None] == exact.topk(10, dim=1).indices[:, None]).any(2).float().mean().item()

    plain = fh.asymmetric_topk(x, codes, 10)
    product = fh.asymmetric_topk(x, codes, 10, factors=factors)
    assert recall(plain, x @ items.T) + 0.1 < recall(product, x @ items.T)
    distance = fh.asymmetric_topk(x, codes, 10, factors=2 * factors, offsets=-squares)
    assert recall(plain, -torch.cdist(x, items)) + 0.1 < recall(distance, -torch.cdist(x, items))


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, *COMPILED, "reference", "torch"))
def test_factors_of_degenerate_inputs(kernel):
    codes, x = random_codes(9, 16), random_queries(2, 16)
    ones = torch.ones(9)
    zeros = fh.asymmetric_topk(x, codes, 3, factors=0 * ones, kernel=kernel)
    assert zeros.ids.tolist() == [[0, 1, 2]] * 2
    none = fh.asymmetric_topk(x, codes[:0], 2, factors=ones[:0], kernel=kernel)
    assert none.ids.tolist() == [[-1, -1]] * 2
    assert none.scores.tolist() == [[-torch.inf] * 2] * 2
    assert fh.asymmetric_topk(x[:0], codes, 2, offsets=ones, kernel=kernel).ids.shape == (0, 2)
    constant = fh.asymmetric_topk(x, codes, 9, factors=ones, offsets=-0.0 * ones, kernel=kernel)
    assert torch.equal(constant.scores, fh.asymmetric_topk(x, codes, 9).scores)
    largest = 3e38
    huge = fh.asymmetric_topk(largest * x.sign(), codes, 9, factors=torch.arange(9.0), kernel=kernel)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = expected_scores(largest * x.sign(), codes, 9, 4, torch.arange(9.0), None)[0]
    expected = np.where(np.isnan(expected), -np.inf, expected)  # infinity times 0
    np.testing.assert_array_equal(huge.scores, np.sort(expected)[:, ::-1])
    assert huge.ids.sort().values.tolist() == [list(range(9))] * 2
    some = torch.arange(9) % 2 == 1
    masked = fh.asymmetric_topk(largest * x.sign(), codes, 6, factors=0 * ones, mask=some, kernel=kernel)
    assert masked.ids[:, :4].sort().values.tolist() == [[1, 3, 5, 7]] * 2
    assert (masked.ids[:, 4:] == -1).all()


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, None, "reference", "torch"))
@pytest.mark.parametrize("name", ["factors", "offsets"])
def test_factors_that_are_not_finite_are_refused(kernel, name):
    given = torch.ones(5)
    given[3] = torch.nan
    message = f"^asymmetric_topk: expected {name} to be finite, got nan at 3$"
    with pytest.raises(ValueError, match=message):
        fh.asymmetric_topk(random_queries(3, 16), random_codes(5, 16), 2, kernel=kernel, **{name: given})


def test_many_queries_at_a_time():
    codes, x = random_codes(20_000, 48), random_queries(600, 48)
    assert_hits(fh.asymmetric_topk(x, codes, 7, threads=2), expected_hits(x, codes, 7, 4))


@given(data=st.data())
def test_random_shapes(data):
    n, n_bits = data.draw(st.integers(0, 300)), data.draw(st.integers(1, 150))
    bits, k = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 320))
    seed, levels = data.draw(st.integers(0, 1_000)), data.draw(st.sampled_from([1, 2, 7, 1_000]))
    codes, x = random_codes(n, n_bits, seed), (random_queries(3, n_bits, seed) * levels).round() / 8
    mask = data.draw(st.none() | st.just(random_mask(n, 0.6, seed)))
    kernel = data.draw(st.sampled_from([name for name in KERNELS if not KERNELS[name].missing()]))
    found = fh.asymmetric_topk(x, codes, k, bits=bits, mask=mask, kernel=kernel)
    assert_hits(found, expected_hits(x, codes, k, bits, mask))


@pytest.mark.parametrize("bits", range(1, 9))
def test_scores_are_near_the_inner_products(bits):
    codes, x = random_codes(500, 200), random_queries(4, 200, dtype=torch.float64)
    scores, ids = fh.asymmetric_topk(x, codes, 500, bits=bits)
    exact = np.take_along_axis(x.numpy() @ signs(codes, 200).T, ids.numpy(), 1)
    weights, scale = weights_of(x, bits)
    bound = np.abs(x.numpy() - scale[:, None] * weights).sum(1, keepdims=True)
    assert (np.abs(scores.numpy() - exact) <= bound * (1 + 1e-9)).all()
    if bits > 1:
        assert (bound[:, 0] <= 200 * scale / 2).all()


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, *COMPILED))
def test_one_bit_is_the_order_of_the_hamming_distance(kernel):
    codes, x = random_codes(3_000, 64), random_queries(6, 64)
    x[0, 3] = 0
    nearest = fh.hamming_topk(fh.pack_bits(x), codes, 50)
    found = fh.asymmetric_topk(x, codes, 50, bits=1, kernel=kernel)
    assert torch.equal(found.ids, nearest.ids)
    scale = x.abs().amax(1, keepdim=True)
    torch.testing.assert_close(found.scores, scale * (64 - 2 * nearest.distances), rtol=1e-6, atol=0)


def test_more_bits_recall_more():
    generator = torch.Generator().manual_seed(0)
    items, x = torch.randn(4_000, 64, generator=generator), torch.randn(50, 64, generator=generator)
    exact = (x @ items.T).topk(10, dim=1).indices
    recalls = []
    for bits in (1, 2, 4, 8):
        ids = fh.asymmetric_topk(x, fh.pack_bits(items), 10, bits=bits).ids
        recalls.append((ids[:, :, None] == exact[:, None]).any(2).float().mean().item())
    assert recalls[0] + 0.03 < recalls[2]
    assert abs(recalls[2] - recalls[3]) < 0.03


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, *COMPILED, "reference", "torch"))
def test_degenerate_inputs(kernel):
    codes = random_codes(9, 16)
    zeros = fh.asymmetric_topk(torch.zeros(2, 16), codes, 3, kernel=kernel)
    assert zeros.ids.tolist() == [[0, 1, 2]] * 2
    assert zeros.scores.tolist() == [[0, 0, 0]] * 2
    equal = fh.asymmetric_topk(random_queries(2, 16), codes[:1].repeat(2_000, 1), 4, kernel=kernel)
    assert equal.ids.tolist() == [[0, 1, 2, 3]] * 2
    none = fh.asymmetric_topk(random_queries(2, 16), codes[:0], 2, kernel=kernel)
    assert none.ids.tolist() == [[-1, -1]] * 2
    assert none.scores.tolist() == [[-torch.inf] * 2] * 2
    assert fh.asymmetric_topk(torch.empty(0, 16), codes, 2, kernel=kernel).ids.shape == (0, 2)
    tiny = fh.asymmetric_topk(torch.full((1, 16), 1e-45), codes, 1, kernel=kernel)
    assert tiny.ids.tolist() == [[int(np.unpackbits(codes.numpy(), axis=1).sum(1).argmax())]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_precisions(dtype):
    codes, x = random_codes(800, 72), random_queries(3, 72, dtype=dtype)
    found = fh.asymmetric_topk(x, codes, 5)
    assert found.scores.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_hits(found, expected_hits(x, codes, 5, 4))


def test_numpy_torch_and_strides():
    codes, x = random_codes(300, 40), random_queries(4, 40)
    expected = expected_hits(x, codes, 3, 4)
    found = fh.asymmetric_topk(x.numpy(), codes.numpy(), 3)
    assert isinstance(found.scores, np.ndarray)
    np.testing.assert_array_equal(found.ids, expected[1])
    assert_hits(fh.asymmetric_topk(x.T.contiguous().T, codes.repeat(1, 2)[:, :5], 3), expected)
    assert_hits(fh.asymmetric_topk(x.requires_grad_(), codes, 3), expected)


def test_the_op_is_registered_as_torch_wants_it():
    codes, x = random_codes(90, 24), random_queries(3, 24)
    mask = fh.pack_bits(random_mask(90, 0.5)[None])[0]
    for dtype in (torch.float32, torch.float64, torch.float16):
        opcheck(torch.ops.fasthash.asymmetric_topk, (x.to(dtype), codes, 5, 4, None, 1))
    opcheck(torch.ops.fasthash.asymmetric_topk, (x, codes, 5, 4, mask, 1))
    opcheck(torch.ops.fasthash.asymmetric_topk, (x, codes, 5, 4, mask, 1, torch.rand(90), torch.rand(90)))


def test_compiles_without_a_graph_break():
    codes, x = random_codes(90, 24), random_queries(3, 24)
    compiled = torch.compile(lambda q: fh.asymmetric_topk(q * 1, codes, 5), fullgraph=True, backend="aot_eager")
    assert_hits(compiled(x), expected_hits(x, codes, 5, 4))


def test_threads_at_once():
    codes, x = random_codes(30_000, 64), random_queries(8, 64)
    expected, found = expected_hits(x, codes, 5, 4), {}

    def search(i):
        found[i] = fh.asymmetric_topk(x, codes, 5, threads=2)

    threads = [threading.Thread(target=search, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        assert_hits(found[i], expected)


def test_an_interrupt_stops_a_long_search():
    codes, x = random_codes(20_000, 256).repeat(100, 1), random_queries(8_000, 256)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fh.asymmetric_topk(x, codes, 10)
    timer.join()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"projections": torch.ones(2, 16, dtype=torch.uint8)}, TypeError, "projections of a floating-point dtype"),
        ({"projections": torch.ones(16)}, ValueError, r"projections of shape \[n, n_bits\], got \[16\]"),
        ({"projections": torch.ones(2, 17)}, ValueError, "projections of 9 to 16 columns for codes of 2 bytes, got 17"),
        ({"projections": torch.ones(2, 8)}, ValueError, "projections of 9 to 16 columns for codes of 2 bytes, got 8"),
        ({"codes": torch.ones(5, 2)}, TypeError, "codes of dtype uint8"),
        ({"bits": 0}, ValueError, "bits from 1 to 8, got 0"),
        ({"bits": 9}, ValueError, "bits from 1 to 8, got 9"),
        ({"k": 0}, ValueError, "k .*1.*, got 0"),
        ({"factors": torch.ones(4)}, ValueError, r"factors of shape \[5\], one a code, got \[4\]"),
        ({"offsets": torch.ones(5).double()}, TypeError, "offsets of dtype float32, got float64"),
        ({"mask": torch.ones(4, dtype=torch.bool)}, ValueError, r"mask of shape \[5\] for 5 codes, got \[4\]"),
    ],
)
def test_bad_input(arguments, error, message):
    given_ = {"projections": torch.ones(2, 16), "codes": random_codes(5, 16), "k": 2, **arguments}
    with pytest.raises(error, match=f"^asymmetric_topk: expected {message}"):
        fh.asymmetric_topk(**given_)


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, None, "reference", "torch"))
@pytest.mark.parametrize(("value", "name"), [(torch.nan, "nan"), (torch.inf, "inf"), (-torch.inf, "-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64], ids=str)
def test_projections_that_are_not_finite_are_refused(kernel, value, name, dtype):
    x = random_queries(3, 16, dtype=dtype)
    x[1, 4], x[2, 0] = value, value
    message = f"^asymmetric_topk: expected projections to be finite, got {name} in row 1, column 4$"
    with pytest.raises(ValueError, match=message):
        fh.asymmetric_topk(x, random_codes(5, 16), 2, kernel=kernel)


def test_the_reference_quantises_as_the_docstring_says():
    x = random_queries(4, 30)
    for bits in range(1, 9):
        weights, scale = reference.quantized(x, 4, bits)
        expected = weights_of(x, bits)
        np.testing.assert_array_equal(weights[:, :30].numpy(), expected[0])
        assert not weights[:, 30:].any()
        np.testing.assert_array_equal(scale.numpy(), expected[1])
