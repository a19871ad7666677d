"""The distances by numba, which sorts: the portable CPU kernel, and the yardstick."""

from __future__ import annotations

import numba
import numpy as np
import torch

from fasthash.ops.wasserstein import reference
from fasthash.ops.wasserstein.reference import two_point_backward as two_point_backward
from fasthash.ops.wasserstein.slicing import by_parts


@numba.njit(cache=True, nogil=True)
def _two_point_cost(x, n_low, split, low, high, p, gradient):
    n, m = x.shape
    cost = 0.0
    for column in range(m):
        order = np.argsort(x[:, column].copy(), kind="mergesort")
        for rank in range(n):
            row = order[rank]
            share_low = 1.0 if rank < n_low[column] else (split if rank == n_low[column] else 0.0)
            slope = 0.0
            for share, value in ((share_low, low), (1 - share_low, high)):
                if share > 0:
                    d = x[row, column] - value
                    cost += share * abs(d) ** p
                    slope += share * p * abs(d) ** (p - 1) * np.sign(d)
            gradient[row, column] = slope / (n * m)
    return cost / (n * m)


@numba.njit(cache=True, nogil=True)
def _sorted_cost(x, y, p, gradient_x, gradient_y):
    (n, m), k = x.shape, y.shape[0]
    cost = 0.0
    for column in range(m):
        order_x = np.argsort(x[:, column].copy(), kind="mergesort")
        order_y = np.argsort(y[:, column].copy(), kind="mergesort")
        gradient_x[:, column] = 0
        gradient_y[:, column] = 0
        i, j, done = 0, 0, 0  # done of n * k parts of the mass
        while done < n * k:
            upto = min((i + 1) * k, (j + 1) * n)
            share = (upto - done) / (n * k)
            d = x[order_x[i], column] - y[order_y[j], column]
            cost += share * abs(d) ** p
            slope = share * p * abs(d) ** (p - 1) * np.sign(d) / m
            gradient_x[order_x[i], column] += slope
            gradient_y[order_y[j], column] -= slope
            done = upto
            i, j = done // k, done // n
    return cost / m


def two_point_wasserstein(
    x: torch.Tensor, n_low: torch.Tensor | None, split: float, low: float, high: float, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradient [n, m], or an empty tensor. Without `n_low`, n // 2 rows are low."""
    values = x.detach() if x.dtype in (torch.float32, torch.float64) else x.detach().float()
    gradient = torch.empty(x.shape, dtype=values.dtype, device="cpu")
    counts = reference.low_counts(x, n_low)
    cost = _two_point_cost(values.numpy(), counts.numpy(), split, low, high, p, gradient.numpy())
    return torch.tensor(cost, dtype=x.dtype, device="cpu"), gradient.to(x.dtype) if with_gradient else x.new_empty(
        (0, 0)
    )


def sorted_wasserstein(
    x: torch.Tensor, y: torch.Tensor, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradients [n, m] and [k, m], or empty tensors."""
    samples = [u.detach() if u.dtype in (torch.float32, torch.float64) else u.detach().float() for u in (x, y)]
    gradients = [torch.empty(u.shape, dtype=u.dtype, device="cpu") for u in samples]
    a, b, gradient_x, gradient_y = (u.numpy() for u in (*samples, *gradients))
    cost = _sorted_cost(a, b, p, gradient_x, gradient_y)
    outs = [gradient.to(x.dtype) if with_gradient else x.new_empty((0, 0)) for gradient in gradients]
    return torch.tensor(cost, dtype=x.dtype, device="cpu"), outs[0], outs[1]


sliced_wasserstein = by_parts(sorted_wasserstein)
