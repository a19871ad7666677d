"""Retrieval metrics whose value depends on the codes alone: ties are averaged over exactly."""

from __future__ import annotations

from typing import NamedTuple

import torch

from fasthash.errors import check_codes, check_device, check_integer, check_same_width, dtype_name
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.hamming import hamming_distance

_DISTANCES_AT_ONCE = 1 << 24


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall of the items within each Hamming radius 0, 1, ..., n_bits.

    Attributes:
        precision: float64 [n_bits + 1], the mean over queries that have an item within the radius; NaN where none has.
        recall: float64 [n_bits + 1], the mean over queries that have a relevant item in the database.
    """

    precision: Array
    recall: Array


def mean_average_precision(query_codes: Array, query_labels: Array, codes: Array, labels: Array) -> float:
    """Return the mean over queries of the average precision of the whole database ranked by Hamming distance.

    Ties are averaged over all their orders, exactly. A query without a relevant item counts 0.

    Args:
        query_codes: packed codes, uint8 [q, n_bits / 8], q at least 1.
        query_labels: classes, integers [q], or several a query, bool or 0/1 integers [q, c].
        codes: packed codes of the database, uint8 [n, n_bits / 8].
        labels: as `query_labels`, [n] or [n, c]. An item is relevant to a query if they share a label.

    Raises:
        TypeError: if codes are not uint8, or labels not integers or bool.
        ValueError: if shapes do not fit.
    """
    totals, relevants = _counts("mean_average_precision", query_codes, query_labels, codes, labels)
    t, r = totals.to(torch.float64), relevants.to(torch.float64)  # [q, n_bits + 1]
    items_before, relevant_before = totals.cumsum(1) - totals, r.cumsum(1) - r
    places = torch.arange(1, int(totals.sum(1).max()) + 1, device=t.device, dtype=torch.float64)
    harmonic = torch.cat([places.new_zeros(1), (1 / places).cumsum(0)])  # harmonic[i] = 1 + 1/2 + ... + 1/i
    reciprocals = harmonic[items_before + totals] - harmonic[items_before]  # sum over the group of 1 / place
    slope = torch.where(t > 1, (r - 1) / (t - 1).clamp(min=1), 0)
    shares = (relevant_before + 1) * reciprocals + slope * (t - (items_before + 1) * reciprocals)
    sums = torch.where(r > 0, r / t.clamp(min=1) * shares, 0).sum(1)
    return float((sums / r.sum(1).clamp(min=1)).mean())


def precision_at(k: int, query_codes: Array, query_labels: Array, codes: Array, labels: Array) -> float:
    """Return the mean over queries of the share of relevant items among the k nearest.

    Ties at the k-th place are averaged over, exactly.

    Args:
        k: how many items count, 1 to n.
        query_codes: as in `mean_average_precision`, and so the others.
        query_labels: see there.
        codes: see there.
        labels: see there.

    Raises:
        TypeError: if codes are not uint8, or labels not integers or bool.
        ValueError: if shapes do not fit, or k is not from 1 to n.
    """
    where = "precision_at"
    totals, relevants = _counts(where, query_codes, query_labels, codes, labels)
    k = check_integer(where, "k", k, 1, int(totals[0].sum()))
    t = totals.to(torch.float64)
    taken = (k - (t.cumsum(1) - t)).clamp(min=0).minimum(t)  # of each distance's items
    return float((relevants * taken / t.clamp(min=1)).sum(1).mean() / k)


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
        TypeError: if codes are not uint8, or labels not integers or bool.
        ValueError: if shapes do not fit, or no query has a relevant item.
    """
    where = "precision_recall_curve"
    totals, relevants = _counts(where, query_codes, query_labels, codes, labels)
    within, relevant_within = totals.cumsum(1).to(torch.float64), relevants.cumsum(1).to(torch.float64)
    answered = relevant_within[:, -1] > 0
    if not answered.any():
        raise ValueError(f"{where}: expected at least one query with a relevant item, got none")
    precision = torch.where(within > 0, relevant_within / within, torch.nan).nanmean(0)
    recall = (relevant_within / relevant_within[:, -1:])[answered].mean(0)
    return PrecisionRecallCurve(as_given(precision, query_codes), as_given(recall, query_codes))


def _counts(
    where: str, query_codes: Array, query_labels: Array, codes: Array, labels: Array
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 [q, n_bits + 1]: the items at each distance from each query, and the relevant ones."""
    q, c = to_tensor(where, "query_codes", query_codes), to_tensor(where, "codes", codes)
    check_codes(where, "query_codes", q)
    check_codes(where, "codes", c)
    check_same_width(where, "query_codes", q, "codes", c)
    check_device(where, "query_codes", q, c.device)
    if len(q) == 0 or len(c) == 0:
        raise ValueError(f"{where}: expected at least one query and one code, got {len(q)} and {len(c)}")
    ql = _labels(where, "query_labels", query_labels, q)
    cl = _labels(where, "labels", labels, c)
    if ql.shape[1:] != cl.shape[1:]:
        raise ValueError(f"{where}: expected query_labels and labels alike, got {list(ql.shape)} and {list(cl.shape)}")
    bins = c.shape[1] * 8 + 1
    totals = torch.empty((len(q), bins), dtype=torch.int64, device=c.device)
    relevants = torch.empty_like(totals)
    step = max(1, _DISTANCES_AT_ONCE // len(c))
    for first in range(0, len(q), step):
        part = slice(first, min(first + step, len(q)))
        relevant = ql[part, None] == cl if ql.ndim == 1 else ql[part].float() @ cl.float().T > 0  # [part, n]
        rows = torch.arange(part.stop - first, device=c.device)[:, None]
        bin_of = hamming_distance(q[part], c) + rows * bins
        totals[part] = torch.bincount(bin_of.flatten(), minlength=len(rows) * bins).view(-1, bins)
        relevants[part] = torch.bincount(bin_of[relevant], minlength=len(rows) * bins).view(-1, bins)
    return totals, relevants


def _labels(where: str, name: str, labels: Array, codes: torch.Tensor) -> torch.Tensor:
    x = to_tensor(where, name, labels)
    if x.is_floating_point() or x.is_complex():
        raise TypeError(f"{where}: expected {name} of an integer dtype or bool, got {dtype_name(x)}")
    if x.ndim not in (1, 2) or len(x) != len(codes):
        raise ValueError(f"{where}: expected {name} of shape [{len(codes)}] or [{len(codes)}, c], got {list(x.shape)}")
    check_device(where, name, x, codes.device)
    return x != 0 if x.ndim == 2 else x
