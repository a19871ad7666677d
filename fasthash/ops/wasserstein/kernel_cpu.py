"""The distance to a two-point law by the compiled core."""

from __future__ import annotations

import torch

from fasthash import _core


def two_point_wasserstein(
    x: torch.Tensor,
    n_low: torch.Tensor,
    split: float,
    low: float,
    high: float,
    p: float,
    with_gradient: bool,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradient [n, m], or an empty tensor. Half precisions pass through float32."""
    if x.dtype not in (torch.float32, torch.float64):
        wide = two_point_wasserstein(x.float(), n_low, split, low, high, p, with_gradient, isa)
        return wide[0].to(x.dtype), wide[1].to(x.dtype)
    values, scale = x.detach(), 1 / x.numel()
    if with_gradient:
        gradient = torch.empty_like(values, memory_format=torch.contiguous_format)
        out = gradient.numpy()
    else:
        gradient, out = values.new_empty((0, 0)), None
    cost = _core.two_point_cost(values.numpy(), n_low.numpy(), split, low, high, p, out, scale, 0, isa)
    return torch.scalar_tensor(cost * scale, dtype=x.dtype), gradient
