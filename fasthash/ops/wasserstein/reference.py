"""The distance to a two-point law in plain torch, by a stable sort and autograd: the specification."""

from __future__ import annotations

import torch


def two_point_cost(
    x: torch.Tensor, n_low: torch.Tensor, split: float, low: float, high: float, p: float
) -> torch.Tensor:
    """Return the mean over elements of |sorted x - sorted target|^p, differentiable in `x` [n, m].

    The sorted target of column j is `low` in `n_low[j]` rows, in the next `low` with mass `split` and `high` with the
    rest, then `high`.
    """
    rank = torch.arange(x.shape[0], device=x.device)[:, None]
    ordered = x.sort(dim=0, stable=True).values
    share_low = (rank < n_low).to(x.dtype) + (rank == n_low).to(x.dtype) * split  # [n, m]
    to_low, to_high = (ordered - low).abs() ** p, (ordered - high).abs() ** p
    return (
        torch.where(share_low > 0, share_low * to_low, 0)
        .add(torch.where(share_low < 1, (1 - share_low) * to_high, 0))
        .mean()
    )


def two_point_wasserstein(
    x: torch.Tensor, n_low: torch.Tensor, split: float, low: float, high: float, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradient [n, m], or an empty tensor."""
    if not with_gradient:
        return two_point_cost(x.detach(), n_low, split, low, high, p), x.new_empty((0, 0))
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        cost = two_point_cost(leaf, n_low, split, low, high, p)
        (gradient,) = torch.autograd.grad(cost, leaf)
    return cost.detach(), gradient
