"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.asymmetric.op import asymmetric_topk
from fasthash.ops.packing import pack_bits

TOLERANCE = 0.0


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return the hits of real queries of several widths, by queries of few bits and of many."""
    results: list[torch.Tensor] = []
    for n_bits in (20, 64, 200, 512):
        generator = torch.Generator().manual_seed(n_bits)
        queries, items = (torch.randn(n, n_bits, generator=generator, device="cpu").to(device) for n in (5, 1003))
        for bits in (1, 4, 8):
            results += asymmetric_topk(queries, pack_bits(items), 20, bits=bits, kernel=kernel)
    return tuple(results)
