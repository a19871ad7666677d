"""Candidates of a Hamming search in the order of a second distance."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Protocol

import torch

from fasthash.errors import check_choice, check_floating, check_integer, check_matrix, check_values
from fasthash.index.rows import copied
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.packing.op import unpacked

METRICS = ("inner_product", "l2")
_BLOCK = 2**20  # how many numbers of candidates are gathered at a time

# From the positions of candidates, int64 [q, c] with -1 where there is none, to their floating-point distances [q, c].
SecondDistance = Callable[[torch.Tensor], torch.Tensor]
Rerank = Array | str | Callable[[Array], Array]


class CodesAt(Protocol):
    """Packed codes by position."""

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return a copy of those at positions, int64 [m]: uint8 [m, w]."""


class Candidates(Protocol):
    """Codes that candidates are positions of, and their ids; the contents of an index, say."""

    @property
    def codes(self) -> CodesAt:
        """The codes by position."""

    @property
    def device(self) -> torch.device:
        """Where positions are."""

    def __len__(self) -> int:
        """Return how many codes have vectors."""

    def ids_at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the ids at positions, -1 for -1."""

    def ranks(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the rows of vectors that belong to positions."""


def check_reranking(where: str, rerank: Rerank | None, queries: Array | None, metric: str, factor: int) -> int:
    """Return the factor, or raise a TypeError or ValueError if these do not fit each other."""
    check_choice(where, "metric", metric, METRICS)
    if (rerank is None or callable(rerank)) and queries is not None:
        raise ValueError(f"{where}: expected rerank_queries only with vectors or codes to rerank by, got some")
    return check_integer(where, "factor", factor, 1)


def second_distance_of(
    where: str,
    rerank: Rerank,
    rerank_queries: Array | None,
    metric: str,
    candidates: Candidates,
    n_bits: int,
    queries: Array,
    n_queries: int,
) -> SecondDistance:
    """Return what `Index.search` reranks by, checked; a function gets ids as tensors if `queries` is one."""
    if callable(rerank):
        # Of a copy, as ids may be the positions themselves, which a function that writes to what it gets would change.
        return by_function(where, rerank, lambda at: as_given(candidates.ids_at(copied(at)), queries))
    return by_vectors(where, rerank, rerank_queries, metric, candidates, n_bits, n_queries)


def by_function(
    where: str, function: Callable[[Array], Array], ids_at: Callable[[torch.Tensor], Array]
) -> SecondDistance:
    """Return the distance that a function of the candidates' ids gives."""

    def distances_of(positions: torch.Tensor) -> torch.Tensor:
        distances = to_tensor(where, "what rerank returns", function(ids_at(positions)))
        check_floating(where, "what rerank returns", distances)
        check_values(where, "what rerank returns", distances)
        if distances.shape != positions.shape:
            raise ValueError(
                f"{where}: expected what rerank returns of shape {list(positions.shape)}, got {list(distances.shape)}"
            )
        return distances.detach().to(positions.device)

    return distances_of


def by_vectors(
    where: str,
    vectors: Array | str,
    queries: Array | None,
    metric: str,
    candidates: Candidates,
    n_bits: int,
    n_queries: int,
) -> SecondDistance:
    """Return the distance between queries and the vectors of codes, or if these are "asymmetric" the codes' bits."""
    if queries is None:
        raise ValueError(f"{where}: expected rerank_queries, which rerank compares with, got none")
    q = to_tensor(where, "rerank_queries", queries).detach()
    check_floating(where, "rerank_queries", q)
    check_values(where, "rerank_queries", q)
    if isinstance(vectors, str):
        if vectors != "asymmetric":
            raise ValueError(
                f"{where}: expected rerank to be vectors [n, d], a function or 'asymmetric', "
                f"got {reprlib.repr(vectors)}"
            )
        d, dtype = n_bits, q.dtype
    else:
        v = to_tensor(where, "rerank", vectors).detach()
        if v.dtype != torch.int8:
            check_floating(where, "rerank", v)
        check_values(where, "rerank", v)
        check_matrix(where, "rerank", v, "d")
        if len(v) != len(candidates):
            raise ValueError(f"{where}: expected rerank with {len(candidates)} rows, one a code, got {len(v)}")
        d, dtype = v.shape[1], torch.promote_types(q.dtype, v.dtype)
    if list(q.shape) != [n_queries, d]:
        raise ValueError(f"{where}: expected rerank_queries of shape {[n_queries, d]}, got {list(q.shape)}")
    q = q.to(candidates.device, torch.promote_types(dtype, torch.float32))

    def vectors_at(positions: torch.Tensor) -> torch.Tensor:
        if isinstance(vectors, str):
            return unpacked(candidates.codes.at(positions), n_bits)
        return v.index_select(0, candidates.ranks(positions).to(v.device))  # a fifth of the time that v[...] takes

    def distances_of(positions: torch.Tensor) -> torch.Tensor:
        distances = torch.full(positions.shape, torch.inf, dtype=q.dtype, device=q.device)
        if len(candidates) == 0:
            return distances
        width = min(max(1, positions.shape[1]), max(1, _BLOCK // max(1, d)))
        step = max(1, _BLOCK // max(1, width * d))
        for start in range(0, len(q), step):
            for first in range(0, positions.shape[1], width):
                some = slice(start, start + step), slice(first, first + width)
                x, at = q[some[0], None], positions[some]  # [b, 1, d], [b, c]
                y = vectors_at(at.clamp(min=0).flatten()).to(q).view(*at.shape, d)  # a copy; every row is summed alike
                found = -y.mul_(x).sum(2) if metric == "inner_product" else y.sub_(x).square_().sum(2)
                distances[some] = found.masked_fill_(at < 0, torch.inf)
        return distances

    return distances_of


def nearest_candidates(
    second_distance: SecondDistance, positions: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return distances and positions of the k nearest candidates; ties in the order that the candidates have."""
    distances = second_distance(positions)
    if len(distances) == 0:  # whose columns, of which there may be any number, a sort would count
        return distances[:, :k], positions[:, :k]
    distances = distances.masked_fill(distances.isnan() | (positions < 0), torch.inf)
    ordered, order = distances.sort(dim=1, stable=True)
    return ordered[:, :k].contiguous(), positions.gather(1, order[:, :k])
