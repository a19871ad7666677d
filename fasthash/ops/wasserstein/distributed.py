"""The distance to a two-point law of a batch whose rows lie on several ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

_DIGIT_BITS = 8
_DIGITS = 1 << _DIGIT_BITS


def fair_coins(trials: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Return how many of `trials`, float [m], tosses of a fair coin show heads, int64 [m]."""
    return torch.binomial(trials, torch.full_like(trials, 0.5), generator=generator).long()


def two_point_wasserstein(
    x: torch.Tensor,
    loss_to: Callable[[torch.Tensor, float], torch.Tensor],
    target: str,
    low: float,
    high: float,
    p: float,
    generator: torch.Generator | None,
    group: dist.ProcessGroup,
) -> torch.Tensor:
    """Return the cost of the rows `x` [n, m] of all ranks together; see `hswd`.

    The ranks add up histograms of 8 bits of the values at a time, which narrow down each column's element between low
    and high, and tell each other how many values equal to it they have: equal ones are taken in the order of ranks.
    `loss_to(n_low, split)` is the mean cost of the rows here if `n_low` [m] of them are low.
    """
    n, m = x.shape
    wide = x if x.dtype == torch.float64 else x.float()
    keys = _keys(wide.detach())
    bits = 8 * keys.element_size()
    prefix = torch.zeros_like(keys[0])
    for shift in range(bits - _DIGIT_BITS, -1, -_DIGIT_BITS):
        top = shift + _DIGIT_BITS == bits
        digits = (keys >> shift & (_DIGITS - 1)) ^ (_DIGITS // 2 if top else 0)  # the top one has the sign
        counted = ((keys ^ prefix) & (0 if top else -1 << shift + _DIGIT_BITS)) == 0
        counts = torch.zeros(m, _DIGITS, dtype=torch.int64, device=x.device)
        counts.scatter_add_(1, digits.T.long(), counted.T.long())
        dist.all_reduce(counts, group=group)
        upto = counts.cumsum(dim=1)
        if top:
            n_global = upto[:, -1]
            if target == "balanced":
                n_low, split = n_global // 2, n_global % 2 / 2
            else:
                n_low, split = fair_coins(n_global.double(), generator), torch.zeros(m, device=x.device)
                dist.broadcast(n_low, dist.get_global_rank(group, 0), group=group)
            between = torch.minimum(n_low, n_global - 1)  # of the values in order, the first that is not low, if any
            rank = between
        digit = (upto <= rank[:, None]).sum(dim=1, keepdim=True)
        rank = rank - (upto - counts).gather(1, digit)[:, 0]
        digit = digit[:, 0].to(keys.dtype) ^ (_DIGITS // 2 if top else 0)
        prefix = prefix | digit << shift

    tied = keys == prefix
    ties = [torch.empty_like(rank) for _ in range(dist.get_world_size(group))]
    dist.all_gather(ties, tied.sum(dim=0), group=group)
    here = dist.get_rank(group)
    n_ties_before = torch.stack(ties).cumsum(dim=0)[here] - ties[here]
    place = rank + (n_low - between) - n_ties_before  # that many ties here, if there are, are low
    n_low_here = (keys < prefix).sum(dim=0) + torch.minimum(place.clamp(min=0), ties[here])
    loss = loss_to(n_low_here, 0.0).to(wide.dtype) * n

    is_split = tied & (tied.cumsum(dim=0) == place + 1)
    value = wide.gather(0, is_split.int().argmax(dim=0, keepdim=True))[0]
    moved = split.to(wide.dtype) * ((value - low).abs() ** p - (value - high).abs() ** p)
    loss = loss + torch.where(is_split.any(dim=0), moved, 0).sum() / m
    return _SumOverRanks.apply(loss / n_global[0], group).to(x.dtype)  # type: ignore[no-any-return, no-untyped-call]


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
        ctx.group = group
        total = x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = upstream.clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


def _keys(x: torch.Tensor) -> torch.Tensor:
    """Return integers in the order of the numbers."""
    bits = (x + 0.0).view(torch.int64 if x.dtype == torch.float64 else torch.int32)  # -0.0 is 0.0
    return bits ^ (bits >> (8 * bits.element_size() - 1) & torch.iinfo(bits.dtype).max)
