from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from tests.conftest import named
from tests.index.conftest import random_codes


def second_search(hamming, distances, k, n_candidates):
    """Ids and distances of the nearest by a dense second distance among candidates, by sorting; ties as documented."""
    positions = np.broadcast_to(np.arange(hamming.shape[1]), hamming.shape)
    candidates = np.lexsort((positions, hamming))[:, :n_candidates]
    hamming, distances = (np.take_along_axis(x, candidates, axis=1) for x in (hamming, distances))
    order = np.lexsort((candidates, hamming, distances))[:, :k]
    return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(distances, order, axis=1)


def dense_distances(queries, vectors, metric):
    q, v = queries.astype(np.float64), vectors.astype(np.float64)
    return -(q @ v.T) if metric == "inner_product" else ((q[:, None] - v) ** 2).sum(-1)


def small_integers(n, d, seed):
    """Vectors of which every product is exact in float16: many ties."""
    return np.random.default_rng(seed).integers(-2, 3, (n, d)).astype(np.float32)


@pytest.mark.parametrize("factor", [1, 3, 10, 1000])
@pytest.mark.parametrize("metric", ["inner_product", "l2"])
@pytest.mark.parametrize("dtype", [torch.int8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_reranking_by_vectors_is_sorting_the_candidates(make, dtype, metric, factor, monkeypatch):
    index = make(32)
    index.add(random_codes(50))
    codes, vectors, queries = random_codes(6, seed=1), small_integers(50, 8, 2), small_integers(6, 8, 3)
    expected = second_search(
        fh.hamming_distance(codes, random_codes(50)), dense_distances(queries, vectors, metric), 5, 5 * factor
    )
    for block in (1, 100, 2**22):
        monkeypatch.setattr("fasthash.index.rerank._BLOCK", block)
        found = index.search(
            torch.from_numpy(codes),
            5,
            rerank=torch.from_numpy(vectors).to(dtype),
            rerank_queries=torch.from_numpy(queries),
            metric=metric,
            factor=factor,
        )
        np.testing.assert_array_equal(found.ids, expected[0])
        np.testing.assert_array_equal(found.distances, expected[1])
        assert found.distances.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_reranking_by_vectors_in_a_file(make, tmp_path):
    vectors, queries = small_integers(50, 8, 2).astype(np.float16), small_integers(6, 8, 3)
    np.save(tmp_path / "vectors.npy", vectors)
    index = make(32)
    index.add(random_codes(50), ids=np.arange(50)[::-1].copy() * 10)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    mask = np.arange(50) % 2 == 0
    found = index.search(random_codes(6, seed=1), 30, mask=mask, rerank=mapped, rerank_queries=queries)
    assert isinstance(found.distances, np.ndarray)
    hamming = fh.hamming_distance(random_codes(6, seed=1), random_codes(50)[mask])
    positions, distances = second_search(hamming, dense_distances(queries, vectors[mask], "inner_product"), 25, 50)
    np.testing.assert_array_equal(found.ids[:, :25], index.ids.numpy()[mask][positions])
    np.testing.assert_array_equal(found.distances[:, :25], distances)
    assert (found.ids[:, 25:] == -1).all()
    assert np.isposinf(found.distances[:, 25:]).all()


def quantized(x, precision, ranges):
    """By the formulas of sentence-transformers' `quantize_embeddings`."""
    starts = ranges[0].astype(np.float32)
    steps = (ranges[1].astype(np.float32) - starts) / 255
    steps = np.where(steps == 0, 1, steps)
    values = np.clip(np.floor((x - starts) / steps), 0, 255)
    return (values.astype(np.uint8) if precision == "uint8" else (values - 128).astype(np.int8)), starts, steps


def test_calibrated_int8_vectors_rerank_as_published_and_by_their_ranges():
    rng = np.random.default_rng(0)
    scales = np.float32([1, 3, 0.1, 10, 0, 2, 2, 0.5])  # a dimension that is constant among them
    x, queries = ((rng.standard_normal((n, 8)) * scales).astype(np.float32) for n in (300, 7))
    calibration = x[:100]  # outside of whose ranges some others lie
    small, starts, steps = quantized(x, "int8", np.vstack([calibration.min(0), calibration.max(0)]))
    assert (small.min(), small.max()) == (-128, 127)
    unsigned, _, _ = quantized(x, "uint8", np.vstack([calibration.min(0), calibration.max(0)]))
    np.testing.assert_array_equal((unsigned ^ 128).view(np.int8), small)
    index = fh.FlatIndex(8)
    index.add(fh.pack_bits(x))
    codes = fh.pack_bits(queries)
    restored = starts + steps * (small.astype(np.float64) + 128.5)
    within = (x >= calibration.min(0)) & (x <= calibration.max(0)) & (scales > 0)
    assert (np.abs(restored - x)[within] <= 0.51 * np.broadcast_to(steps, x.shape)[within]).all()
    published = np.einsum("ij,kj->ik", queries.astype(np.float64), small.astype(int))
    calibrated = queries.astype(np.float64) @ restored.T
    for asked, scores in ((queries, published), (queries * steps, calibrated)):
        found = index.search(codes, 20, rerank=small, rerank_queries=asked, factor=15)  # all are candidates
        best = -np.sort(-scores, axis=1)[:, :20]
        np.testing.assert_allclose(np.take_along_axis(scores, found.ids, axis=1), best, rtol=1e-4)


def test_codes_rerank_as_the_rescoring_of_sentence_transformers():
    """Its score is that of the bits as 0 and 1, which orders as -1 and 1 do."""
    queries, codes = small_integers(6, 24, 3) + np.float32(0.25), random_codes(200, 3)
    index = fh.FlatIndex(24)
    index.add(codes)
    found = index.search(fh.pack_bits(queries), 5, rerank="asymmetric", rerank_queries=queries, factor=4)
    candidates = fh.hamming_topk(fh.pack_bits(queries), codes, 20).ids
    unpacked = np.unpackbits(fh.to_hashes(codes, "uint8", 24), axis=-1)[candidates].astype(int)
    scores = np.einsum("ij,ikj->ik", queries, unpacked)
    np.testing.assert_array_equal(-np.sort(-scores, axis=1)[:, :5] * -2 + queries.sum(1)[:, None], found.distances)


@pytest.mark.parametrize("n_bits", [27, 32])
def test_asymmetric_distances_are_those_of_unpacked_codes(make, n_bits):
    index = make(n_bits)
    codes = fh.pack_bits(np.random.default_rng(0).standard_normal((50, n_bits)))
    index.add(codes)
    queries = small_integers(6, n_bits, 3)
    packed = fh.pack_bits(queries)
    for metric in ("inner_product", "l2"):
        found = index.search(packed, 5, rerank="asymmetric", rerank_queries=queries, metric=metric)
        dense = dense_distances(queries, fh.unpack_bits(codes, n_bits), metric)
        positions, distances = second_search(fh.hamming_distance(packed, codes), dense, 5, 50)
        np.testing.assert_array_equal(found.ids, positions)
        np.testing.assert_array_equal(found.distances, distances)


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy])
def test_reranking_by_a_function_of_ids(make, as_given):
    index = make(32)
    index.add(random_codes(20), ids=np.arange(20) + 100)
    queries = as_given(random_codes(3, seed=1))
    candidates = []

    def later_is_nearer(ids):
        candidates.append(ids)
        return -1.0 * ids

    found = index.search(queries, 4, rerank=later_is_nearer, factor=3)
    assert type(found.ids) is type(found.distances) is type(candidates[0]) is type(queries)
    nearest = np.asarray(index.search(queries, 12).ids)
    np.testing.assert_array_equal(candidates[0], nearest)
    np.testing.assert_array_equal(found.ids, -np.sort(-nearest)[:, :4])
    np.testing.assert_array_equal(found.distances, -1.0 * np.asarray(found.ids))
    few = index.search(queries, 25, rerank=later_is_nearer)
    assert (few.ids[:, 20:] == -1).all()
    assert np.isposinf(np.asarray(few.distances[:, 20:])).all()
    nan = index.search(queries, 20, rerank=lambda ids: as_given(np.where(np.asarray(ids) == 105, np.nan, 1.0)))
    assert (nan.ids[:, -1] == 105).all()


