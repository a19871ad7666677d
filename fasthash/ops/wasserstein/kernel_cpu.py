"""The distances by the compiled core."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash import _core
from fasthash.ops.wasserstein import reference
from fasthash.ops.wasserstein.slicing import by_parts


def two_point_wasserstein(
    x: torch.Tensor,
    n_low: torch.Tensor | None,
    split: float,
    low: float,
    high: float,
    p: float,
    with_gradient: bool,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradient [n, m], or an empty tensor. Half precisions pass through float32.

    Without `n_low`, n // 2 rows of each column are low.
    """
    if x.dtype not in (torch.float32, torch.float64):
        wide = two_point_wasserstein(x.float(), n_low, split, low, high, p, with_gradient, isa)
        return wide[0].to(x.dtype), wide[1].to(x.dtype)
    values, scale = x.detach(), 1 / x.numel()
    counts = _halves(*x.shape) if n_low is None else n_low.numpy()
    if with_gradient:
        gradient = torch.empty_like(values, memory_format=torch.contiguous_format)
        out = gradient.numpy()
    else:
        gradient, out = values.new_empty((0, 0)), None
    cost = _core.two_point_cost(values.numpy(), counts, split, low, high, p, out, scale, 0, isa)
    return torch.scalar_tensor(cost * scale, dtype=x.dtype, device="cpu"), gradient


@lru_cache
def _halves(n: int, m: int) -> NDArray[np.int64]:
    """Return n // 2 m times: making it takes as long as the kernel does for a small batch."""
    return np.full(m, n // 2)


def two_point_backward(
    upstream: torch.Tensor,
    x: torch.Tensor,
    saved: torch.Tensor,
    split: float,
    low: float,
    high: float,
    p: float,
    isa: str = "",
) -> torch.Tensor:
    """Return the gradient in `x` of `upstream` times the cost, whose own gradient is `saved`."""
    return reference.two_point_backward(upstream, x, saved, split, low, high, p)


def sorted_wasserstein(
    x: torch.Tensor, y: torch.Tensor, p: float, with_gradient: bool, isa: str = ""
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradients [n, m] and [k, m], or empty tensors.

    Sorting is the same at every processor level. Half precisions pass through float32.
    """
    if x.dtype not in (torch.float32, torch.float64):
        wide = sorted_wasserstein(x.float(), y.float(), p, with_gradient)
        return wide[0].to(x.dtype), wide[1].to(x.dtype), wide[2].to(x.dtype)
    a, b = x.detach(), y.detach()
    if with_gradient:
        gradients = [torch.empty_like(u, memory_format=torch.contiguous_format) for u in (a, b)]
        cost = _core.sorted_cost(a.numpy(), b.numpy(), p, gradients[0].numpy(), gradients[1].numpy(), 1 / a.shape[1], 0)
    else:
        gradients = [u.new_empty((0, 0)) for u in (a, b)]
        cost = _core.sorted_cost(a.numpy(), b.numpy(), p, None, None, 1, 0)
    return torch.scalar_tensor(cost / a.shape[1], dtype=x.dtype, device="cpu"), gradients[0], gradients[1]


sliced_wasserstein = by_parts(sorted_wasserstein)
