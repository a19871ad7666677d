"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.householder.op import householder_apply

TOLERANCE = 1e-5


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return rotated rows and the gradients of a function of them."""
    generator = torch.Generator().manual_seed(0)
    x, v = (torch.randn(n, 45, generator=generator).to(device, dtype).requires_grad_() for n in (70, 40))
    rotated = householder_apply(x, v, kernel=kernel)
    return rotated, *torch.autograd.grad(rotated.sin().sum(), (x, v))
