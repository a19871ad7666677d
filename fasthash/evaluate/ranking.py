"""Every query's ranking of a database, with ties resolved by one of the rules, and what is relevant where in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.evaluate.counts import Retrieval
from fasthash.ops.hamming.op import distance_op, topk_op
from fasthash.ops.ranking.reference import relevance

Floats = NDArray[np.float64]

_QUERIES_AT_ONCE = 64
_NUMBERS_AT_ONCE = 1 << 20  # of some queries: distances, or elements of embeddings and labels
_WHOLE = 4  # more than a fourth of the items are sorted faster than searched for


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
        """Return at each place the sum of the weights [q] of the queries whose item there is relevant, [k]."""


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
        """Return [k]."""
        t, r = self._totals, self._relevants
        before = t.cumsum(1) - t
        first, width = (before, t) if self._ties == "expected" else (before, r)
        if self._ties == "pessimistic":
            first = before + t - r
        height = weights[:, None] * np.where(width > 0, r / np.maximum(width, 1), 0)
        steps = np.zeros(self._n + 1)  # of sums that are constant within a group
        np.add.at(steps, first.astype(np.int64), height)
        np.add.at(steps, (first + width).astype(np.int64), -height)
        return np.asarray(steps.cumsum()[:k])

    def _taken(self, k: int) -> Floats:
        """Return how many relevant items at each distance are among the first k."""
        t, r = self._totals, self._relevants
        places = np.clip(k - (t.cumsum(1) - t), 0, t)
        if self._ties == "expected":
            return np.asarray(r * places / np.maximum(t, 1))
        return np.asarray(np.minimum(r, places) if self._ties == "optimistic" else np.maximum(0, places - (t - r)))


class OrderedRanking:
    """Rankings whose ties are in the order of the database, or of cosines and then of the database.

    Only the k nearest items of a query are looked at, and those as near as the last of them.

    Args:
        retrieval: what is ranked.
        embeddings: where cosines decide, of the queries and of the database, float64 rows of length 1.
        within: the largest distance that is ranked.
    """

    def __init__(
        self, retrieval: Retrieval, embeddings: tuple[torch.Tensor, torch.Tensor] | None, within: int | None
    ) -> None:
        self._retrieval, self._embeddings, self._within = retrieval, embeddings, within

    @cached_property
    def n_relevant(self) -> Floats:
        """See `Ranking`, and so the others."""
        return np.asarray(self._retrieval.counts()[1].sum(1).numpy(), dtype=np.float64)

    def relevant_in_top(self, k: int) -> Floats:
        """Return [q]."""
        return self._of_queries(k, lambda relevant: np.asarray(relevant.sum(1), dtype=np.float64))

    def average_precision(self, k: int) -> Floats:
        """Return [q]."""

        def averages(relevant: NDArray[np.bool_]) -> Floats:
            rows, places = relevant.nonzero()
            found = np.bincount(rows, minlength=len(relevant))
            rank = np.arange(1, len(rows) + 1) - (found.cumsum() - found)[rows]
            sums = np.bincount(rows, rank / (places + 1), len(relevant))
            return np.asarray(sums / np.maximum(found, 1))

        return self._of_queries(k, averages)

    def relevant_by_place(self, k: int, weights: Floats) -> Floats:
        """Return [k]."""
        total = np.zeros(k)
        for part, relevant in self._relevance(k):
            total += weights[part] @ relevant
        return total

    def _of_queries(self, k: int, measured: Callable[[NDArray[np.bool_]], Floats]) -> Floats:
        values = np.empty(len(self._retrieval.query_codes))
        for part, relevant in self._relevance(k):
            values[part] = measured(relevant)
        return values

    def _relevance(self, k: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Yield the places of some queries, and which of their first k items are relevant, [part, k]."""
        retrieval = self._retrieval
        for part, m in self._parts(k + retrieval.leave_one_out):
            rows = torch.from_numpy(part).to(retrieval.codes.device)
            distances, ids = self._nearest(rows, m)
            if retrieval.leave_one_out:
                kept = ids != rows[:, None]
                kept[kept.all(1), -1] = False
                distances, ids = (x[kept].view(len(rows), m - 1) for x in (distances, ids))
            distances, ids, own = distances[:, :k], ids[:, :k], retrieval.query_labels[rows]
            if m == len(retrieval.codes):
                relevant = relevance(own, retrieval.labels).gather(1, ids)
            else:
                labels = retrieval.labels[ids]
                relevant = labels == own[:, None] if labels.ndim == 2 else (labels & own[:, None]).any(2)
            if self._within is not None:
                relevant &= distances <= self._within
            yield part, relevant.cpu().numpy()

    def _parts(self, k: int) -> Iterator[tuple[NDArray[np.int64], int]]:
        """Yield the places of queries, and how many of their nearest items hold the first k, whatever ties do."""
        retrieval = self._retrieval
        n, needed = len(retrieval.codes), np.full(len(retrieval.query_codes), k)
        width = retrieval.labels[0].numel()
        if self._embeddings is not None:
            width += self._embeddings[0].shape[1]
            within = retrieval.counts_of_all()[0].numpy().cumsum(1)
            needed = np.take_along_axis(within, (within < k).sum(1)[:, None], 1)[:, 0]
        needed[needed * _WHOLE > n] = n
        rest = np.argsort(-needed, kind="stable")  # the first of a part needs most
        while len(rest):
            most = int(needed[rest[0]])
            step = max(1, _NUMBERS_AT_ONCE // (most if most == n else most * width))
            yield rest[:step], most
            rest = rest[step:]

    def _nearest(self, rows: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the distances and ids of the m nearest items of some queries in the order of the rule, [part, m]."""
        retrieval = self._retrieval
        queries, where = retrieval.query_codes[rows], retrieval.where
        if m == len(retrieval.codes):
            distances = distance_op(queries, retrieval.codes, 0, where=where)
            ids = _order(distances.to(torch.uint8 if retrieval.codes.shape[1] < 32 else torch.int16))
            distances = distances.gather(1, ids)
        else:
            distances, ids = topk_op(queries, retrieval.codes, m, None, 0, where=where)
        if self._embeddings is None:
            return distances, ids
        own, embeddings = self._embeddings[0][rows], self._embeddings[1]
        if m == len(embeddings):
            cosines = (own @ embeddings.T).gather(1, ids)
        else:
            near = embeddings.index_select(0, ids.flatten()).view(len(rows), m, -1)
            cosines = torch.bmm(near, own[:, :, None])[..., 0]
        # Rounded by a cast, so that equal embeddings are equal wherever a matrix product has them.
        order = _order((distances.long() << 42) - (cosines * 2.0**40 + 0.5).long())
        return distances.gather(1, order), ids.gather(1, order)


def _order(keys: torch.Tensor) -> torch.Tensor:
    """Return the places of the keys of each row in ascending order, equal ones in theirs."""
    if keys.device.type == "cpu":  # NumPy sorts up to 16 bits by digits
        return torch.from_numpy(np.argsort(keys.numpy(), axis=1, kind="stable"))
    return keys.sort(dim=1, stable=True).indices


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
