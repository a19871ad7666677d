"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.multi_index.op import build_tables
from fasthash.ops.packing import pack_bits

TOLERANCE = 0.0


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return nearest codes and those within a radius, by both layouts, with codes that wait for the tables."""
    results: list[torch.Tensor] = []
    for n_bits, radius in ((64, 9), (200, 60)):
        generator = torch.Generator().manual_seed(n_bits)
        centres = torch.randn(40, n_bits, generator=generator, device="cpu").repeat(30, 1)
        codes = pack_bits((centres + 0.5 * torch.randn(centres.shape, generator=generator, device="cpu")).to(device))
        for fast in (True, False):
            tables = build_tables(codes[:1000], n_bits, 0, fast, 0, kernel=kernel)
            results += tables.topk(codes[:5], codes, 10, None, 0)
            results += tables.radius(codes[:5], codes, radius, None, 0)
    return tuple(results)
