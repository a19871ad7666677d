"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.packing import pack_bits
from fasthash.ops.ranking.op import counts_op

TOLERANCE = 0.0


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return counts for classes and for several labels an item."""
    generator = torch.Generator().manual_seed(0)
    results: list[torch.Tensor] = []
    for n_bits in (24, 64, 200):
        signs = [torch.randn(n, n_bits, generator=generator) for n in (5, 1003)]
        queries, codes = (pack_bits(x.to(device)) for x in signs)
        for labels in ([x[:, 0] > 0.5 for x in signs], [x[:, :7] > 0.5 for x in signs]):
            results += counts_op(queries, codes, *(x.to(device) for x in labels), 0, kernel=kernel)
    return tuple(results)
