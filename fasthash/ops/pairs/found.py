"""What a search for pairs finds, and the same as lists of neighbours."""

from __future__ import annotations

from typing import NamedTuple

import torch

from fasthash.errors import check_integer
from fasthash.ops.arrays import Array, all_as_given, to_tensor
from fasthash.ops.hamming.hits import RadiusHits

Pairs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class HammingPairs(NamedTuple):
    """Pairs of codes, sorted by (i, j).

    Attributes:
        i: int64 [pairs], positions of codes.
        j: int64 [pairs], greater than `i`; or positions of the others, where pairs are between two sets.
        distances: int32 [pairs].
    """

    i: Array
    j: Array
    distances: Array

    def neighbors(self, n_codes: int) -> RadiusHits:
        """Return the other codes of each code's pairs, as `hamming_radius` of the codes among themselves has its hits.

        That is the graph in compressed sparse rows: `scipy.sparse.csr_array((distances, ids, offsets))`.

        Args:
            n_codes: how many codes there are, more than the largest position. For pairs within one set.

        Returns:
            `RadiusHits(offsets, distances, ids)`, each code's neighbours sorted by (distance, id).
        """
        where = "HammingPairs.neighbors"
        i, j, distances = (to_tensor(where, name, x) for name, x in self._asdict().items())
        least = 1 + (int(torch.maximum(i.max(), j.max())) if len(i) else -1)
        n = check_integer(where, "n_codes", n_codes, least)
        codes, others, both = torch.cat([i, j]), torch.cat([j, i]), distances.repeat(2)
        order = sorted_by(codes, both, others)
        offsets = torch.nn.functional.pad(torch.bincount(codes, minlength=n).cumsum(0), (1, 0))
        return RadiusHits(*all_as_given((offsets, both[order], others[order]), self.i))


def sorted_by(*keys: torch.Tensor) -> torch.Tensor:
    """Return the order by the first key, among equal ones by the next, and so on."""
    order = keys[-1].sort(stable=True).indices
    for key in reversed(keys[:-1]):
        order = order[key[order].sort(stable=True).indices]
    return order


def first_equals(n_codes: int, pairs: Pairs) -> torch.Tensor:
    """Return int64 [n], the first code that equals each, from pairs in which copies are paired with it alone."""
    i, j, distances = pairs
    originals = torch.arange(n_codes, device=i.device)
    originals[j[distances == 0]] = i[distances == 0]
    return originals


def n_pairs_of_copies(n_codes: int, pairs: Pairs) -> int:
    """Return how many pairs there are once copies are paired as what they are copies of."""
    i, j, distances = pairs
    equals = torch.bincount(first_equals(n_codes, pairs), minlength=n_codes)
    different = distances > 0
    return int((equals * (equals - 1) // 2).sum() + (equals[i[different]] * equals[j[different]]).sum())


def with_copies(n_codes: int, pairs: Pairs) -> Pairs:
    """Return all pairs, from those in which copies are paired with the first of their equals alone."""
    i, j, distances = pairs
    originals = first_equals(n_codes, pairs)
    members = originals.sort(stable=True).indices  # equal codes side by side, ascending
    equals = torch.bincount(originals, minlength=n_codes)
    firsts = equals.cumsum(0) - equals  # where those that equal a first one begin

    # Codes that differ: of each pair all that equal the one with all that equal the other.
    different = distances > 0
    a, b = i[different], j[different]
    pair, within = _counted(equals[a] * equals[b])
    of_a = members[firsts[a[pair]] + within // equals[b[pair]]]
    of_b = members[firsts[b[pair]] + within % equals[b[pair]]]

    # Equal codes: each with those of its equals that come behind it.
    place = torch.empty_like(members)
    place[members] = torch.arange(n_codes, device=i.device)
    copied, within = _counted(firsts[originals] + equals[originals] - 1 - place)
    behind = members[place[copied] + 1 + within]

    low, high = torch.cat([torch.minimum(of_a, of_b), copied]), torch.cat([torch.maximum(of_a, of_b), behind])
    apart = torch.cat([distances[different][pair], distances.new_zeros(len(copied))])
    order = sorted_by(low, high)
    return low[order], high[order], apart[order]


def _counted(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each position as often as its count says, and how many of it came before."""
    positions = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    return positions, torch.arange(len(positions), device=counts.device) - (counts.cumsum(0) - counts)[positions]
