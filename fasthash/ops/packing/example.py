"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.packing.op import pack_bits, pack_projections

TOLERANCE = 0.0


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return codes of whole numbers, whose products are exact in every order."""
    generator = torch.Generator().manual_seed(0)
    x, hyperplanes = (
        (torch.randn(shape, generator=generator, device="cpu") * 4).round().to(device, dtype)
        for shape in ((201, 96), (96, 70))
    )
    return pack_bits(x, kernel=kernel), pack_projections(x, hyperplanes, kernel=kernel)
