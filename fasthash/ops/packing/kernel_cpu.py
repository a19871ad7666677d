"""Packing by the compiled core."""

from __future__ import annotations

import torch

from fasthash import _core
from fasthash.ops.packing.reference import nan_projection, refuse_nan


def pack_bits(x: torch.Tensor, isa: str = "") -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x` [n, b]."""
    x = x.detach().contiguous()
    element = str(x.dtype).removeprefix("torch.")
    codes = x.new_empty((x.shape[0], (x.shape[1] + 7) // 8), dtype=torch.uint8)
    same_size = {torch.bfloat16: torch.int16, torch.bool: torch.uint8}
    words = x.view(same_size.get(x.dtype, x.dtype)).numpy()
    if _core.pack_bits(words, "uint8" if element == "bool" else element, codes.numpy(), 0, isa):
        refuse_nan(x)
    return codes


def pack_projections(
    x: torch.Tensor, projection: torch.Tensor, offset: torch.Tensor | None, isa: str = ""
) -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x @ projection - offset` in the dtype of `projection`."""
    codes = x.new_empty((x.shape[0], (projection.shape[1] + 7) // 8), dtype=torch.uint8)
    embeddings = x.detach().to(projection.dtype).numpy()
    hyperplanes = projection.detach().contiguous().numpy()
    thresholds = None if offset is None else offset.detach().contiguous().numpy()
    place = _core.pack_projections(embeddings, hyperplanes, thresholds, codes.numpy(), 0, isa)
    if place >= 0:
        raise nan_projection(place, projection.shape[1])
    return codes
