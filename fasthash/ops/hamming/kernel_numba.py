"""Hamming search by numba: the portable CPU kernel, and what the compiled core is measured against."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch

from fasthash import _core
from fasthash.errors import MAX_BITS
from fasthash.ops.hamming.hits import not_farther


@numba.njit(inline="always")
def _popcount(x):
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit(cache=True, nogil=True)
def _distances(query, words, out):
    for j in range(words.shape[0]):
        distance = np.uint64(0)
        for w in range(words.shape[1]):
            distance += _popcount(query[w] ^ words[j, w])
        out[j] = distance


@numba.njit(cache=True, nogil=True)
def _all_distances(queries, words, out):
    for i in range(queries.shape[0]):
        _distances(queries[i], words, out[i])


@numba.njit(cache=True, nogil=True)
def _topk(queries, words, k, ids, out_distances, out_ids):
    n = words.shape[0]
    distances = np.empty(n, np.uint16)
    for i in range(queries.shape[0]):
        _distances(queries[i], words, distances)
        counts = np.zeros(words.shape[1] * 64 + 1, np.int64)
        for j in range(n):
            counts[distances[j]] += 1
        last, ties = 0, min(k, n)  # the distance of the last hit, and how many hits are at it
        while ties > counts[last]:
            ties -= counts[last]
            last += 1
        positions = np.cumsum(counts) - counts
        for j in range(n):
            distance = distances[j]
            if distance < last or (distance == last and ties > 0):
                if distance == last:
                    ties -= 1
                out_distances[i, positions[distance]] = distance
                out_ids[i, positions[distance]] = ids[j]
                positions[distance] += 1


def _words(codes: torch.Tensor) -> np.ndarray:
    """Return codes as uint64 [n, ceil(n_bytes / 8)], zero-padded."""
    n_bytes = codes.shape[1]
    if n_bytes % 8:
        codes = torch.nn.functional.pad(codes, (0, -n_bytes % 8))
    return codes.contiguous().numpy().view(np.uint64)


def _over_queries(search: Callable[[slice], None], n_queries: int, threads: int) -> None:
    """Call `search` on slices of the queries, one a thread."""
    threads = max(1, min(threads or _core.default_threads(), n_queries))
    bounds = [n_queries * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(search, map(slice, bounds[:-1], bounds[1:])))


def hamming_distance(queries: torch.Tensor, codes: torch.Tensor, threads: int = 0) -> torch.Tensor:
    """Return int32 [q, n]."""
    q, words = _words(queries), _words(codes)
    distances = np.empty((len(q), len(words)), np.int32)
    _over_queries(lambda part: _all_distances(q[part], words, distances[part]), len(q), threads)
    return torch.from_numpy(distances)


def hamming_topk(
    queries: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
    max_distance: int = MAX_BITS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int32 and int64 [q, k]."""
    q, (words, ids) = _words(queries), _eligible(codes, mask)
    out_distances = np.full((len(q), k), 2**31 - 1, np.int32)
    out_ids = np.full((len(q), k), -1, np.int64)
    _over_queries(lambda part: _topk(q[part], words, k, ids, out_distances[part], out_ids[part]), len(q), threads)
    return not_farther((torch.from_numpy(out_distances), torch.from_numpy(out_ids)), max_distance)


def hamming_radius(
    queries: torch.Tensor, codes: torch.Tensor, radius: int, mask: torch.Tensor | None = None, threads: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return int64 [q + 1], int32 [hits] and int64 [hits]."""
    q, (words, ids) = _words(queries), _eligible(codes, mask)
    distances = np.empty((len(q), len(words)), np.int32)
    _over_queries(lambda part: _all_distances(q[part], words, distances[part]), len(q), threads)
    order = np.argsort(distances, axis=1, kind="stable")
    ordered = np.take_along_axis(distances, order, axis=1)
    within = ordered <= radius
    offsets = np.concatenate([[0], np.cumsum(within.sum(axis=1))])
    return torch.from_numpy(offsets), torch.from_numpy(ordered[within]), torch.from_numpy(ids[order[within]])


def _eligible(codes: torch.Tensor, mask: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the eligible codes' words [e, n_words] and ids int64 [e]."""
    words = _words(codes)
    if mask is None:
        return words, np.arange(len(words))
    ids = np.flatnonzero(np.unpackbits(mask.numpy(), count=len(words), bitorder="little"))
    return words[ids], ids
