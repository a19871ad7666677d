"""Retrieval metrics by Hamming distance, whose value does not depend on how a program happens to order ties."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.errors import check_choice, check_floating, check_integer, check_matrix, check_values
from fasthash.evaluate.counts import Retrieval
from fasthash.evaluate.names import TIES
from fasthash.ops.arrays import Array, as_given, to_tensor

Floats = NDArray[np.float64]

UNANSWERED = ("zero", "skip")

_QUERIES_AT_ONCE = 64


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall of the items within each Hamming radius 0, 1, ..., n_bits.

    Attributes:
        precision: float64 [n_bits + 1], the mean over queries that have an item within the radius; NaN where none has.
        recall: float64 [n_bits + 1], the mean over queries that have a relevant item in the database.
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
    ties: str = "expected",
    unanswered: str = "zero",
    query_embeddings: Array | None = None,
    embeddings: Array | None = None,
) -> float:
    """Return the mean over queries of the average precision of the database ranked by Hamming distance.

    The average precision of a ranking is the mean, over the relevant items among the first `at`, of the precision up to
    each of them; 0 where there is none.

    Args:
        query_codes: packed codes, uint8 [q, n_bits / 8], or -1 and +1 of a signed dtype [q, n_bits]; q at least 1.
        query_labels: classes, integers or bool [q], or several a query, bool or 0/1 of any real dtype [q, c], c at
            least 2.
        codes: of the database, as `query_codes`, [n, n_bits / 8] or [n, n_bits].
        labels: as `query_labels`, [n] or [n, c]. An item is relevant to a query if they share a label.
        at: how many of the nearest items count, 1 to n; None for all.
        ties: what stands for a ranking of items at equal distance: "expected", the exact mean over all their orders;
            "optimistic", relevant ones first; "pessimistic", relevant ones last; "index", the order of the database;
            "cosine", by descending cosine of the embeddings, then the order of the database.
        unanswered: what a query without any relevant item in the database counts: "zero", or "skip" for nothing.
        query_embeddings: for ties "cosine", floating-point [q, m].
        embeddings: for ties "cosine", floating-point [n, m].

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, another argument is not as described, or every query is skipped.

    Source: McSherry, Najork, "Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied
    Scores", 2008, for the whole database; cut at a place, the number of relevant items above it is hypergeometric.
    """
    where = "mean_average_precision"
    ranking = _Ranking(where, query_codes, query_labels, codes, labels, ties, query_embeddings, embeddings)
    check_choice(where, "unanswered", unanswered, UNANSWERED)
    place = len(ranking) if at is None else ranking.place("at", at)
    return ranking.mean(ranking.average_precision(place), unanswered)


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

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, or another argument is not as described.
    """
    where = "precision_at"
    ranking = _Ranking(where, query_codes, query_labels, codes, labels, ties, query_embeddings, embeddings)
    k = ranking.place("k", k)
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

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, another argument is not as described, or every query is skipped.
    """
    where = "recall_at"
    ranking = _Ranking(where, query_codes, query_labels, codes, labels, ties, query_embeddings, embeddings)
    check_choice(where, "unanswered", unanswered, UNANSWERED)
    found = ranking.relevant_in_top(ranking.place("k", k))
    return ranking.mean(found / np.maximum(ranking.n_relevant, 1), unanswered)


def precision_within(
    radius: int,
    query_codes: Array,
    query_labels: Array,
    codes: Array,
    labels: Array,
    *,
    unanswered: str = "zero",
) -> float:
    """Return the mean over queries of the share of relevant items among those within a Hamming radius.

    Args:
        radius: the largest distance that counts, 0 to n_bits; 2 in the literature.
        query_codes: as in `mean_average_precision`, and so the others.
        query_labels: see there.
        codes: see there.
        labels: see there.
        unanswered: what a query without any item within the radius counts: "zero", or "skip" for nothing.

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, another argument is not as described, or every query is skipped.
    """
    where = "precision_within"
    retrieval = Retrieval(where, query_codes, query_labels, codes, labels)
    radius = check_integer(where, "radius", radius, 0, retrieval.codes.shape[1] * 8)
    check_choice(where, "unanswered", unanswered, UNANSWERED)
    within, relevant = (counts[:, : radius + 1].sum(1).numpy() for counts in retrieval.counts())
    return _mean(where, relevant / np.maximum(within, 1), within > 0, unanswered, "an item within the radius")


def precision_recall_curve(
    query_codes: Array, query_labels: Array, codes: Array, labels: Array
) -> PrecisionRecallCurve:
    """Return precision and recall within each Hamming radius, which no order of ties can change.

    Args:
        query_codes: as in `mean_average_precision`, and so the others.
        query_labels: see there.
        codes: see there.
        labels: see there.

    Returns:
        `PrecisionRecallCurve(precision, recall)`, tensors if `query_codes` is one, else NumPy arrays.

    Raises:
        TypeError: if codes are neither uint8 nor of -1 and +1, or labels of another dtype.
        ValueError: if shapes do not fit, or no query has a relevant item.
    """
    where = "precision_recall_curve"
    totals, relevants = Retrieval(where, query_codes, query_labels, codes, labels).counts()
    within, relevant_within = totals.cumsum(1).to(torch.float64), relevants.cumsum(1).to(torch.float64)
    answered = relevant_within[:, -1] > 0
    if not answered.any():
        raise ValueError(f"{where}: expected at least one query with a relevant item, got none")
    precision = torch.where(within > 0, relevant_within / within, torch.nan).nanmean(0)
    recall = (relevant_within / relevant_within[:, -1:])[answered].mean(0)
    return PrecisionRecallCurve(as_given(precision, query_codes), as_given(recall, query_codes))


class _Ranking:
    """Every query's ranking of the database, ties resolved as asked."""

    n_relevant: Floats  # in the database, [q]

    def __init__(
        self,
        where: str,
        query_codes: Array,
        query_labels: Array,
        codes: Array,
        labels: Array,
        ties: str,
        query_embeddings: Array | None,
        embeddings: Array | None,
    ) -> None:
        self._where = where
        self._ties = check_choice(where, "ties", ties, TIES)
        self._retrieval = Retrieval(where, query_codes, query_labels, codes, labels)
        self._n = len(self._retrieval.codes)
        self._embeddings = None
        if (ties == "cosine") != (query_embeddings is not None) or (ties == "cosine") != (embeddings is not None):
            raise ValueError(f"{where}: expected query_embeddings and embeddings with ties 'cosine' and only then")
        if ties == "cosine":
            self._embeddings = self._directions(query_embeddings, embeddings)
        if ties in ("index", "cosine"):
            self._sorted = self._sort()
            self.n_relevant = np.array([row.sum() for row in self._sorted], dtype=np.float64)
        else:
            self._totals, self._relevants = (x.numpy().astype(np.float64) for x in self._retrieval.counts())
            self.n_relevant = self._relevants.sum(1)

    def __len__(self) -> int:
        return self._n

    def place(self, name: str, k: int) -> int:
        return check_integer(self._where, name, k, 1, self._n)

    def mean(self, values: Floats, unanswered: str) -> float:
        return _mean(self._where, values, self.n_relevant > 0, unanswered, "a relevant item")

    def relevant_in_top(self, k: int) -> Floats:
        """Return how many relevant items are among the first k of each query, or how many are expected."""
        if self._ties in ("index", "cosine"):
            return np.array([row[:k].sum() for row in self._sorted], dtype=np.float64)
        return np.asarray(self._taken(k).sum(1))

    def average_precision(self, k: int) -> Floats:
        """Return each query's average precision over its first k items."""
        if self._ties in ("index", "cosine"):
            return np.array([_average_precision(row[:k]) for row in self._sorted])
        t, r = self._totals, self._relevants
        before, relevant_before = t.cumsum(1) - t, r.cumsum(1) - r
        harmonic = np.concatenate([[0.0], (1 / np.arange(1, self._n + 1)).cumsum()])  # [i] is 1 + 1/2 + ... + 1/i
        if self._ties != "expected":
            # The relevant items of a group follow each other, after `gap` others.
            gap = t - r if self._ties == "pessimistic" else np.zeros_like(t)
            taken = self._taken(k)
            first = (before + gap).astype(np.int64)
            reciprocals = harmonic[np.minimum(first + taken.astype(np.int64), self._n)] - harmonic[first]
            sums = np.where(taken > 0, taken + (relevant_before - before - gap) * reciprocals, 0).sum(1)
            return np.asarray(sums / np.maximum(taken.sum(1), 1))
        whole = before + t <= k
        sums = np.where(whole, _expected_sum(t, r, before, relevant_before, harmonic), 0).sum(1)
        found = np.where(whole, r, 0).sum(1)
        values: Floats = sums / np.maximum(found, 1)
        cut = np.nonzero((before < k) & ~whole)  # a group of a query, or none
        for start in range(0, len(cut[0]), _QUERIES_AT_ONCE):
            query, group = (indices[start : start + _QUERIES_AT_ONCE, None] for indices in cut)
            places = k - before[query, group]
            drawn, chance = _hypergeometric(t[query, group], r[query, group], places)
            more = _expected_sum(places, drawn, before[query, group], relevant_before[query, group], harmonic)
            averages = (sums[query] + more) / np.maximum(found[query] + drawn, 1)
            values[query[:, 0]] = (chance * averages).sum(1)
        return values

    def _taken(self, k: int) -> Floats:
        """Return how many relevant items at each distance are among the first k."""
        t, r = self._totals, self._relevants
        places = np.clip(k - (t.cumsum(1) - t), 0, t)
        if self._ties == "expected":
            return np.asarray(r * places / np.maximum(t, 1))
        return np.asarray(np.minimum(r, places) if self._ties == "optimistic" else np.maximum(0, places - (t - r)))

    def _directions(self, query_embeddings: Array, embeddings: Array) -> tuple[torch.Tensor, torch.Tensor]:
        pair = []
        for name, given, codes in (
            ("query_embeddings", query_embeddings, self._retrieval.query_codes),
            ("embeddings", embeddings, self._retrieval.codes),
        ):
            x = to_tensor(self._where, name, given)
            check_floating(self._where, name, x, minimum_bytes=1)
            check_values(self._where, name, x)
            check_matrix(self._where, name, x, "m")
            if len(x) != len(codes):
                raise ValueError(f"{self._where}: expected {name} with {len(codes)} rows, got {len(x)}")
            pair.append(torch.nn.functional.normalize(x.detach().to(codes.device, torch.float64), dim=1))
        if pair[0].shape[1] != pair[1].shape[1]:
            raise ValueError(
                f"{self._where}: expected query_embeddings and embeddings of equal width, got "
                f"{pair[0].shape[1]} and {pair[1].shape[1]}"
            )
        return pair[0], pair[1]

    def _sort(self) -> list[NDArray[np.bool_]]:
        """Return which items of each query's ranking are relevant."""
        rows = []
        for part, distances, relevant in self._retrieval.parts():
            key = distances.to(torch.int16)
            if self._embeddings is not None:
                key = distances * 4.0 - self._embeddings[0][part] @ self._embeddings[1].T  # a cosine is below 2
            order = key.sort(dim=1, stable=True).indices
            rows += list(relevant.gather(1, order).cpu().numpy())
        return rows


