"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

from typing import Any

import torch

from fasthash.ops.declaration import Op
from fasthash.ops.householder.op import apply_op, householder_apply

TOLERANCE = 1e-5


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return rotated rows and the gradients of a function of them."""
    generator = torch.Generator().manual_seed(0)
    x, v = (torch.randn(n, 45, generator=generator, device="cpu").to(device, dtype).requires_grad_() for n in (70, 40))
    rotated = householder_apply(x, v, kernel=kernel)
    return rotated, *torch.autograd.grad(rotated.sin().sum(), (x, v))


def differentiated() -> dict[Op, tuple[Any, ...]]:
    """Return for each op with a gradient small float64 inputs to check it at."""
    generator = torch.Generator().manual_seed(0)
    x, v = (torch.rand(n, 4, generator=generator, dtype=torch.float64, device="cpu").requires_grad_() for n in (3, 2))
    return {apply_op: (x, v, False)}
