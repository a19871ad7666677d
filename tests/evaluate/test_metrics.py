from __future__ import annotations

from fractions import Fraction
from functools import partial
from itertools import pairwise, permutations
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.evaluate import (
    mean_average_precision,
    precision_at,
    precision_recall_by_rank,
    precision_recall_curve,
    precision_within,
    recall_at,
)
from fasthash.evaluate.names import TIES
from tests.evaluate.conftest import small_retrieval


def orders(distances):
    """Every ranking by distance, over all orders of the ties."""
    ids = range(len(distances))
    return [order for order in permutations(ids) if all(distances[a] <= distances[b] for a, b in pairwise(order))]


def average_precision(relevance):
    found, total = 0, Fraction(0)
    for place, relevant in enumerate(relevance, start=1):
        found += relevant
        total += Fraction(relevant * found, place)
    return total / found if found else Fraction(0)


def as_ranked(retrieval):
    """For every query, the relevance by rank of every order of the ties, the database's own order first."""
    query_codes, query_labels, codes, labels = retrieval
    for code, label in zip(query_codes, query_labels, strict=True):
        distances = [bin(int(code[0] ^ other[0])).count("1") for other in codes]
        yield [[int(labels[i] == label) for i in order] for order in orders(distances)]


CHOSEN = {  # of all orders: those of a group of ties compare by where its relevant items are
    "expected": lambda orders: orders,
    "optimistic": lambda orders: [max(orders)],
    "pessimistic": lambda orders: [min(orders)],
    "index": lambda orders: [orders[0]],
}


@given(small_retrieval())
def test_ties_against_all_orders(retrieval):
    n = len(retrieval[2])
    ranked = list(as_ranked(retrieval))
    relevant = [sum(rows[0]) for rows in ranked]
    for ties, choose in CHOSEN.items():
        chosen = [choose(rows) for rows in ranked]
        for k in range(1, n + 1):
            averages = [float(sum(average_precision(row[:k]) for row in rows) / len(rows)) for rows in chosen]
            found = [sum(sum(row[:k]) for row in rows) / len(rows) for rows in chosen]
            assert mean_average_precision(*retrieval, at=k, ties=ties) == pytest.approx(np.mean(averages), abs=1e-12)
            assert precision_at(k, *retrieval, ties=ties) == pytest.approx(np.mean(found) / k, abs=1e-12)
            recalls = [f / max(r, 1) for f, r in zip(found, relevant, strict=True)]
            assert recall_at(k, *retrieval, ties=ties) == pytest.approx(np.mean(recalls), abs=1e-12)
        assert mean_average_precision(*retrieval, ties=ties) == mean_average_precision(*retrieval, at=n, ties=ties)
    answered = [a for a, r in zip(averages, relevant, strict=True) if r]
    if answered:
        skipped = mean_average_precision(*retrieval, at=n, ties="index", unanswered="skip")
        assert skipped == pytest.approx(np.mean(answered), abs=1e-12)


@pytest.mark.parametrize("n_relevant", [0, 1, 700, 1999])
def test_a_cut_through_many_ties(n_relevant):
    """Behind 40 items, 10 of them relevant, 500 places are left for 2,000 items."""
    codes = np.repeat(np.array([0, 1], np.uint8), [40, 2000])[:, None]
    labels = np.repeat([1, 0, 1, 0], [10, 30, n_relevant, 2000 - n_relevant])

    def sum_of_precisions(items, relevant, before, relevant_before):
        i = np.arange(items)
        return relevant / items * ((relevant_before + 1 + i * (relevant - 1) / (items - 1)) / (before + 1 + i)).sum()

    ways = [comb(n_relevant, s) * comb(2000 - n_relevant, 500 - s) for s in range(501)]
    expected = sum(
        float(Fraction(ways[s], comb(2000, 500)))
        * (sum_of_precisions(40, 10, 0, 0) + sum_of_precisions(500, s, 40, 10))
        / (10 + s)
        for s in range(501)
    )
    query = np.zeros((1, 1), np.uint8), np.ones(1, int)
    assert mean_average_precision(*query, codes, labels, at=540) == pytest.approx(expected, rel=1e-12)


def embeddings_of(retrieval):
    """Directions with ties: of few, some of them the same."""
    rng = np.random.default_rng(len(retrieval[2]))
    return [rng.integers(-1, 2, (len(x), 2)) + np.array([0.0, 3.0]) for x in (retrieval[0], retrieval[2])]


