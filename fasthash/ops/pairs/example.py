"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.packing import pack_bits
from fasthash.ops.pairs.op import hamming_pairs

TOLERANCE = 0.0


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return pairs of codes in clusters, some of them equal, at several widths, within a set and between two."""
    results: list[torch.Tensor] = []
    for n_bits, radius in ((24, 1), (64, 3), (200, 20), (256, 200)):
        generator = torch.Generator().manual_seed(n_bits)
        centres = torch.randn(40, n_bits, generator=generator, device="cpu").repeat(20, 1)
        codes = pack_bits((centres + 0.1 * torch.randn(centres.shape, generator=generator, device="cpu")).to(device))
        results += hamming_pairs(codes, radius, kernel=kernel)
        results += hamming_pairs(codes[:50], radius, others=codes[60:], kernel=kernel)
    return tuple(results)
