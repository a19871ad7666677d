"""Candidates of a Hamming search in the order of a second distance."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from itertools import product

import torch

from fasthash.errors import check_floating, check_matrix, check_values
from fasthash.index.contents import Contents
from fasthash.ops.arrays import Array, to_tensor
from fasthash.ops.packing.op import unpacked

METRICS = ("inner_product", "l2")
_BLOCK = 2**20  # how many numbers of candidates are gathered at a time

# From the positions of candidates, int64 [q, c] with -1 where there is none, to their floating-point distances [q, c].
SecondDistance = Callable[[torch.Tensor], torch.Tensor]


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
    contents: Contents,
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
        if len(v) != len(contents):
            raise ValueError(f"{where}: expected rerank with {len(contents)} rows, one a code, got {len(v)}")
        d, dtype = v.shape[1], torch.promote_types(q.dtype, v.dtype)
    if list(q.shape) != [n_queries, d]:
        raise ValueError(f"{where}: expected rerank_queries of shape {[n_queries, d]}, got {list(q.shape)}")
    q = q.to(contents.device, torch.promote_types(dtype, torch.float32))

    def vectors_at(positions: torch.Tensor) -> torch.Tensor:
        if isinstance(vectors, str):
            return unpacked(contents.codes.at(positions), n_bits)
        return v.index_select(0, contents.ranks(positions).to(v.device))  # a fifth of the time that v[...] takes

    def distances_of(positions: torch.Tensor) -> torch.Tensor:
        distances = torch.full(positions.shape, torch.inf, dtype=q.dtype, device=q.device)
        if len(contents) == 0:
            return distances
        width = min(max(1, positions.shape[1]), max(1, _BLOCK // max(1, d)))
        step = max(1, _BLOCK // max(1, width * d))
        for start, first in product(range(0, len(q), step), range(0, positions.shape[1], width)):
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
    distances = distances.masked_fill(distances.isnan() | (positions < 0), torch.inf)
    ordered, order = distances.sort(dim=1, stable=True)
    return ordered[:, :k].contiguous(), positions.gather(1, order[:, :k])