def settings_of(ties, retrieval):
    if ties not in ("cosine", "inner_product"):
        return {"ties": ties}
    return dict(zip(("query_embeddings", "embeddings"), embeddings_of(retrieval), strict=True)) | {"ties": ties}


def published(retrieval, ties, at, within=None, *, leave_one_out=False):
    """The loop of the field's repositories over queries: what is relevant of the items that count, and of all."""
    query_codes, query_labels, codes, labels = retrieval
    u, v = embeddings_of(retrieval)
    lengths = np.linalg.norm(v, axis=1)
    for i, (code, label) in enumerate(zip(query_codes, query_labels, strict=True)):
        distances = np.array([bin(int(code[0] ^ other[0])).count("1") for other in codes])
        relevant = labels == label
        products = np.round(-v @ u[i], 12)
        second = {"optimistic": ~relevant, "pessimistic": relevant, "inner_product": products}
        second["cosine"] = np.round(products / lengths, 12)
        order = np.lexsort((second.get(ties, 0 * distances), distances))
        order = order[order != i] if leave_one_out else order
        end = len(order) if within is None else int((distances[order] <= within).sum())
        yield relevant[order][: min(at, end)], relevant[order]


@given(
    small_retrieval(),
    st.sampled_from(TIES[1:]),
    st.integers(0, 3),
)
def test_every_rule_against_the_loop(retrieval, ties, within):
    n, settings = len(retrieval[2]), settings_of(ties, retrieval)
    for at in (1, n):
        rows = [row for row, _ in published(retrieval, ties, at, within)]
        averages = np.array([float(average_precision(row.astype(int).tolist())) for row in rows])
        found = np.array([row.any() for row in rows])
        ours = partial(mean_average_precision, *retrieval, at=at, within=within, **settings)
        assert ours() == pytest.approx(averages.mean(), abs=1e-12)
        if found.any():
            assert ours(unanswered="skip_unfound") == pytest.approx(averages[found].mean(), abs=1e-12)
        else:
            with pytest.raises(ValueError, match="expected at least one query with a relevant item among those that"):
                ours(unanswered="skip_unfound")
    for every in (-1, np.int64(-1), np.array(-1), torch.tensor(-1)):
        assert mean_average_precision(*retrieval, at=every, **settings) == mean_average_precision(
            *retrieval, **settings
        )


@given(small_retrieval(), st.sampled_from(TIES[1:]))
def test_queries_that_are_the_database_are_left_out_of_their_own_rankings(retrieval, ties):
    codes, labels = retrieval[2:]
    own = (codes, labels, codes, labels)
    if len(codes) < 2:
        with pytest.raises(ValueError, match="of the same items, at least two, with leave_one_out, got 1 and 1"):
            mean_average_precision(*own, leave_one_out=True)
        return
    settings = settings_of(ties, own) | {"leave_one_out": True}
    for k in range(1, len(codes)):
        rows = [row for row, _ in published(own, ties, k, leave_one_out=True)]
        averages = [float(average_precision(row.astype(int).tolist())) for row in rows]
        assert mean_average_precision(*own, at=k, **settings) == pytest.approx(np.mean(averages), abs=1e-12)
        assert precision_at(k, *own, **settings) == pytest.approx(np.mean([row.mean() for row in rows]), abs=1e-12)
    with pytest.raises(ValueError, match=f"precision_at: expected k from 1 to {len(codes) - 1}, got {len(codes)}"):
        precision_at(len(codes), *own, **settings)


@given(small_retrieval(), st.sampled_from(TIES))
def test_curves_by_rank_are_every_precision_and_recall(retrieval, ties):
    settings = settings_of(ties, retrieval)
    if not (retrieval[1][:, None] == retrieval[3]).any():
        with pytest.raises(ValueError, match="expected at least one query with a relevant item, got none"):
            precision_recall_by_rank(*retrieval, **settings)
        return
    precision, recall = precision_recall_by_rank(*retrieval, **settings)
    for k in range(1, len(retrieval[2]) + 1):
        assert precision[k - 1] == pytest.approx(precision_at(k, *retrieval, **settings), abs=1e-12)
        expected = recall_at(k, *retrieval, unanswered="skip", **settings)
        assert recall[k - 1] == pytest.approx(expected, abs=1e-12)
    cut = precision_recall_by_rank(*retrieval, at=1, **settings)
    assert [len(x) for x in cut] == [1, 1]
    np.testing.assert_allclose(cut.recall, recall[:1])


