"""Planes by the compiled core."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash import _core
from fasthash.errors import MAX_BITS
from fasthash.ops.asymmetric.reference import not_finite


def write_planes(planes: torch.Tensor, codes: torch.Tensor, first: int, threads: int, isa: str = "") -> None:
    """Write codes to the places from `first` on."""
    _core.write_planes(planes.numpy(), codes.numpy(), first, threads, isa)


def read_planes(
    planes: torch.Tensor, n_bits: int, positions: torch.Tensor | slice, threads: int, isa: str = ""
) -> torch.Tensor:
    """Return uint8 [m, n_bits / 8]."""
    if isinstance(positions, slice):
        codes = torch.empty((positions.stop - positions.start, n_bits // 8), dtype=torch.uint8, device="cpu")
        _core.read_planes(planes.numpy(), positions.start, codes.numpy(), threads, isa)
    else:
        codes = torch.empty((len(positions), n_bits // 8), dtype=torch.uint8, device="cpu")
        _core.gather_planes(planes.numpy(), positions.numpy(), codes.numpy(), threads)
    return codes


def planes_topk(
    queries: torch.Tensor,
    planes: torch.Tensor,
    n: int,
    k: int,
    mask: torch.Tensor | None,
    threads: int,
    max_distance: int = MAX_BITS,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int32 and int64 [q, k]."""
    distances = queries.new_empty((queries.shape[0], k), dtype=torch.int32)
    positions = queries.new_empty((queries.shape[0], k), dtype=torch.int64)
    out = distances.numpy(), positions.numpy()
    rows, bits = np.ascontiguousarray(queries.numpy()), _bits(mask)
    _core.planes_topk(rows, planes.numpy(), n, k, bits, *out, threads, isa, max_distance)
    return distances, positions


def asymmetric_planes_topk(
    projections: torch.Tensor,
    planes: torch.Tensor,
    n: int,
    k: int,
    bits: int,
    mask: torch.Tensor | None,
    threads: int,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 or float64 and int64 [q, k]."""
    x = projections.detach().to(torch.promote_types(projections.dtype, torch.float32))
    scores, positions = x.new_empty((len(x), k)), x.new_empty((len(x), k), dtype=torch.int64)
    out = scores.numpy(), positions.numpy()
    queries = np.ascontiguousarray(x.numpy())
    place = _core.asymmetric_planes_topk(queries, planes.numpy(), n, k, bits, _bits(mask), *out, threads, isa)
    if place >= 0:
        raise not_finite(x, place)
    return scores, positions


def planes_radius(
    queries: torch.Tensor,
    planes: torch.Tensor,
    n: int,
    radius: int,
    mask: torch.Tensor | None,
    threads: int,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return int64 [q + 1], int32 [hits] and int64 [hits]."""
    offsets, distances, positions = _core.planes_radius(
        np.ascontiguousarray(queries.numpy()), planes.numpy(), n, radius, _bits(mask), threads, isa
    )
    return torch.from_numpy(offsets), torch.from_numpy(distances), torch.from_numpy(positions)


def _bits(mask: torch.Tensor | None) -> NDArray[np.uint8] | None:
    return None if mask is None else np.ascontiguousarray(mask.numpy())
