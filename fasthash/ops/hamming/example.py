"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.hamming.op import hamming_distance, hamming_radius, hamming_topk
from fasthash.ops.packing import pack_bits

TOLERANCE = 0.0


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return distances, nearest codes and those within a radius, at several widths."""
    results: list[torch.Tensor] = []
    for n_bits in (24, 64, 200, 512):
        generator = torch.Generator().manual_seed(n_bits)
        queries, codes = (
            pack_bits(torch.randn(n, n_bits, generator=generator, device="cpu").to(device)) for n in (5, 1003)
        )
        nearest = hamming_topk(queries, codes, 20, kernel=kernel)
        results += [*nearest, hamming_distance(queries, codes, kernel=kernel)]
        results += hamming_radius(queries, codes, int(nearest.distances.max()), kernel=kernel)
    return tuple(results)
