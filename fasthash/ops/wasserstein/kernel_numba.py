"""The distance to a two-point law by numba, which sorts: the portable CPU kernel, and the yardstick."""

from __future__ import annotations

import numba
import numpy as np
import torch


@numba.njit(cache=True, nogil=True)
def _cost(x, n_low, split, low, high, p, gradient):
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


def two_point_wasserstein(
    x: torch.Tensor, n_low: torch.Tensor, split: float, low: float, high: float, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradient [n, m], or an empty tensor."""
    values = x.detach() if x.dtype in (torch.float32, torch.float64) else x.detach().float()
    gradient = torch.empty(x.shape, dtype=values.dtype)
    cost = _cost(values.numpy(), n_low.numpy(), split, low, high, p, gradient.numpy())
    return torch.tensor(cost, dtype=x.dtype), gradient.to(x.dtype) if with_gradient else x.new_empty((0, 0))
