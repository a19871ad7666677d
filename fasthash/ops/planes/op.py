"""Exact search among codes that are stored as bit planes."""

from __future__ import annotations

import math

import numpy as np
import torch

from fasthash import _core
from fasthash.errors import MAX_BITS
from fasthash.ops.registry import Kernel, choose, cpu_kernels

KERNELS = {
    "reference": Kernel("fasthash.ops.planes.reference", ("cpu",)),
    **cpu_kernels("fasthash.ops.planes.kernel_cpu"),
}

_LINE = 64
_PLANE_BYTES = _core.block_shape(8)[1]
BLOCK_CODES = 8 * _PLANE_BYTES


def new_planes(n_bits: int, n_codes: int) -> torch.Tensor:
    """Return empty planes with places for at least so many codes.

    Args:
        n_bits: length of the codes, a multiple of 8 from 8 to 4,096.
        n_codes: at least 0.

    Returns:
        uint8 [ceil(n_codes / BLOCK_CODES), planes, BLOCK_CODES / 8] of zeros, at a multiple of 64 bytes. Plane p of a
        block holds bit p of its codes, code i at bit i % 8 of byte i // 8; those after the first n_bits hold
        popcount + n_bits / 2, from the lowest bit up.
    """
    n_planes, plane_bytes = _core.block_shape(n_bits)
    shape = (-(-n_codes // BLOCK_CODES), n_planes, plane_bytes)
    # NumPy asks the system for huge pages, but aligns to 16 bytes; reading across two cache lines takes twice the time.
    size = math.prod(shape)
    memory = np.zeros(size + _LINE, np.uint8)
    aligned = memory[-memory.ctypes.data % _LINE :][:size]
    return torch.from_numpy(aligned.reshape(shape))


def write_planes(
    planes: torch.Tensor,
    codes: torch.Tensor,
    first: int,
    threads: int = 0,
    *,
    kernel: str | None = None,
    where: str = "planes",
) -> None:
    """Write codes to the places from `first` on; codes at other places stay.

    Args:
        planes: of `new_planes`, with places for all; changed.
        codes: uint8 [n, n_bits / 8], contiguous.
        first: at least 0.
        threads: 0 by default.
        kernel: a name from `fasthash.ops.planes.KERNELS`; by default the best one.
        where: what errors begin with.
    """
    choose(KERNELS, planes.device, kernel, where).function("write_planes")(planes, codes, first, threads)


def read_planes(
    planes: torch.Tensor,
    n_bits: int,
    positions: torch.Tensor | slice,
    threads: int = 0,
    *,
    kernel: str | None = None,
    where: str = "planes",
) -> torch.Tensor:
    """Return codes by where they are.

    Args:
        planes: of `new_planes`.
        n_bits: length of the codes.
        positions: int64 [m], contiguous, in any order; or a slice, start and stop given, of places side by side, which
            is tens of times faster.
        threads: 0 by default.
        kernel: a name from `fasthash.ops.planes.KERNELS`; by default the best one.
        where: what errors begin with.

    Returns:
        uint8 [m, n_bits / 8].
    """
    read = choose(KERNELS, planes.device, kernel, where).function("read_planes")
    codes: torch.Tensor = read(planes, n_bits, positions, threads)
    return codes


def planes_topk(
    queries: torch.Tensor,
    planes: torch.Tensor,
    n: int,
    k: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
    max_distance: int = MAX_BITS,
    *,
    kernel: str | None = None,
    where: str = "planes",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k nearest of the codes at the first n places, as `fasthash.hamming_topk` does.

    Args:
        queries: uint8 [q, n_bits / 8].
        planes: of `new_planes`, with at least n places; may be memory-mapped, best at a multiple of 64 bytes.
        n: how many codes there are.
        k: at least 1.
        mask: the eligible codes as bits, uint8 [ceil(n / 8)].
        threads: 0 by default.
        max_distance: farther codes are no hits.
        kernel: a name from `fasthash.ops.planes.KERNELS`; by default the best one.
        where: what errors begin with.

    Returns:
        Distances int32 [q, k] and positions int64 [q, k], filled up with 2^31 - 1 and -1.
    """
    search = choose(KERNELS, planes.device, kernel, where).function("planes_topk")
    distances, positions = search(queries, planes, n, k, mask, threads, max_distance)
    return distances, positions


def asymmetric_planes_topk(
    projections: torch.Tensor,
    planes: torch.Tensor,
    n: int,
    k: int,
    bits: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
    *,
    kernel: str | None = None,
    where: str = "planes",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k codes of the largest score at the first n places, as `fasthash.asymmetric_topk` does.

    Args:
        projections: floating-point [q, n_bits], finite.
        planes: see `planes_topk`.
        n: how many codes there are.
        k: at least 1.
        bits: of a number of projections, 1 to 8.
        mask: the eligible codes as bits, uint8 [ceil(n / 8)].
        threads: 0 by default.
        kernel: a name from `fasthash.ops.planes.KERNELS`; by default the best one.
        where: what errors begin with.

    Returns:
        Scores float32 or float64 [q, k] and positions int64 [q, k], filled up with -inf and -1.
    """
    search = choose(KERNELS, planes.device, kernel, where).function("asymmetric_planes_topk")
    scores, positions = search(projections, planes, n, k, bits, mask, threads)
    return scores, positions


def planes_radius(
    queries: torch.Tensor,
    planes: torch.Tensor,
    n: int,
    radius: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
    *,
    kernel: str | None = None,
    where: str = "planes",
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the codes at the first n places within a radius, as `fasthash.hamming_radius` does.

    Args:
        queries: uint8 [q, n_bits / 8].
        planes: see `planes_topk`.
        n: how many codes there are.
        radius: at least 0.
        mask: the eligible codes as bits, uint8 [ceil(n / 8)].
        threads: 0 by default.
        kernel: a name from `fasthash.ops.planes.KERNELS`; by default the best one.
        where: what errors begin with.

    Returns:
        Offsets int64 [q + 1], distances int32 and positions int64 [hits].
    """
    search = choose(KERNELS, planes.device, kernel, where).function("planes_radius")
    offsets, distances, positions = search(queries, planes, n, min(radius, MAX_BITS), mask, threads)
    return offsets, distances, positions
