"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

from typing import Any

import torch

from fasthash.ops.declaration import Op
from fasthash.ops.wasserstein.op import (
    hswd,
    sliced_op,
    sorted_op,
    two_point_op,
    wasserstein_1d,
)

TOLERANCE = 1e-5


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return losses and their gradients."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 19, generator=generator, device="cpu").to(device, dtype).requires_grad_() for n in (129, 65))
    losses = [hswd(x, kernel=kernel), hswd(x, 1, kernel=kernel), wasserstein_1d(x, y, kernel=kernel)]
    return *losses, *torch.autograd.grad(torch.stack(losses).sum(), (x, y))


def differentiated() -> dict[Op, tuple[Any, ...]]:
    """Return for each op with a gradient small float64 inputs to check it at."""
    generator = torch.Generator().manual_seed(0)
    x, y, directions = (
        torch.rand(n, m, generator=generator, dtype=torch.float64, device="cpu") for n, m in ((5, 2), (4, 2), (2, 3))
    )
    samples = x.requires_grad_(), y.requires_grad_()
    return {
        two_point_op: (x, None, 0.5, -1.0, 1.0, 2.0),
        sorted_op: (*samples, 2.0),
        sliced_op: (*samples, directions, 2.0),
    }