def test_what_the_order_of_ties_decides_is_not_averaged_over():
    with pytest.raises(
        ValueError, match="^mean_average_precision: expected ties other than 'expected' with unanswered"
    ):
        mean_average_precision(CODES, LABELS, CODES, LABELS, at=2, unanswered="skip_unfound")
    assert mean_average_precision(CODES, LABELS, CODES, LABELS, within=0, unanswered="skip_unfound") == 1
    for within in (-1, 9):
        with pytest.raises(ValueError, match=f"^mean_average_precision: expected within from 0 to 8, got {within}$"):
            mean_average_precision(CODES, LABELS, CODES, LABELS, within=within)
    with pytest.raises(ValueError, match="expected query_codes and codes of the same items, at least two, with leave"):
        precision_within(2, CODES[:2], LABELS[:2], CODES, LABELS, leave_one_out=True)


@given(small_retrieval(), st.integers(0, 8))
def test_precision_within_a_radius(retrieval, radius):
    within = fh.hamming_distance(retrieval[0], retrieval[2]) <= radius
    relevant = retrieval[1][:, None] == retrieval[3]
    shares = [relevant[i][within[i]].mean() if within[i].any() else np.nan for i in range(len(within))]
    assert precision_within(radius, *retrieval) == pytest.approx(np.nan_to_num(shares).mean())
    if not np.isnan(shares).all():
        assert precision_within(radius, *retrieval, unanswered="skip") == pytest.approx(np.nanmean(shares))


def test_ties_broken_by_cosine(rng):
    u, v = rng.standard_normal((5, 12)), rng.standard_normal((80, 12))
    labels, query_labels = rng.integers(0, 3, 80), rng.integers(0, 3, 5)
    codes, query_codes = (fh.pack_bits(x[:, :8]) for x in (v, u))
    cosines = (u / np.linalg.norm(u, axis=1, keepdims=True)) @ (v / np.linalg.norm(v, axis=1, keepdims=True)).T
    order = np.argsort(10 * fh.hamming_distance(query_codes, codes) + (2 - 2 * cosines), axis=1, kind="stable")
    relevance = query_labels[:, None] == labels[order]
    for k in (3, 80):
        expected = np.mean([float(average_precision([int(r) for r in row[:k]])) for row in relevance])
        ours = mean_average_precision(
            query_codes, query_labels, codes, labels, at=k, ties="cosine", query_embeddings=u, embeddings=v
        )
        assert ours == pytest.approx(expected)
        settings = {"ties": "cosine", "query_embeddings": u, "embeddings": v}
        found = relevance[:, :k].sum(1)
        retrieval = query_codes, query_labels, codes, labels
        assert precision_at(k, *retrieval, **settings) == pytest.approx((found / k).mean())
        assert recall_at(k, *retrieval, **settings) == pytest.approx((found / relevance.sum(1)).mean())


@given(small_retrieval())
def test_curve_counts_what_is_within_each_radius(retrieval):
    query_codes, query_labels, codes, labels = retrieval
    distances = fh.hamming_distance(query_codes, codes)
    relevant = query_labels[:, None] == labels
    if not relevant.any():
        with pytest.raises(ValueError, match="expected at least one query with a relevant item, got none"):
            precision_recall_curve(*retrieval)
        return
    precision, recall = precision_recall_curve(*retrieval)
    for radius in range(9):
        within = distances <= radius
        precisions = [relevant[i][within[i]].mean() for i in range(len(within)) if within[i].any()]
        recalls = [within[i][relevant[i]].mean() for i in range(len(within)) if relevant[i].any()]
        assert precision[radius] == pytest.approx(np.mean(precisions) if precisions else np.nan, nan_ok=True)
        assert recall[radius] == pytest.approx(np.mean(recalls))


def test_labels_one_or_several(rng):
    codes, query_codes = (rng.integers(0, 256, (n, 2), dtype=np.uint8) for n in (40, 6))
    labels, query_labels = rng.integers(0, 4, 40), rng.integers(0, 4, 6)
    one_hot = np.eye(4, dtype=int)
    single = mean_average_precision(query_codes, query_labels, codes, labels)
    assert mean_average_precision(query_codes, query_labels << 32, codes, labels << 32) == single
    assert mean_average_precision(query_codes, one_hot[query_labels], codes, one_hot[labels]) == single
    several = rng.random((40, 4)) < 0.4
    expected = np.mean(
        [
            mean_average_precision(query_codes[[i]], np.ones(1, int), codes, several[:, label].astype(int))
            for i, label in enumerate(query_labels)
        ]
    )
    assert mean_average_precision(query_codes, one_hot[query_labels], codes, several) == pytest.approx(expected)
    tensors = map(torch.from_numpy, (query_codes, query_labels, codes, labels))
    assert mean_average_precision(*tensors) == single


