"""Counting and ranking in plain torch: the specification. Takes memory for every distance at once."""

from __future__ import annotations

import torch

from fasthash.ops.hamming.reference import hamming_distance


def relevance(query_labels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return which items are relevant, bool [q, n]: those of the query's class, or that share a label with it."""
    if labels.ndim == 1:
        return query_labels[:, None] == labels
    return query_labels.float() @ labels.float().T > 0


def distance_counts(
    queries: torch.Tensor, codes: torch.Tensor, query_labels: torch.Tensor, labels: torch.Tensor, threads: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 [q, n_bits + 1], the items at each distance and the relevant ones among them."""
    distances, relevant = hamming_distance(queries, codes), relevance(query_labels, labels)
    at = [distances == distance for distance in range(codes.shape[1] * 8 + 1)]
    totals = torch.stack([items.sum(dim=1) for items in at], dim=1)
    return totals, torch.stack([(items & relevant).sum(dim=1) for items in at], dim=1)


def relevance_by_place(
    queries: torch.Tensor,
    codes: torch.Tensor,
    query_labels: torch.Tensor,
    labels: torch.Tensor,
    query_vectors: torch.Tensor | None,
    vectors: torch.Tensor | None,
    scales: torch.Tensor | None,
    k: int,
    within: int,
    own: int,
    threads: int = 0,
) -> torch.Tensor:
    """Return bits, uint8 [q, ceil(k / 8)], of the first k places."""
    distances, relevant = hamming_distance(queries, codes).long(), relevance(query_labels, labels)
    keys = distances << 31
    if query_vectors is not None and vectors is not None and scales is not None:
        products = torch.nn.functional.normalize(query_vectors.double(), dim=1) @ vectors.double().T * scales
        keys += ((1 - products.clamp(-1, 1)) * 2.0**29 + 0.5).long()
    if own >= 0:
        rows = torch.arange(len(queries), device=codes.device)
        keys[rows, own + rows] = torch.iinfo(torch.int64).max
        relevant[rows, own + rows] = False
    order = keys.sort(dim=1, stable=True).indices[:, :k]
    found = relevant.gather(1, order) & (distances.gather(1, order) <= within)
    return _packed(found)


def average_precision(bits: torch.Tensor, threads: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float64 [q] and int64 [q], each row's average precision and how many of its bits are set."""
    places = _unpacked(bits)
    shares = places.cumsum(1) / torch.arange(1, places.shape[1] + 1, dtype=torch.float64, device=bits.device)
    found = places.sum(1)
    return (shares * places).sum(1) / found.clamp(min=1), found


def weight_by_place(bits: torch.Tensor, weights: torch.Tensor, threads: int = 0) -> torch.Tensor:
    """Return float64 [8 n_bytes], the sum of the weights of the rows whose bit is set, for each bit."""
    return weights.double() @ _unpacked(bits).double()


def _packed(places: torch.Tensor) -> torch.Tensor:
    """Return bool [q, k] as bits, uint8 [q, ceil(k / 8)]."""
    n_bytes = -(-places.shape[1] // 8)
    padded = torch.nn.functional.pad(places, (0, 8 * n_bytes - places.shape[1])).view(len(places), n_bytes, 8)
    shifted = padded.to(torch.uint8) << torch.arange(8, dtype=torch.uint8, device=places.device)
    return shifted.sum(2).to(torch.uint8)


def _unpacked(bits: torch.Tensor) -> torch.Tensor:
    """Return bits, uint8 [q, n_bytes], as bool [q, 8 n_bytes]."""
    return (bits[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=bits.device) & 1).flatten(1).bool()
