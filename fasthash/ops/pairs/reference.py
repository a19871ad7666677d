"""Every pair compared, in plain torch: the specification. Takes memory for every distance at once."""

from __future__ import annotations

import torch

from fasthash.ops.hamming.op import mask_flags
from fasthash.ops.hamming.reference import hamming_distance
from fasthash.ops.pairs.found import Pairs


class ExhaustivePairs:
    """A search that has compared all; a pass has as many whole rows as fit, at least one."""

    share_done = 1.0

    def __init__(self, pairs: Pairs, n_codes: int, first: int, capacity: int) -> None:
        self.i, self.j, self.distances = pairs
        self.n_codes, self.capacity = n_codes, capacity
        self._begin(first)

    def step(self) -> bool:
        """Return that the pass is complete."""
        return True

    def take(self) -> Pairs:
        """Return the pass's pairs, and begin the next."""
        own = (self.i >= self.first) & (self.i < self.end)
        self._begin(self.end)
        return self.i[own], self.j[own], self.distances[own]

    def _begin(self, first: int) -> None:
        left = self.i[self.i >= first]
        whole = int(left[self.capacity]) if len(left) > self.capacity else self.n_codes
        self.first, self.end = first, max(whole, min(first + 1, self.n_codes))


def pair_search(
    codes: torch.Tensor,
    others: torch.Tensor | None,
    mask: torch.Tensor | None,
    radius: int,
    since: int,
    first: int,
    capacity: int,
    threads: int,
) -> ExhaustivePairs:
    """Return what all comparisons have found."""
    distances = hamming_distance(codes, codes if others is None else others)
    eligible = codes.new_ones(len(codes), dtype=torch.bool) if mask is None else mask_flags(mask, len(codes))
    within = (distances <= radius) & eligible[:, None]
    if others is None:
        within &= eligible
        is_copy = ((distances == 0) & within).triu(1).any(0)
        within = within.triu(1) & ~is_copy[:, None] & (~is_copy | (distances == 0))
        within[:, :since] = False
    i, j = within.nonzero(as_tuple=True)
    return ExhaustivePairs((i, j, distances[i, j]), len(codes), first, capacity)
