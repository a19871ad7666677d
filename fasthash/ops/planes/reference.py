"""Planes by unpacking every bit, and the search of the codes they hold: the specification."""

from __future__ import annotations

import torch

from fasthash.errors import MAX_BITS
from fasthash.ops.asymmetric.reference import asymmetric_topk
from fasthash.ops.hamming.reference import hamming_radius, hamming_topk


def write_planes(planes: torch.Tensor, codes: torch.Tensor, first: int, threads: int) -> None:
    """Write codes to the places from `first` on."""
    n_bits = codes.shape[1] * 8
    bits = _bits(codes).long()
    counts = bits.sum(1) + n_bits // 2
    columns = torch.cat([bits, counts[:, None] >> torch.arange(planes.shape[1] - n_bits, device="cpu") & 1], dim=1)
    flags = _flags(planes)
    flags[first : first + len(codes)] = columns.to(torch.uint8)
    places = flags.view(planes.shape[0], -1, 8, planes.shape[1])  # [block, byte, bit, plane]
    packed = (places << torch.arange(8, dtype=torch.uint8, device="cpu")[:, None]).sum(2).to(torch.uint8)
    planes.copy_(packed.transpose(1, 2))


def read_planes(planes: torch.Tensor, n_bits: int, positions: torch.Tensor | slice, threads: int) -> torch.Tensor:
    """Return uint8 [m, n_bits / 8]."""
    bits = _flags(planes)[positions, :n_bits].reshape(-1, n_bits // 8, 8)
    return (bits << torch.arange(8, dtype=torch.uint8, device="cpu")).sum(2).to(torch.uint8)


def planes_topk(
    queries: torch.Tensor,
    planes: torch.Tensor,
    n: int,
    k: int,
    mask: torch.Tensor | None,
    threads: int,
    max_distance: int = MAX_BITS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the hits of the search of rows."""
    codes = read_planes(planes, queries.shape[1] * 8, slice(0, n), threads)
    return hamming_topk(queries, codes, k, mask, threads, max_distance)


def asymmetric_planes_topk(
    projections: torch.Tensor,
    planes: torch.Tensor,
    n: int,
    k: int,
    bits: int,
    mask: torch.Tensor | None,
    threads: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the hits of the search of rows."""
    n_bits = -(-projections.shape[1] // 8) * 8
    return asymmetric_topk(projections, read_planes(planes, n_bits, slice(0, n), threads), k, bits, mask)


def planes_radius(
    queries: torch.Tensor, planes: torch.Tensor, n: int, radius: int, mask: torch.Tensor | None, threads: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the hits of the search of rows."""
    return hamming_radius(queries, read_planes(planes, queries.shape[1] * 8, slice(0, n), threads), radius, mask)


def _bits(packed: torch.Tensor) -> torch.Tensor:
    """Return bytes [..., m] as bits [..., 8 m]."""
    return (packed[..., None] >> torch.arange(8, dtype=torch.uint8, device="cpu") & 1).flatten(-2)


def _flags(planes: torch.Tensor) -> torch.Tensor:
    """Return uint8 [places, planes] of 0 and 1."""
    return _bits(planes).transpose(1, 2).reshape(-1, planes.shape[1])
