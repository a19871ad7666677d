"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.ROOM.op import ROOM

TOLERANCE = 1e-5


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return the result and its gradient."""
    x = torch.randn(70, 45, generator=torch.Generator().manual_seed(0)).to(device, dtype).requires_grad_()
    y = ROOM(x, kernel=kernel)
    return y, *torch.autograd.grad(y.sin().sum(), x)
