"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.packing import pack_bits
from fasthash.ops.ranking.op import average_op, counts_op, places_op, weight_op

TOLERANCE = 1e-12


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return counts and places for classes and for several labels an item."""
    generator = torch.Generator().manual_seed(0)
    results: list[torch.Tensor] = []
    for n_bits in (24, 64, 200):
        signs = [torch.randn(n, n_bits, generator=generator, device="cpu") for n in (5, 1003)]
        queries, codes = (pack_bits(x.to(device)) for x in signs)
        for labels in ([x[:, 0] > 0.5 for x in signs], [x[:, :7] > 0.5 for x in signs]):
            retrieval = (queries, codes, *(x.to(device) for x in labels))
            results += counts_op(*retrieval, 0, kernel=kernel)
            vectors = [x[:, :9].to(device, dtype) for x in signs]
            scales = 1 / vectors[1].double().norm(dim=1)
            for similarity, k in (((None, None, None), 1003), ((*vectors, scales), 100), ((*vectors, scales), 1003)):
                bits = places_op(*retrieval, *similarity, k, n_bits, -1, 0, kernel=kernel)
                results += [bits, *average_op(bits, 0, kernel=kernel)]
                results.append(weight_op(bits, torch.arange(5.0, dtype=torch.float64, device=device), 0, kernel=kernel))
    return tuple(results)
