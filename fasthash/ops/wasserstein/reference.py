"""The distances in plain torch, by a stable sort and autograd: the specification."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fasthash.ops.wasserstein.slicing import by_parts


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
    power = torch.tensor(p, dtype=torch.float64, device="cpu")  # a number must be one in half precision
    to_low, to_high = (ordered - low).abs() ** power, (ordered - high).abs() ** power
    return (
        torch.where(share_low > 0, share_low * to_low, 0)
        .add(torch.where(share_low < 1, (1 - share_low) * to_high, 0))
        .mean()
    )


def sorted_cost(x: torch.Tensor, y: torch.Tensor, p: float) -> torch.Tensor:
    """Return the mean over columns of the integral of |difference of quantile functions|^p, differentiable in both.

    The quantile functions of samples `x` [n, m] and `y` [k, m] are steps at multiples of 1/n and 1/k.
    """
    n, k = x.shape[0], y.shape[0]
    steps = torch.cat([torch.arange(n, device=x.device) * k, torch.arange(k, device=x.device) * n]).sort().values
    mass = torch.diff(steps, append=steps.new_full((1,), n * k)).to(x.dtype) / (n * k)
    a, b = x.sort(dim=0, stable=True).values, y.sort(dim=0, stable=True).values
    power = torch.tensor(p, dtype=torch.float64, device="cpu")
    return (mass[:, None] * (a[steps // k] - b[steps // n]).abs() ** power).sum(dim=0).mean()


def two_point_wasserstein(
    x: torch.Tensor, n_low: torch.Tensor | None, split: float, low: float, high: float, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradient [n, m], or an empty tensor. Without `n_low`, n // 2 rows are low."""
    n_low = low_counts(x, n_low)
    cost, (gradient,) = _evaluate(lambda u: two_point_cost(u, n_low, split, low, high, p), (x,), with_gradient)
    return cost, gradient


def two_point_backward(
    upstream: torch.Tensor, x: torch.Tensor, saved: torch.Tensor, split: float, low: float, high: float, p: float
) -> torch.Tensor:
    """Return the gradient in `x` of `upstream` times the cost, whose own gradient is `saved`."""
    return saved * upstream


def low_counts(x: torch.Tensor, n_low: torch.Tensor | None) -> torch.Tensor:
    """Return how many rows of each column are low."""
    return n_low if n_low is not None else torch.full((x.shape[1],), len(x) // 2, device=x.device)


def sorted_wasserstein(
    x: torch.Tensor, y: torch.Tensor, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradients [n, m] and [k, m], or empty tensors."""
    cost, (gradient_x, gradient_y) = _evaluate(lambda u, v: sorted_cost(u, v, p), (x, y), with_gradient)
    return cost, gradient_x, gradient_y


sliced_wasserstein = by_parts(sorted_wasserstein)


def _evaluate(
    cost: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...], with_gradient: bool
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    if not with_gradient:
        return cost(*(x.detach() for x in inputs)), tuple(x.new_empty((0, 0)) for x in inputs)
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs]
        value = cost(*leaves)
        return value.detach(), torch.autograd.grad(value, leaves)
