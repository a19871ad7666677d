"""Retrieval metrics by Hamming distance, whose value does not depend on how a program happens to order ties."""

from __future__ import annotations

import operator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.errors import check_choice, check_floating, check_integer, check_matrix, check_values
from fasthash.evaluate.counts import Retrieval
from fasthash.evaluate.names import BY_EMBEDDINGS, TIES, UNANSWERED
from fasthash.evaluate.ranking import CountedRanking, Floats, OrderedRanking, Ranking, Similarity
from fasthash.ops.arrays import Array, as_given, to_tensor

_ROWS_AT_ONCE = 1 << 16  # of embeddings


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall of the items within each Hamming radius 0, 1, ..., n_bits, or of the first 1, 2, ... items.

    Attributes:
        precision: float64 [n_bits + 1] or [k], the mean over queries that have such an item; NaN where none has.
        recall: float64 [n_bits + 1] or [k], the mean over queries that have a relevant item in the database.
    """

    precision: Array
    recall: Array


def mean_average_precision(
    query_codes: Array,
    query_labels: Array,
    codes: Array,
    labels: Array,
    *,
    at: int | None = None,
    within: int | None = None,
    ties: str = "expected",
    unanswered: str = "zero",
    query_embeddings: Array | None = None,
    embeddings: Array | None = None,
    leave_one_out: bool = False,
) -> float:
    """Return the mean over queries of the average precision of the database ranked by Hamming distance.

    The average precision of a ranking is the mean, over the relevant items among the first `at`, of the precision up to
    each of them; 0 where there is none. The README of this folder says which settings are which published code's.

    Args:
        query_codes: packed codes, uint8 [q, n_bits / 8], or -1 and +1 of a signed dtype [q, n_bits]; q at least 1.
        query_labels: classes, integers or bool [q], or several a query, bool or 0/1 of any real dtype [q, c], c at
            least 2.
        codes: of the database, as `query_codes`, [n, n_bits / 8] or [n, n_bits].
        labels: as `query_labels`, [n] or [n, c]. An item is relevant to a query if they share a label.
        at: how many of the nearest items count, 1 to n; None or -1 for all.
        within: the largest Hamming distance at which items count, 0 to n_bits; None for any.
        ties: what stands for a ranking of items at equal distance: "expected", the exact mean over all their orders;
            "optimistic", relevant ones first; "pessimistic", relevant ones last; "index", the order of the database,
            that of a stable sort; "cosine" or "inner_product", by that of the embeddings, the largest first, and then
            the order of the database. Cosines that round to the same multiple of 2^-29 are equal, as are inner products
            once the longest of the embeddings has length 1.
        unanswered: what a query without any relevant item in the database counts: "zero", or "skip" for nothing;
            "skip_unfound" skips those without one among the items that count, which with `at` takes ties in an order.
        query_embeddings: for ties "cosine" and "inner_product", floating-point [q, m].
        embeddings: for ties "cosine" and "inner_product", floating-point [n, m].
        leave_one_out: whether query i is item i of the database and is left out of its own ranking, of n - 1 items.

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, another argument is not as described, or every query is skipped.

    Source: McSherry, Najork, "Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied
    Scores", 2008, for the whole database; cut at a place, the number of relevant items above it is hypergeometric.
    """
    where = "mean_average_precision"
    retrieval = Retrieval(where, query_codes, query_labels, codes, labels, leave_one_out)
    check_choice(where, "unanswered", unanswered, UNANSWERED)
    place = retrieval.n_ranked if at is None or _is_all(at) else _place(retrieval, "at", at)
    if within is not None:
        within = check_integer(where, "within", within, 0, retrieval.codes.shape[1] * 8)
    if unanswered == "skip_unfound" and ties == "expected" and place < retrieval.n_ranked:
        raise ValueError(
            f"{where}: expected ties other than 'expected' with unanswered 'skip_unfound' and at, as the order of ties "
            "decides which queries are skipped"
        )
    ranking = _ranking(retrieval, ties, query_embeddings, embeddings, within)
    values = ranking.average_precision(place)
    if unanswered == "skip_unfound":
        return _mean(where, values, values > 0, unanswered, "a relevant item among those that count")
    return _mean_of_answered(where, ranking, values, unanswered)


def precision_at(
    k: int,
    query_codes: Array,
    query_labels: Array,
    codes: Array,
    labels: Array,
    *,
    ties: str = "expected",
    query_embeddings: Array | None = None,
    embeddings: Array | None = None,
    leave_one_out: bool = False,
) -> float:
    """Return the mean over queries of the share of relevant items among the k nearest.

    Args:
        k: how many items count, 1 to n.
        query_codes: as in `mean_average_precision`, and so the others.
        query_labels: see there.
        codes: see there.
        labels: see there.
        ties: see there.
        query_embeddings: see there.
        embeddings: see there.
        leave_one_out: see there.

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, or another argument is not as described.
    """
    where = "precision_at"
    retrieval = Retrieval(where, query_codes, query_labels, codes, labels, leave_one_out)
    k = _place(retrieval, "k", k)
    ranking = _ranking(retrieval, ties, query_embeddings, embeddings)
    return float((ranking.relevant_in_top(k) / k).mean())


def recall_at(
    k: int,
    query_codes: Array,
    query_labels: Array,
    codes: Array,
    labels: Array,
    *,
    ties: str = "expected",
    unanswered: str = "zero",
    query_embeddings: Array | None = None,
    embeddings: Array | None = None,
    leave_one_out: bool = False,
) -> float:
    """Return the mean over queries of the share of their relevant items that is among the k nearest.

    Args:
        k: how many items count, 1 to n.
        query_codes: as in `mean_average_precision`, and so the others.
        query_labels: see there.
        codes: see there.
        labels: see there.
        ties: see there.
        unanswered: see there.
        query_embeddings: see there.
        embeddings: see there.
        leave_one_out: see there.

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, another argument is not as described, or every query is skipped.
    """
    where = "recall_at"
    retrieval = Retrieval(where, query_codes, query_labels, codes, labels, leave_one_out)
    check_choice(where, "unanswered", unanswered, UNANSWERED[:2])
    k = _place(retrieval, "k", k)
    ranking = _ranking(retrieval, ties, query_embeddings, embeddings)
    found = ranking.relevant_in_top(k)
    return _mean_of_answered(where, ranking, found / np.maximum(ranking.n_relevant, 1), unanswered)


def precision_within(
    radius: int,
    query_codes: Array,
    query_labels: Array,
    codes: Array,
    labels: Array,
    *,
    unanswered: str = "zero",
    leave_one_out: bool = False,
) -> float:
    """Return the mean over queries of the share of relevant items among those within a Hamming radius.

    Args:
        radius: the largest distance that counts, 0 to n_bits; 2 in the literature.
        query_codes: as in `mean_average_precision`, and so the others.
        query_labels: see there.
        codes: see there.
        labels: see there.
        unanswered: what a query without any item within the radius counts: "zero", or "skip" for nothing.
        leave_one_out: see `mean_average_precision`.

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, another argument is not as described, or every query is skipped.
    """
    where = "precision_within"
    retrieval = Retrieval(where, query_codes, query_labels, codes, labels, leave_one_out)
    radius = check_integer(where, "radius", radius, 0, retrieval.codes.shape[1] * 8)
    check_choice(where, "unanswered", unanswered, UNANSWERED[:2])
    within, relevant = (counts[:, : radius + 1].sum(1).numpy() for counts in retrieval.counts())
    return _mean(where, relevant / np.maximum(within, 1), within > 0, unanswered, "an item within the radius")


def precision_recall_curve(
    query_codes: Array, query_labels: Array, codes: Array, labels: Array, *, leave_one_out: bool = False
) -> PrecisionRecallCurve:
    """Return precision and recall within each Hamming radius, which no order of ties can change.

    Args:
        query_codes: as in `mean_average_precision`, and so the others.
        query_labels: see there.
        codes: see there.
        labels: see there.
        leave_one_out: see there.

    Returns:
        `PrecisionRecallCurve(precision, recall)`, tensors if `query_codes` is one, else NumPy arrays.

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, or no query has a relevant item.
    """
    where = "precision_recall_curve"
    totals, relevants = Retrieval(where, query_codes, query_labels, codes, labels, leave_one_out).counts()
    within, relevant_within = totals.cumsum(1).to(torch.float64), relevants.cumsum(1).to(torch.float64)
    answered = relevant_within[:, -1] > 0
    if not answered.any():
        raise ValueError(f"{where}: expected at least one query with a relevant item, got none")
    precision = torch.where(within > 0, relevant_within / within, torch.nan).nanmean(0)
    recall = (relevant_within / relevant_within[:, -1:])[answered].mean(0)
    return PrecisionRecallCurve(as_given(precision, query_codes), as_given(recall, query_codes))


def precision_recall_by_rank(
    query_codes: Array,
    query_labels: Array,
    codes: Array,
    labels: Array,
    *,
    at: int | None = None,
    ties: str = "expected",
    query_embeddings: Array | None = None,
    embeddings: Array | None = None,
    leave_one_out: bool = False,
) -> PrecisionRecallCurve:
    """Return `precision_at` and `recall_at` for every k at once.

    Args:
        query_codes: as in `mean_average_precision`, and so the others.
        query_labels: see there.
        codes: see there.
        labels: see there.
        at: the largest k, 1 to n; None or -1 for n.
        ties: see there.
        query_embeddings: see there.
        embeddings: see there.
        leave_one_out: see there.

    Returns:
        `PrecisionRecallCurve(precision, recall)` of [at], place k - 1 for the k nearest; tensors if `query_codes` is
        one, else NumPy arrays.

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, another argument is not as described, or no query has a relevant item.
    """
    where = "precision_recall_by_rank"
    retrieval = Retrieval(where, query_codes, query_labels, codes, labels, leave_one_out)
    k = retrieval.n_ranked if at is None or _is_all(at) else _place(retrieval, "at", at)
    ranking = _ranking(retrieval, ties, query_embeddings, embeddings)
    answered = ranking.n_relevant > 0
    if not answered.any():
        raise ValueError(f"{where}: expected at least one query with a relevant item, got none")
    shares = answered / (np.maximum(ranking.n_relevant, 1) * answered.sum())
    weights = np.full(len(answered), 1 / len(answered))
    by_rank, recall = ranking.relevant_by_place(k, np.stack([weights, shares])).cumsum(1)
    precision = by_rank / np.arange(1, k + 1)
    return PrecisionRecallCurve(*(as_given(torch.from_numpy(x), query_codes) for x in (precision, recall)))


def _is_all(at: int) -> bool:
    try:
        return operator.index(at) == -1
    except (TypeError, RuntimeError):
        return False


def _place(retrieval: Retrieval, name: str, k: int) -> int:
    return check_integer(retrieval.where, name, k, 1, retrieval.n_ranked)


def _ranking(
    retrieval: Retrieval,
    ties: str,
    query_embeddings: Array | None,
    embeddings: Array | None,
    within: int | None = None,
) -> Ranking:
    """Return the rankings with ties resolved as asked, or raise."""
    where = retrieval.where
    check_choice(where, "ties", ties, TIES)
    by_embeddings = ties in BY_EMBEDDINGS
    if by_embeddings != (query_embeddings is not None) or by_embeddings != (embeddings is not None):
        raise ValueError(
            f"{where}: expected query_embeddings and embeddings with ties 'cosine' or 'inner_product' and only then"
        )
    if by_embeddings:
        return OrderedRanking(retrieval, _similarity(retrieval, ties, query_embeddings, embeddings), within)
    return OrderedRanking(retrieval, None, within) if ties == "index" else CountedRanking(retrieval, ties, within)


def _similarity(retrieval: Retrieval, ties: str, query_embeddings: Array, embeddings: Array) -> Similarity:
    """Return embeddings, float32 or float64, and for each item one over its length, or over the largest; or raise."""
    pair, where = [], retrieval.where
    for name, given, codes in (
        ("query_embeddings", query_embeddings, retrieval.query_codes),
        ("embeddings", embeddings, retrieval.codes),
    ):
        x = to_tensor(where, name, given)
        check_floating(where, name, x, minimum_bytes=1)
        check_values(where, name, x)
        check_matrix(where, name, x, "m")
        if len(x) != len(codes):
            raise ValueError(f"{where}: expected {name} with {len(codes)} rows, got {len(x)}")
        x = x.detach().to(codes.device)
        x = x if x.dtype in (torch.float32, torch.float64) else x.float()
        lengths = torch.cat([x[i : i + _ROWS_AT_ONCE].double().norm(dim=1) for i in range(0, len(x), _ROWS_AT_ONCE)])
        if not (lengths.isfinite().all() or x.isfinite().all()):
            raise ValueError(f"{where}: expected {name} to be finite, got a NaN or an infinity")
        pair.append(x)
    queries, items = pair
    if queries.shape[1] != items.shape[1]:
        raise ValueError(
            f"{where}: expected query_embeddings and embeddings of equal width, got "
            f"{queries.shape[1]} and {items.shape[1]}"
        )
    wide = torch.promote_types(queries.dtype, items.dtype)
    lengths = lengths if ties == "cosine" else lengths.max().expand(len(lengths))
    return queries.to(wide), items.to(wide), 1 / lengths.clamp(min=1e-12)


def _mean_of_answered(where: str, ranking: Ranking, values: Floats, unanswered: str) -> float:
    """Return the mean over queries, where they are to be skipped over those with a relevant item in the database."""
    answered = np.ones(len(values), np.bool_) if unanswered == "zero" else ranking.n_relevant > 0
    return _mean(where, values, answered, unanswered, "a relevant item")


def _mean(where: str, values: Floats, answered: NDArray[np.bool_], unanswered: str, what: str) -> float:
    if unanswered == "zero":
        return float(values.mean())
    if not answered.any():
        raise ValueError(f"{where}: expected at least one query with {what}, got none")
    return float(values[answered].mean())
