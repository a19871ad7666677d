"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

from typing import Any

import torch
from fasthash.ops.ROOM.op import ROOM, ROOM_op

from fasthash.ops.declaration import Op

TOLERANCE = 1e-5


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return the result and its gradient."""
    x = torch.randn(70, 45, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")
    x = x.to(device, dtype).requires_grad_()
    y = ROOM(x, kernel=kernel)
    return y, *torch.autograd.grad(y.sin().sum(), x)


def differentiated() -> dict[Op, tuple[Any, ...]]:
    """Return for each op with a gradient small float64 inputs to check it at."""
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu")
    return {ROOM_op: (x.requires_grad_(),)}
