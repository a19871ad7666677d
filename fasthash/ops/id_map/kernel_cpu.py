"""The table by the compiled core."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash import _core


def insert_ids(
    table: torch.Tensor,
    ids: torch.Tensor,
    first: int,
    live: torch.Tensor | None,
    kept: torch.Tensor | None,
    isa: str = "",
) -> int:
    """Return a position whose id is repeated, or -1."""
    return _core.id_map_insert(table.numpy(), ids.numpy(), first, _bits(live), _bits(kept), isa)


def find_ids(
    table: torch.Tensor,
    ids: torch.Tensor,
    live: torch.Tensor | None,
    sought: torch.Tensor,
    threads: int,
    isa: str = "",
) -> torch.Tensor:
    """Return int64 [m], -1 where an id has no live position."""
    positions = torch.empty_like(sought)
    _core.id_map_find(table.numpy(), ids.numpy(), _bits(live), sought.numpy(), positions.numpy(), threads, isa)
    return positions


def _bits(live: torch.Tensor | None) -> NDArray[np.uint8] | None:
    return None if live is None else live.numpy()
