"""Every query's ranking of a database, with ties resolved by one of the rules, and what is relevant where in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.evaluate.counts import Retrieval
from fasthash.ops.ranking import average_op, places_op, weight_op

Floats = NDArray[np.float64]
Similarity = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

_QUERIES_AT_ONCE = 64
_BYTES_AT_ONCE = 1 << 24  # of places


class Ranking(Protocol):
    """What the metrics ask of the rankings of q queries; k is a number of places, 1 to the items that are ranked."""

    @property
    def n_relevant(self) -> Floats:
        """How many relevant items there are for each query in the database, [q]."""

    def relevant_in_top(self, k: int) -> Floats:
        """Return how many relevant items are among the first k of each query, or how many are expected, [q]."""

    def average_precision(self, k: int) -> Floats:
        """Return each query's average precision over its first k items, [q]."""

    def relevant_by_place(self, k: int, weights: Floats) -> Floats:
        """Return at each place the sums of the weights [m, q] of the queries whose item there is relevant, [m, k]."""


class CountedRanking:
    """Rankings whose ties are averaged over, or have relevant items first or last: what counts by distance can tell.

    Args:
        retrieval: what is ranked.
        ties: "expected", "optimistic" or "pessimistic".
        within: the largest distance that is ranked.
    """

    def __init__(self, retrieval: Retrieval, ties: str, within: int | None) -> None:
        self._ties = ties
        self._n = retrieval.n_ranked
        totals, relevants = (x.numpy().astype(np.float64) for x in retrieval.counts())
        self._n_relevant = relevants.sum(1)
        end = None if within is None else within + 1
        self._totals, self._relevants = totals[:, :end], relevants[:, :end]

    @property
    def n_relevant(self) -> Floats:
        """See `Ranking`, and so the others."""
        return np.asarray(self._n_relevant)

    def relevant_in_top(self, k: int) -> Floats:
        """Return [q]."""
        return np.asarray(self._taken(k).sum(1))

    def average_precision(self, k: int) -> Floats:
        """Return [q]."""
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

    def relevant_by_place(self, k: int, weights: Floats) -> Floats:
        """Return [m, k]."""
        t, r = self._totals, self._relevants
        before = t.cumsum(1) - t
        first, width = (before, t) if self._ties == "expected" else (before, r)
        if self._ties == "pessimistic":
            first = before + t - r
        share = np.where(width > 0, r / np.maximum(width, 1), 0)
        steps = np.zeros((len(weights), self._n + 1))  # of sums that are constant within a group
        for own, total in zip(weights, steps, strict=True):
            np.add.at(total, first.astype(np.int64), own[:, None] * share)
            np.add.at(total, (first + width).astype(np.int64), -own[:, None] * share)
        return np.asarray(steps.cumsum(1)[:, :k])

    def _taken(self, k: int) -> Floats:
        """Return how many relevant items at each distance are among the first k."""
        t, r = self._totals, self._relevants
        places = np.clip(k - (t.cumsum(1) - t), 0, t)
        if self._ties == "expected":
            return np.asarray(r * places / np.maximum(t, 1))
        return np.asarray(np.minimum(r, places) if self._ties == "optimistic" else np.maximum(0, places - (t - r)))


class OrderedRanking:
    """Rankings whose ties are in the order of the database, or of embeddings' similarities and then of the database.

    Args:
        retrieval: what is ranked.
        similarity: where embeddings decide, what `places_op` takes of them: the queries', the database's, its scales.
        within: the largest distance that is ranked.
    """

    def __init__(self, retrieval: Retrieval, similarity: Similarity | None, within: int | None) -> None:
        self._retrieval, self._similarity = retrieval, similarity
        self._within = retrieval.codes.shape[1] * 8 if within is None else within

    @cached_property
    def n_relevant(self) -> Floats:
        """See `Ranking`, and so the others."""
        return np.asarray(self._retrieval.counts()[1].sum(1).numpy(), dtype=np.float64)

    def relevant_in_top(self, k: int) -> Floats:
        """Return [q]."""
        return np.concatenate([found for _, found in self._averages(k)])

    def average_precision(self, k: int) -> Floats:
        """Return [q]."""
        return np.concatenate([averages for averages, _ in self._averages(k)])

    def relevant_by_place(self, k: int, weights: Floats) -> Floats:
        """Return [m, k]."""
        sums = np.zeros((len(weights), k))
        for part, bits in self._places(k):
            for own, total in zip(weights, sums, strict=True):
                given = torch.from_numpy(own[part]).to(bits.device)
                total += weight_op(bits, given, 0, where=self._retrieval.where).cpu().numpy()[:k]
        return sums

    def _averages(self, k: int) -> Iterator[tuple[Floats, Floats]]:
        for _, bits in self._places(k):
            averages, found = average_op(bits, 0, where=self._retrieval.where)
            yield averages.cpu().numpy(), found.cpu().numpy().astype(np.float64)

    def _places(self, k: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield which queries are ranked, and the places that have a relevant item, uint8 [part, ceil(k / 8)]."""
        retrieval = self._retrieval
        step = max(1, _BYTES_AT_ONCE // -(-k // 8))
        for first in range(0, len(retrieval.query_codes), step):
            part = slice(first, first + step)
            queries, vectors, scales = self._similarity or (None, None, None)
            bits = places_op(
                retrieval.query_codes[part], retrieval.codes, retrieval.query_labels[part], retrieval.labels,
                None if queries is None else queries[part], vectors, scales,
                k, self._within, first if retrieval.leave_one_out else -1, 0, where=retrieval.where,
            )  # fmt: skip
            yield part, bits


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
