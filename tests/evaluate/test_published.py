"""What the loops of published code print for the same codes, by their formulas, and which rule is theirs."""

from __future__ import annotations

import numpy as np
import pytest

import fasthash as fh
from fasthash.evaluate import mean_average_precision, precision_at, precision_recall_by_rank, precision_within

Q, N, N_LABELS = 40, 3000, 8


def over_hits(relevant, k):
    """HashNet, CSQ: over the first k, and a mean over the queries that have a hit there."""
    values = []
    for row in relevant[:, :k]:
        precision = np.cumsum(row) / np.arange(1, len(row) + 1)
        if row.any():
            values.append((precision * row).sum() / row.sum())
    return np.mean(values)


def over_all(relevant, k):
    """DeepHash-pytorch and kin: the same, divided by all queries; k = -1 is a slice that leaves the last item out."""
    total = 0.0
    for row in relevant:
        places = np.flatnonzero(row[0:k]) + 1
        if len(places):
            total += np.mean(np.arange(1, len(places) + 1) / places)
    return total / len(relevant)


def of_whole_rankings(relevant):
    """DPSH and DCMH without a cut: over all items, divided by all queries."""
    return over_all(relevant, relevant.shape[1])


@pytest.fixture(params=[8, 48], ids=["many ties", "some ties"])
def case(request):
    """Real outputs of queries and items, whose signs are the codes, and labels; of the last queries no item has any."""
    rng = np.random.default_rng(request.param)
    labels, query_labels = rng.random((N, N_LABELS)) < 0.02, rng.random((Q, N_LABELS)) < 0.2
    labels[:, -1] = False
    query_labels[-4:, :-1] = False
    query_labels[-4:, -1] = True
    directions = rng.standard_normal((N_LABELS, request.param))
    outputs, query_outputs = (
        (y @ directions + rng.standard_normal((len(y), request.param))).astype(np.float32)
        for y in (labels, query_labels)
    )
    return query_outputs, query_labels, outputs, labels


def signs(case):
    return np.where(case[0] > 0, 1.0, -1.0), case[1], np.where(case[2] > 0, 1.0, -1.0), case[3]


def ours(case):
    return fh.pack_bits(case[0]), case[1], fh.pack_bits(case[2]), case[3]


def relevance(case):
    return case[1].astype(int) @ case[3].T.astype(int) > 0


def ranked(case, kind="stable"):
    """Relevance by rank of a sort of the distances, 0.5 (b - <u, v>), which is one of -<u, v> too."""
    u, _, v, _ = signs(case)
    order = np.argsort(0.5 * (u.shape[1] - u @ v.T), axis=1, kind=kind)
    assert kind != "stable" or np.array_equal(order, np.argsort(-(v @ u.T), axis=0, kind=kind).T)
    return np.take_along_axis(relevance(case), order, 1)


@pytest.mark.parametrize("k", [5, 1000, N])
def test_means_over_the_queries_with_a_hit_or_over_all(case, k):
    relevant = ranked(case)
    assert not relevant.any(1).all()
    settings = {"at": k, "ties": "index"}
    published = over_hits(relevant, k), over_all(relevant, k)
    assert mean_average_precision(*ours(case), **settings, unanswered="skip_unfound") == pytest.approx(published[0])
    assert mean_average_precision(*ours(case), **settings) == pytest.approx(published[1])
    assert k == N or published[0] > published[1]


def test_a_topk_of_minus_one(case):
    relevant = ranked(case)
    everything = of_whole_rankings(relevant)
    for at in (None, -1, N):
        assert mean_average_precision(*ours(case), at=at, ties="index") == pytest.approx(everything)
    without_the_last = over_all(relevant, -1)
    assert mean_average_precision(*ours(case), at=N - 1, ties="index") == pytest.approx(without_the_last)


@pytest.mark.parametrize("k", [5, 1000, N])
def test_an_unstable_sort_is_between_the_bounds(case, k):
    relevant = ranked(case, "quicksort")
    low, high = (mean_average_precision(*ours(case), at=k, ties=ties) for ties in ("pessimistic", "optimistic"))
    assert low <= over_all(relevant, k) <= high
    expected = mean_average_precision(*ours(case), at=k)
    orders = []
    for seed in range(30):
        order = np.random.default_rng(seed).permutation(N)
        shuffled = case[0], case[1], case[2][order], case[3][order]
        orders.append(over_all(ranked(shuffled), k))
    assert abs(np.mean(orders) - expected) < 4 * np.std(orders) / len(orders) ** 0.5 + 1e-12


@pytest.mark.parametrize("k", [5, 1000, N])
def test_outputs_that_rerank_each_distance(case, k):
    """DCH's reranking: at each distance by descending inner product of the real outputs; here in double precision."""
    u, v = case[0].astype(float), case[2].astype(float)
    distances = fh.hamming_distance(fh.pack_bits(case[0]), fh.pack_bits(case[2]))
    settings = {"at": k, "query_embeddings": case[0], "embeddings": case[2]}
    for ties, scores in (("inner_product", u @ v.T), ("cosine", u @ v.T / np.linalg.norm(v, axis=1))):
        order = np.lexsort((-scores, distances), axis=1)
        relevant = np.take_along_axis(relevance(case), order, 1)
        hits = mean_average_precision(*ours(case), ties=ties, unanswered="skip_unfound", **settings)
        assert hits == pytest.approx(over_hits(relevant, k), abs=1e-7)
        assert mean_average_precision(*ours(case), ties=ties, **settings) == pytest.approx(
            over_all(relevant, k), abs=1e-7
        )


def test_within_a_radius(case):
    distances = fh.hamming_distance(fh.pack_bits(case[0]), fh.pack_bits(case[2]))
    radius = int(np.quantile(distances, 0.01))
    relevant = ranked(case)
    n_within = (distances <= radius).sum(1)
    precision = np.mean([row[:n].mean() if n else 0 for row, n in zip(relevant, n_within, strict=True)])
    assert precision_within(radius, *ours(case)) == pytest.approx(precision)
    averages = [over_all(row[None, :n], n) if n else 0 for row, n in zip(relevant, n_within, strict=True)]
    assert mean_average_precision(*ours(case), within=radius, ties="index") == pytest.approx(np.mean(averages))


def test_curves_by_rank(case):
    relevant = ranked(case)
    curves = precision_recall_by_rank(*ours(case), at=1000, ties="index")
    found = relevant.cumsum(1)[:, :1000]
    np.testing.assert_allclose(curves.precision, (found / np.arange(1, 1001)).mean(0))
    answered = relevant.any(1)
    np.testing.assert_allclose(curves.recall, (found[answered] / relevant[answered].sum(1, keepdims=True)).mean(0))
    assert precision_at(1000, *ours(case), ties="index") == pytest.approx(curves.precision[-1])


def test_queries_that_are_items(case):
    own = case[2], case[3], case[2], case[3]
    u = signs(own)[0]
    order = np.argsort(-(u @ u.T) + np.diag(np.full(N, np.inf)), axis=1, kind="stable")[:, :-1]
    relevant = np.take_along_axis(relevance(own), order, 1)
    for k in (5, 1000):
        left_out = mean_average_precision(*ours(own), at=k, ties="index", leave_one_out=True)
        assert left_out == pytest.approx(over_all(relevant, k))