def test_extremes():
    codes = np.array([[0], [0], [255], [255]], np.uint8)
    labels = np.array([0, 0, 1, 1])
    assert mean_average_precision(codes, labels, codes, labels) == 1
    assert precision_at(2, codes, labels, codes, labels) == 1
    assert mean_average_precision(codes, labels, codes, labels + 5) == 0
    reversed_codes = mean_average_precision(~codes, labels, codes, labels)
    assert reversed_codes == pytest.approx((1 / 3 + 2 / 4) / 2)


CODES, LABELS = np.zeros((3, 1), np.uint8), np.zeros(3, int)
NO_EMBEDDINGS = "expected query_embeddings and embeddings with ties 'cosine' or 'inner_product' and only then$"
RANKED = {
    "mean_average_precision": mean_average_precision,
    "precision_at": partial(precision_at, 2),
    "recall_at": partial(recall_at, 2),
}
METRICS = {
    **RANKED,
    "precision_within": partial(precision_within, 2),
    "precision_recall_curve": precision_recall_curve,
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (CODES, LABELS[:2], CODES, LABELS),
            ValueError,
            r"expected query_labels of shape \[3\] or \[3, c\], got \[2\]",
        ),
        (
            (CODES, LABELS, CODES, LABELS[None, None]),
            ValueError,
            r"expected labels of shape \[3\] or \[3, c\], got \[1, 1, 3\]",
        ),
        (
            (CODES, LABELS, CODES, np.zeros((3, 2), int)),
            ValueError,
            r"expected query_labels and labels alike, got \[3\] and \[3, 2\]",
        ),
        (
            (CODES, LABELS.astype(float), CODES, LABELS),
            TypeError,
            "expected query_labels of an integer dtype or bool, got float64; convert them if they are classes",
        ),
        (
            (CODES, LABELS, CODES, LABELS.astype(complex)),
            TypeError,
            "expected labels of an integer dtype or bool, got complex128",
        ),
        (
            (CODES.astype(int), LABELS, CODES, LABELS),
            TypeError,
            "expected query_codes of dtype uint8 .* or of -1 and .1, got int64 with 0 in row 0, column 0",
        ),
        ((CODES, LABELS, CODES.astype(int), LABELS), TypeError, "expected codes of dtype uint8 .*, got int64 .*"),
        (
            (CODES, LABELS, np.zeros((3, 2), np.uint8), LABELS),
            ValueError,
            r"expected query_codes as wide as codes \(2 bytes\), got 1 bytes",
        ),
        (
            (CODES, LABELS, CODES[:0], LABELS[:0]),
            ValueError,
            "expected query_codes and codes of at least one row, got 3 and 0",
        ),
        (
            (CODES[:0], LABELS[:0], CODES, LABELS),
            ValueError,
            "expected query_codes and codes of at least one row, got 0 and 3",
        ),
    ],
)
def test_bad_input(name, arguments, error, message):
    with pytest.raises(error, match=f"^{name}: {message}$"):
        METRICS[name](*arguments)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("wrong", ["query_codes", "query_labels", "codes", "labels"])
