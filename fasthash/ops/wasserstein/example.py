"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.wasserstein.op import hswd, wasserstein_1d

TOLERANCE = 1e-5


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return losses and their gradients."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 19, generator=generator).to(device, dtype).requires_grad_() for n in (129, 65))
    losses = [hswd(x, kernel=kernel), hswd(x, 1, kernel=kernel), wasserstein_1d(x, y, kernel=kernel)]
    return *losses, *torch.autograd.grad(torch.stack(losses).sum(), (x, y))