@pytest.mark.parametrize("ids", [None, np.arange(20) + 100])
@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy])
def test_a_function_may_write_to_the_ids_that_it_gets(make, as_given, ids):
    index = make(32)
    index.add(random_codes(20), ids)
    queries = as_given(random_codes(3, seed=1))

    def writing(given):
        distances = -1.0 * given
        given[:] = 7
        return distances

    found, expected = (index.search(queries, 25, rerank=rerank) for rerank in (writing, lambda given: -1.0 * given))
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_reranking_nothing(make):
    index = make(32)
    found = index.search(
        random_codes(2), 3, rerank=np.empty((0, 8), np.float32), rerank_queries=np.ones((2, 8), np.float32)
    )
    assert found.ids.tolist() == [[-1] * 3] * 2
    assert np.isposinf(found.distances).all()
    index.add(random_codes(5))
    for k in (3, 2**45):  # of no query there are as many without memory
        found = index.search(
            random_codes(0), k, rerank=np.ones((5, 8), np.float32), rerank_queries=np.empty((0, 8), np.float32)
        )
        assert found.ids.shape == found.distances.shape == (0, k)


def test_reranking_finds_more_of_the_true_neighbours(digits):
    embeddings = digits[0] - digits[0].mean(0)
    base, queries = embeddings[:1500], embeddings[1500:]
    hasher = fh.hashers.ITQ(n_bits=24).fit(base)
    index = fh.FlatIndex(24)
    index.add(hasher.encode(base))
    codes, projections = hasher.encode(queries), hasher.transform(queries)
    dense = dense_distances(queries, base, "l2")
    true = np.argsort(dense, axis=1)[:, :10]

    def recall(hits):
        return np.mean([len(set(found) & set(nearest)) / 10 for found, nearest in zip(hits.ids, true, strict=True)])

    plain = recall(index.search(codes, 10))
    asymmetric = recall(index.search(codes, 10, rerank="asymmetric", rerank_queries=projections))
    exact = recall(index.search(codes, 10, rerank=base, rerank_queries=queries, metric="l2"))
    assert plain < asymmetric < exact
    everything = index.search(codes, 10, rerank=base, rerank_queries=queries, metric="l2", factor=150)
    np.testing.assert_allclose(everything.distances, np.sort(dense)[:, :10], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rerank": np.ones((50, 8))}, ValueError, "expected rerank_queries, which rerank compares with, got none"),
        ({"rerank_queries": np.ones((3, 8))}, ValueError, "expected rerank_queries only with vectors or codes"),
        (
            {"rerank": lambda ids: ids, "rerank_queries": np.ones((3, 8))},
            ValueError,
            "expected rerank_queries only with vectors or codes",
        ),
        ({"rerank": lambda ids: ids}, TypeError, "expected what rerank returns of a floating-point dtype, got int64"),
        (
            {"rerank": lambda ids: np.ones(3)},
            ValueError,
            r"expected what rerank returns of shape \[3, 50\], got \[3\]",
        ),
        (
            {"rerank": np.ones((49, 8)), "rerank_queries": np.ones((3, 8))},
            ValueError,
            "expected rerank with 50 rows, one a code, got 49",
        ),
        (
            {"rerank": np.ones((50, 8), int), "rerank_queries": np.ones((3, 8))},
            TypeError,
            "expected rerank of a floating-point dtype, got int64",
        ),
        (
            {"rerank": np.ones(50), "rerank_queries": np.ones((3, 8))},
            ValueError,
            r"expected rerank of shape \[n, d\], got \[50\]",
        ),
        (
            {"rerank": np.ones((50, 8)), "rerank_queries": np.ones((3, 7))},
            ValueError,
            r"expected rerank_queries of shape \[3, 8\], got \[3, 7\]",
        ),
        (
            {"rerank": "asymmetric", "rerank_queries": np.ones((3, 8))},
            ValueError,
            r"expected rerank_queries of shape \[3, 32\], got \[3, 8\]",
        ),
        (
            {"rerank": "asymmetric", "rerank_queries": np.ones((3, 32), int)},
            TypeError,
            "expected rerank_queries of a floating-point dtype, got int64",
        ),
        (
            {"rerank": "floats", "rerank_queries": np.ones((3, 32))},
            ValueError,
            "expected rerank to be vectors \\[n, d\\], a function or 'asymmetric', got 'floats'",
        ),
        (
            {"rerank": np.ones((50, 8)), "rerank_queries": np.ones((3, 8)), "metric": "cosine"},
            ValueError,
            "expected metric to be one of 'inner_product', 'l2', got 'cosine'",
        ),
        (
            {"rerank": np.ones((50, 8)), "rerank_queries": np.ones((3, 8)), "factor": 0},
            ValueError,
            "expected factor at least 1, got 0",
        ),
        (
            {"rerank": np.ones((50, 8)), "rerank_queries": np.ones((3, 8)), "k": 0},
            ValueError,
            "expected k at least 1, got 0",
        ),
    ],
    ids=named,
)
def test_bad_reranking(index, arguments, error, message):
    with pytest.raises(error, match=f"{type(index).__name__}.search: {message}"):
        index.search(random_codes(3), **{"k": 5} | arguments)


def test_vectors_are_those_of_the_codes_that_are_left(make):
    """Where so few are removed that the others stay where they are."""
    rng = np.random.default_rng(0)
    vectors, queries = (rng.standard_normal((n, 5)).astype(np.float32) for n in (80, 4))
    index = make(32)
    index.add(random_codes(80))
    index.remove([2, 40, 41])
    assert index._contents.live is not None
    left = np.delete(vectors, [2, 40, 41], axis=0)
    found = index.search(random_codes(4), 77, rerank=left, rerank_queries=queries)
    order = np.argsort(-(queries @ left.T), axis=1, kind="stable")
    np.testing.assert_array_equal(found.ids, np.asarray(index.ids)[order])
