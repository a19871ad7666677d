"""The exhaustive search, which tables must agree with: the specification."""

from __future__ import annotations

import torch

from fasthash.errors import MAX_BITS
from fasthash.ops.hamming.reference import hamming_radius, hamming_topk


class ExhaustiveTables:
    """No table at all: every code is compared."""

    def __init__(self, n_codes: int) -> None:
        self.n_codes = n_codes
        self.memory = 0
        self.keys: list[tuple[int, int]] = []

    def probes(self, radius: int) -> float:
        """Return 0, as there are no buckets."""
        return 0.0

    def topk(
        self,
        queries: torch.Tensor,
        codes: torch.Tensor,
        k: int,
        mask: torch.Tensor | None,
        threads: int,
        max_distance: int = MAX_BITS,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the hits of the exhaustive search."""
        return hamming_topk(queries, codes, k, mask, threads, max_distance)

    def topk_bounded(
        self,
        queries: torch.Tensor,
        codes: torch.Tensor,
        k: int,
        mask: torch.Tensor | None,
        threads: int,
        max_candidates: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the hits of the exhaustive search, all exact."""
        complete = torch.ones(queries.shape[0], dtype=torch.bool, device="cpu")
        return *hamming_topk(queries, codes, k, mask, threads), complete

    def radius(
        self, queries: torch.Tensor, codes: torch.Tensor, radius: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the hits of the exhaustive search."""
        return hamming_radius(queries, codes, radius, mask, threads)


def build_tables(codes: torch.Tensor, n_bits: int, n_tables: int, fast: bool, threads: int) -> ExhaustiveTables:
    """Return what answers as tables of the codes do."""
    return ExhaustiveTables(codes.shape[0])