def _expected_sum(t: Floats, r: Floats, before: Floats, relevant_before: Floats, harmonic: Floats) -> Floats:
    """Return the expected sum of precisions at the relevant ones of `t` places, `r` of them relevant in any order."""
    first = np.asarray(before, dtype=np.int64)
    reciprocals = harmonic[first + np.asarray(t, dtype=np.int64)] - harmonic[first]  # the sum of 1 / place
    slope = np.where(t > 1, (r - 1) / np.maximum(t - 1, 1), 0)
    shares = (relevant_before + 1) * reciprocals + slope * (t - (before + 1) * reciprocals)
    return np.asarray(np.where(r > 0, r / np.maximum(t, 1) * shares, 0))


def _hypergeometric(items: Floats, relevant: Floats, places: Floats) -> tuple[Floats, Floats]:
    """Return how many of `places` items, drawn from `items`, may be relevant, and the chance of each number.

    Numbers so far from the mean that their chances sum to less than e^-40 are left out.

    Args:
        items: [m, 1], and so the others.
        relevant: of the items.
        places: at least 1.

    Returns:
        Numbers and chances, [m, width]; past the largest possible number the chance is 0.

    Source: Hoeffding, "Probability Inequalities for Sums of Bounded Random Variables", 1963, section 6.
    """
    from scipy.stats import hypergeom

    irrelevant = items - relevant
    mean, least, most = places * relevant / items, np.maximum(0, places - irrelevant), np.minimum(relevant, places)
    reach = np.sqrt(20.5 * np.minimum(most, np.minimum(irrelevant, items - places)))
    least, most = np.maximum(least, np.floor(mean - reach)), np.minimum(most, np.ceil(mean + reach))
    drawn = least + np.arange((most - least).max() + 1)
    chance = np.exp(hypergeom.logpmf(drawn, items, relevant, places))  # pmf takes 700 times as long
    return drawn, chance / chance.sum(1, keepdims=True)


def _average_precision(relevant: NDArray[np.bool_]) -> float:
    places = np.flatnonzero(relevant) + 1
    return float((np.arange(1, len(places) + 1) / places).mean()) if len(places) else 0.0


def _mean(where: str, values: Floats, answered: NDArray[np.bool_], unanswered: str, what: str) -> float:
    if unanswered == "zero":
        return float(values.mean())
    if not answered.any():
        raise ValueError(f"{where}: expected at least one query with {what}, got none")
    return float(values[answered].mean())
