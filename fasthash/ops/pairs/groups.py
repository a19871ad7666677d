"""Groups of codes that are near each other, and a member that stands for each."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fasthash.errors import check_choice
from fasthash.ops.arrays import Array, all_as_given
from fasthash.ops.pairs.op import searched

LINKAGES = ("single", "complete")
REPRESENTATIVES = ("first", "central")

Integers = NDArray[np.int64]


class DuplicateGroups(NamedTuple):
    """Groups of at least two codes, by their first members: those of group g are at `offsets[g]` to `offsets[g + 1]`.

    Attributes:
        offsets: int64 [groups + 1].
        members: int64 [offsets[groups]], positions of codes, ascending in a group.
        representatives: int64 [groups], the member that stands for each.
    """

    offsets: Array
    members: Array
    representatives: Array


def duplicate_groups(
    codes: Array,
    radius: int,
    *,
    mask: Array | None = None,
    linkage: str = "single",
    representative: str = "first",
    max_pairs: int | None = None,
    progress: bool = False,
    threads: int | None = None,
    kernel: str | None = None,
) -> DuplicateGroups:
    """Group codes that are the same up to `radius` bits.

    Codes that are in no group are the same as no other. To keep one of each: all codes but the `members`, and the
    `representatives`. Equal codes are always in one group, and cost as much as one. Groups by "complete" linkage take
    some microseconds a pair.

    Args:
        codes: packed codes, uint8 [n, n_bits / 8]. Of those on a GPU the pairs are found there, and the groups made of
            them on the host.
        radius: the largest distance at which two codes count as the same, at least 0.
        mask: which of `codes` take part, see `hamming_pairs`.
        linkage: "single", the connected components: codes that are linked by others, each at most `radius` from the
            next, are in one group, however far apart they are; or "complete", groups in which every two are at most
            `radius` apart: the two groups whose greatest distance between members is least become one as long as
            that is within the radius, of equally near ones those with the lowest first members.
        representative: "first", the lowest position; or "central", the member with the most others of the group within
            the radius, of several the one with the least sum of distances to those, then the lowest position.
        max_pairs: see `hamming_pairs`.
        progress: whether to show a progress bar.
        threads: see `hamming_pairs`.
        kernel: see `hamming_pairs`.

    Returns:
        `DuplicateGroups(offsets, members, representatives)`, tensors if `codes` is one, else NumPy arrays.

    Raises:
        TypeError: if an argument has the wrong dtype.
        ValueError: if shapes, widths, devices or numbers do not fit, or there are more pairs than `max_pairs`.
    """
    where = "duplicate_groups"
    check_choice(where, "linkage", linkage, LINKAGES)
    check_choice(where, "representative", representative, REPRESENTATIVES)
    c, pairs = searched(where, codes, radius, None, mask, 0, max_pairs, progress, threads, kernel)
    i, j, distances = (x.cpu().numpy() for x in pairs)
    groups = grouped(len(c), i, j, distances, linkage, representative)
    return DuplicateGroups(*all_as_given((torch.from_numpy(x).to(c.device) for x in groups), codes))


def grouped(
    n: int, i: Integers, j: Integers, distances: NDArray[np.int32], linkage: str, representative: str
) -> DuplicateGroups:
    """Return the groups that pairs make of n codes, of which copies are paired with the first of their equals alone."""
    labels = (_components if linkage == "single" else _complete)(n, i, j, distances)
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=n)
    members = order[sizes[labels[order]] > 1]
    sizes = sizes[sizes > 1]
    offsets = np.append(0, np.cumsum(sizes))
    if representative == "first":
        representatives = members[offsets[:-1]]
    else:
        firsts = np.arange(n)
        firsts[j[distances == 0]] = i[distances == 0]
        representatives = _central(labels, firsts, i, j, distances)[members[offsets[:-1]]]
    return DuplicateGroups(*(x.astype(np.int64) for x in (offsets, members, representatives)))


def _components(n: int, i: Integers, j: Integers, distances: NDArray[np.int32]) -> Integers:
    """Return for each code the lowest one that it is connected with."""
    graph = coo_array((np.ones(len(i), bool), (i, j)), shape=(n, n))
    components = connected_components(graph, directed=False)[1]
    lowest = np.full(n, n)
    np.minimum.at(lowest, components, np.arange(n))
    labels: Integers = lowest[components]
    return labels


def _complete(n: int, i: Integers, j: Integers, distances: NDArray[np.int32]) -> Integers:
    """Return for each code the lowest one of its group by complete linkage."""
    labels = np.arange(n)
    labels[j[distances == 0]] = i[distances == 0]
    edges = [(d, a, b) for a, b, d in zip(i.tolist(), j.tolist(), distances.tolist(), strict=True) if d > 0]
    adjacent: dict[int, dict[int, int]] = {}
    for d, a, b in edges:
        adjacent.setdefault(a, {})[b] = d
        adjacent.setdefault(b, {})[a] = d
    heapq.heapify(edges)
    merged = np.arange(n)  # into which group, by its lowest code; those that are not adjacent are too far apart
    while edges:
        d, a, b = heapq.heappop(edges)
        if adjacent.get(a, {}).get(b) != d:
            continue
        merged[b] = a
        of_a, of_b = adjacent.pop(a), adjacent.pop(b)
        for c in of_a.keys() | of_b.keys():
            if c in (a, b):
                continue
            adjacent[c].pop(a, None)
            adjacent[c].pop(b, None)
        both = {c: max(of_a[c], of_b[c]) for c in of_a.keys() & of_b.keys()}
        adjacent[a] = both
        for c, apart in both.items():
            adjacent[c][a] = apart
            heapq.heappush(edges, (apart, min(a, c), max(a, c)))
    while (merged != merged[merged]).any():
        merged = merged[merged]
    return merged[labels]


def _central(labels: Integers, firsts: Integers, i: Integers, j: Integers, distances: NDArray[np.int32]) -> Integers:
    """Return by the label of each group its most central member."""
    n = len(labels)
    equals = np.bincount(firsts, minlength=n)
    inside = (labels[i] == labels[j]) & (distances > 0)
    a, b = np.concatenate([i[inside], j[inside]]), np.concatenate([j[inside], i[inside]])
    apart = np.tile(distances[inside], 2)
    near = equals - 1 + np.bincount(a, equals[b], n)
    total = np.bincount(a, equals[b] * apart, n)
    originals = np.unique(firsts)
    order = originals[np.lexsort((originals, total[originals], -near[originals]))]
    central = np.full(n, -1)
    central[labels[order[::-1]]] = order[::-1]  # of those written to one place the last stays
    return central
