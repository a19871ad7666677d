"""Comparing with every id, which the table must agree with: the specification."""

from __future__ import annotations

import torch


def insert_ids(
    table: torch.Tensor, ids: torch.Tensor, first: int, live: torch.Tensor | None, kept: torch.Tensor | None
) -> int:
    """Return the first position from `first` on whose id an earlier live one has, or -1."""
    counts = _flags(live, len(ids))
    for position in range(first, len(ids)):
        if counts[position] and (counts[:position] & (ids[:position] == ids[position])).any():
            return position
    return -1


def find_ids(
    table: torch.Tensor, ids: torch.Tensor, live: torch.Tensor | None, sought: torch.Tensor, threads: int
) -> torch.Tensor:
    """Return int64 [m]: the live position of each id, or -1."""
    equal = (sought[:, None] == ids) & _flags(live, len(ids))
    positions = torch.where(equal, torch.arange(len(ids), device="cpu"), -1)
    return positions.amax(1) if len(ids) else torch.full_like(sought, -1)


def _flags(live: torch.Tensor | None, n: int) -> torch.Tensor:
    """Return bits as bool [n]; what is beyond them is True."""
    flags = torch.ones(n, dtype=torch.bool, device="cpu")
    if live is not None:
        bits = ((live[:, None] >> torch.arange(8, dtype=torch.uint8, device="cpu")) & 1).flatten()[:n]
        flags[: len(bits)] = bits.bool()
    return flags
