"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.packing import pack_bits
from fasthash.ops.planes.op import (
    asymmetric_planes_topk,
    new_planes,
    planes_radius,
    planes_topk,
    read_planes,
    write_planes,
)

TOLERANCE = 0.0


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return planes, codes read from them, nearest codes and those within a radius, at several widths."""
    results: list[torch.Tensor] = []
    for n_bits in (24, 64, 200, 512):
        generator = torch.Generator().manual_seed(n_bits)
        queries, codes = (
            pack_bits(torch.randn(n, n_bits, generator=generator, device="cpu").to(device)) for n in (5, 1003)
        )
        planes = new_planes(n_bits, len(codes))
        write_planes(planes, codes[:700], 0, kernel=kernel)
        write_planes(planes, codes[700:], 700, kernel=kernel)
        distances, positions = planes_topk(queries, planes, len(codes), 20, kernel=kernel)
        results += [distances, positions, read_planes(planes, n_bits, positions.flatten(), kernel=kernel)]
        results += planes_radius(queries[:1], planes, len(codes), int(distances.max()), kernel=kernel)
        results += [read_planes(planes, n_bits, slice(3, 1000), kernel=kernel)]
        projections = torch.randn(3, n_bits, generator=generator, device="cpu").to(device)
        results += asymmetric_planes_topk(projections, planes, len(codes), 20, 4, kernel=kernel)
    return tuple(results)
