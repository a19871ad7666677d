"""Exact search among packed codes by tables of their parts."""

from __future__ import annotations

from typing import Protocol

import torch

from fasthash import _core
from fasthash.errors import MAX_BITS
from fasthash.ops.registry import Kernel, choose, cpu_kernels

KERNELS = {
    "reference": Kernel("fasthash.ops.multi_index.reference", ("cpu",)),
    **cpu_kernels("fasthash.ops.multi_index.kernel_cpu"),
}

MAX_CODES = _core.MultiIndexTables.max_codes
cost_of_build = _core.MultiIndexTables.cost_of_build  # in nanoseconds, and so the next
cost_of_scan = _core.MultiIndexTables.cost_of_scan


class Tables(Protocol):
    """Tables of codes, which a search is given anew, with codes that were added since behind them."""

    @property
    def n_codes(self) -> int:
        """How many codes are in the tables."""

    @property
    def memory(self) -> int:
        """The bytes of the tables."""

    @property
    def keys(self) -> list[tuple[int, int]]:
        """For each table the first bit of its key and how many bits the key has."""

    def probes(self, radius: int) -> float:
        """Return how many buckets a search looks up before it has every code within a radius."""

    def topk(
        self,
        queries: torch.Tensor,
        codes: torch.Tensor,
        k: int,
        mask: torch.Tensor | None,
        threads: int,
        max_distance: int = MAX_BITS,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and positions as `fasthash.hamming_topk` does, of codes that are not farther."""

    def topk_bounded(
        self,
        queries: torch.Tensor,
        codes: torch.Tensor,
        k: int,
        mask: torch.Tensor | None,
        threads: int,
        max_candidates: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the same from that many buckets and entries a query at most, and bool [q]: which rows are exact."""

    def radius(
        self, queries: torch.Tensor, codes: torch.Tensor, radius: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return offsets, distances and positions as `fasthash.hamming_radius` does."""


def build_tables(
    codes: torch.Tensor,
    n_bits: int,
    n_tables: int,
    fast: bool,
    threads: int,
    *,
    kernel: str | None = None,
    where: str = "multi_index",
) -> Tables:
    """Return tables of codes that are checked.

    Args:
        codes: uint8 [n, ceil(n_bits / 8)] in C order, n at most `MAX_CODES`.
        n_bits: length of the codes.
        n_tables: into how many parts codes are cut, 0 for about n_bits / log2(n).
        fast: whether eight bytes of a code are kept beside each entry.
        threads: 0 by default.
        kernel: a name from `fasthash.ops.multi_index.KERNELS`; by default the best one.
        where: what errors begin with.
    """
    build = choose(KERNELS, codes.device, kernel, where).function("build_tables")
    tables: Tables = build(codes, n_bits, n_tables, fast, threads)
    return tables
