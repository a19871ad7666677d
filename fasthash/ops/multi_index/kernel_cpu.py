"""Tables by the compiled core."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash import _core
from fasthash.errors import MAX_BITS


class CompiledTables:
    """The core's tables, searched at one processor level."""

    def __init__(self, tables: _core.MultiIndexTables, isa: str) -> None:
        self._tables, self._isa = tables, isa
        self.n_codes, self.memory, self.keys = tables.n_codes, tables.memory, tables.keys

    def probes(self, radius: int) -> float:
        """Return how many buckets a search looks up before it has every code within a radius."""
        return self._tables.probes(radius)

    def topk(
        self,
        queries: torch.Tensor,
        codes: torch.Tensor,
        k: int,
        mask: torch.Tensor | None,
        threads: int,
        max_distance: int = MAX_BITS,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return int32 and int64 [q, k]."""
        return self._topk(queries, codes, k, mask, threads, 0, None, max_distance)

    def topk_bounded(
        self,
        queries: torch.Tensor,
        codes: torch.Tensor,
        k: int,
        mask: torch.Tensor | None,
        threads: int,
        max_candidates: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return int32 and int64 [q, k], and bool [q], which rows are exact."""
        complete = torch.ones(queries.shape[0], dtype=torch.bool, device="cpu")
        return *self._topk(queries, codes, k, mask, threads, max_candidates, complete, MAX_BITS), complete

    def radius(
        self, queries: torch.Tensor, codes: torch.Tensor, radius: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return int64 [q + 1], int32 [hits] and int64 [hits]."""
        offsets, distances, positions = self._tables.radius(
            np.ascontiguousarray(queries.numpy()), codes.numpy(), radius, _bits(mask), threads, self._isa
        )
        return torch.from_numpy(offsets), torch.from_numpy(distances), torch.from_numpy(positions)

    def _topk(
        self,
        queries: torch.Tensor,
        codes: torch.Tensor,
        k: int,
        mask: torch.Tensor | None,
        threads: int,
        max_candidates: int,
        complete: torch.Tensor | None,
        max_distance: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        distances = queries.new_empty((queries.shape[0], k), dtype=torch.int32)
        positions = queries.new_empty((queries.shape[0], k), dtype=torch.int64)
        self._tables.topk(
            np.ascontiguousarray(queries.numpy()), codes.numpy(), k, _bits(mask), max_candidates, distances.numpy(),
            positions.numpy(), None if complete is None else complete.numpy(), threads, self._isa, max_distance,
        )  # fmt: skip
        return distances, positions


def build_tables(
    codes: torch.Tensor, n_bits: int, n_tables: int, fast: bool, threads: int, isa: str = ""
) -> CompiledTables:
    """Return tables of the codes."""
    return CompiledTables(_core.MultiIndexTables(codes.numpy(), n_bits, n_tables, fast, threads), isa)


def _bits(mask: torch.Tensor | None) -> NDArray[np.uint8] | None:
    return None if mask is None else np.ascontiguousarray(mask.numpy())