def test_what_is_not_of_numbers_is_named(name, wrong):
    arguments = {"query_codes": CODES, "query_labels": LABELS, "codes": CODES, "labels": LABELS}
    with pytest.raises(TypeError, match=f"^{name}: expected {wrong} to be a numeric array, got dtype object$"):
        METRICS[name](**arguments | {wrong: np.array(["a", "b", "c"], object)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"ties": "first"},
            "expected ties to be one of 'expected', 'optimistic', 'pessimistic', 'index', 'cosine', 'inner_product'",
        ),
        (
            {"ties": "cosine"},
            NO_EMBEDDINGS,
        ),
        (
            {"query_embeddings": np.ones((3, 2))},
            NO_EMBEDDINGS,
        ),
        (
            {"ties": "cosine", "query_embeddings": np.ones((3, 2))},
            NO_EMBEDDINGS,
        ),
        (
            {"ties": "cosine", "query_embeddings": np.ones((3, 2)), "embeddings": np.ones((2, 2))},
            "expected embeddings with 3 rows, got 2$",
        ),
        (
            {"ties": "cosine", "query_embeddings": np.ones((3, 2)), "embeddings": np.ones(3)},
            r"expected embeddings of shape \[n, m\], got \[3\]",
        ),
        (
            {"embeddings": np.ones((3, 2))},
            NO_EMBEDDINGS,
        ),
        (
            {"ties": "cosine", "embeddings": np.ones((3, 2)), "query_embeddings": np.ones((2, 2))},
            "expected query_embeddings with 3 rows, got 2",
        ),
        (
            {"ties": "cosine", "embeddings": np.full((3, 2), np.nan), "query_embeddings": np.ones((3, 2))},
            "expected embeddings to be finite, got a NaN or an infinity",
        ),
        (
            {"ties": "cosine", "embeddings": np.ones((3, 2)), "query_embeddings": np.ones((3, 1))},
            "expected query_embeddings and embeddings of equal width, got 1 and 2",
        ),
    ],
)
@pytest.mark.parametrize("name", RANKED)
def test_bad_ties(name, settings, message):
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        RANKED[name](CODES, LABELS, CODES, LABELS, **settings)


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("wrong", ["query_embeddings", "embeddings"])
def test_embeddings_that_are_not_of_numbers_are_named(name, wrong):
    settings = {"query_embeddings": np.ones((3, 2)), "embeddings": np.ones((3, 2))} | {wrong: np.array([["a"]], object)}
    with pytest.raises(TypeError, match=f"^{name}: expected {wrong} to be a numeric array, got dtype object$"):
        RANKED[name](CODES, LABELS, CODES, LABELS, ties="cosine", **settings)


@pytest.mark.parametrize("name", ["mean_average_precision", "recall_at", "precision_within"])
def test_bad_unanswered(name):
    choices = "'zero', 'skip'" + ", 'skip_unfound'" * (name == "mean_average_precision")
    with pytest.raises(ValueError, match=f"^{name}: expected unanswered to be one of {choices}, got 'drop'$"):
        METRICS[name](CODES, LABELS, CODES, LABELS, unanswered="drop")


def test_no_query_is_left():
    for name in ("mean_average_precision", "recall_at"):
        with pytest.raises(ValueError, match=f"^{name}: expected at least one query with a relevant item, got none$"):
            METRICS[name](CODES, LABELS, CODES, LABELS + 1, unanswered="skip")
    with pytest.raises(
        ValueError, match="^precision_within: expected at least one query with an item within the radius, got none$"
    ):
        precision_within(2, ~CODES, LABELS, CODES, LABELS, unanswered="skip")


def test_bad_numbers():
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"^mean_average_precision: expected at from 1 to 3, got {k}$"):
            mean_average_precision(CODES, LABELS, CODES, LABELS, at=k)
        for metric in (precision_at, recall_at):
            with pytest.raises(ValueError, match=f"^{metric.__name__}: expected k from 1 to 3, got {k}$"):
                metric(k, CODES, LABELS, CODES, LABELS)
    for radius in (-1, 9):
        with pytest.raises(ValueError, match=f"^precision_within: expected radius from 0 to 8, got {radius}$"):
            precision_within(radius, CODES, LABELS, CODES, LABELS)


@pytest.mark.parametrize("ties", CHOSEN)
@pytest.mark.parametrize("name", RANKED)
def test_many_queries_are_the_mean_of_each(rng, name, ties):
    """More of them than are drawn for at once, the third of them with a label that no item has."""
    codes, query_codes = (rng.integers(0, 4, (n, 1), dtype=np.uint8) for n in (50, 150))
    labels, query_labels = rng.integers(0, 2, 50), rng.integers(0, 3, 150)
    settings = {"ties": ties} | ({"at": 20} if name == "mean_average_precision" else {})
    each = np.array(
        [RANKED[name](query_codes[i : i + 1], query_labels[i : i + 1], codes, labels, **settings) for i in range(150)]
    )
    retrieval = query_codes, query_labels, codes, labels
    assert RANKED[name](*retrieval, **settings) == pytest.approx(each.mean(), rel=1e-12)
    if name != "precision_at":
        answered = each[query_labels < 2]
        assert RANKED[name](*retrieval, **settings, unanswered="skip") == pytest.approx(answered.mean(), rel=1e-12)


def test_a_curve_comes_as_the_codes_were_given():
    assert all(isinstance(part, np.ndarray) for part in precision_recall_curve(CODES, LABELS, CODES, LABELS))
    tensors = map(torch.from_numpy, (CODES, LABELS, CODES, LABELS))
    assert all(part.dtype == torch.float64 for part in precision_recall_curve(*tensors))
