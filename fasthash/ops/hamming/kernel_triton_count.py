"""Hamming distances and selection by counting on a GPU, in memory that does not depend on the codes' order.

Distances are small integers, so the k nearest need no heap: a first pass counts the codes at each distance, which gives
the distance of the k-th hit; a second counts, chunk by chunk, the codes below it and at it, so that every chunk knows
where its hits go; a third writes them, in order of id.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl

BLOCK = 1024  # codes compared at once
BLOCKS_PER_CHUNK = 16  # what one program walks
MAX_BINS = 2048  # of a program: every warp has all of them in its registers
COUNTS = 2**24  # of chunks, for the queries that are searched at once
ID_BITS = tl.constexpr(43)  # of a hit as one integer, distance << ID_BITS | id, whose order is that of hits
ID_MASK = tl.constexpr(2**43 - 1)


@triton.jit
def _popcount(x):
    # Unsigned, or the compiler does not recognise it as one instruction.
    if x.dtype == tl.uint64:
        x -= (x >> 1) & 0x5555555555555555
        x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
        x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
        return ((x * 0x0101010101010101) >> 56).to(tl.int32)
    else:
        x -= (x >> 1) & 0x55555555
        x = (x & 0x33333333) + ((x >> 2) & 0x33333333)
        x = (x + (x >> 4)) & 0x0F0F0F0F
        return ((x * 0x01010101) >> 24).to(tl.int32)


@triton.jit
def _unsigned(words):
    if words.dtype == tl.int64:
        return words.to(tl.uint64, bitcast=True)
    else:
        return words.to(tl.uint32, bitcast=True)


@triton.jit
def _weighted_popcount(words, plane):
    """The ones times 2^plane. A shift at once would keep the compiler from seeing a popcount, which is at most 127."""
    return tl.minimum(_popcount(_unsigned(words)), 127) << plane


@triton.jit
def _distances(queries_ptr, codes_ptr, query, ids, n, n_words, BLOCK: tl.constexpr, PLANES: tl.constexpr = 0):
    """Hamming distances, or weighted ones where PLANES words of magnitudes' bits follow a query's."""
    distance = tl.zeros([BLOCK], dtype=tl.int32)
    queries_ptr += query * ((PLANES + 1) * n_words)
    for w in range(n_words):
        differ = tl.load(queries_ptr + w) ^ tl.load(codes_ptr + ids * n_words + w, mask=ids < n, other=0)
        if PLANES == 0:
            distance += _popcount(_unsigned(differ))
        for plane in tl.static_range(PLANES):
            magnitudes = tl.load(queries_ptr + (plane + 1) * n_words + w)
            distance += _weighted_popcount(differ & magnitudes, plane)
    return distance


@triton.jit
def _eligible(mask_ptr, ids, n, HAS_MASK: tl.constexpr):
    eligible = ids < n
    if HAS_MASK:
        byte = tl.load(mask_ptr + (ids >> 3), mask=eligible, other=0).to(tl.int32)
        eligible = eligible & (((byte >> (ids & 7).to(tl.int32)) & 1) != 0)
    return eligible


@triton.jit
def _query_and(n_parts):
    """This program's query and part of the codes: a part meets all queries in turn, while it is in the cache.

    A grid has 2^31 programs in its first dimension alone.
    """
    program = tl.program_id(0).to(tl.int64)
    n_queries = tl.num_programs(0) // n_parts
    return program % n_queries, program // n_queries


@triton.jit
def hamming_distance_kernel(queries_ptr, codes_ptr, distances_ptr, n, n_words, n_blocks, BLOCK: tl.constexpr):
    query, block = _query_and(n_blocks)
    ids = block * BLOCK + tl.arange(0, BLOCK)
    distance = _distances(queries_ptr, codes_ptr, query, ids, n, n_words, BLOCK)
    tl.store(distances_ptr + query * n + ids, distance, mask=ids < n)


@triton.jit
def hamming_count_kernel(
    queries_ptr, codes_ptr, mask_ptr, counts_ptr, n, n_words, n_chunks, n_ranges,
    HAS_MASK: tl.constexpr, BINS: tl.constexpr, BLOCK: tl.constexpr, BLOCKS_PER_CHUNK: tl.constexpr,
):  # fmt: skip
    """Add to counts int64 [q, n_ranges * BINS] the eligible codes of a chunk at each distance of a range."""
    query, part = _query_and(n_chunks * n_ranges)
    lowest = (part % n_ranges).to(tl.int32) * BINS
    first = part // n_ranges * BLOCK * BLOCKS_PER_CHUNK
    counts = tl.zeros([BINS], dtype=tl.int32)
    for block in range(BLOCKS_PER_CHUNK):
        ids = first + block * BLOCK + tl.arange(0, BLOCK)
        place = _distances(queries_ptr, codes_ptr, query, ids, n, n_words, BLOCK) - lowest
        counted = _eligible(mask_ptr, ids, n, HAS_MASK) & (place >= 0) & (place < BINS)
        counts += tl.histogram(place, BINS, mask=counted)
    tl.atomic_add(counts_ptr + query * n_ranges * BINS + lowest + tl.arange(0, BINS), counts.to(tl.int64))


@triton.jit
def hamming_chunk_count_kernel(
    queries_ptr, codes_ptr, mask_ptr, last_ptr, below_ptr, at_ptr, n, n_words, n_chunks,
    HAS_MASK: tl.constexpr, BLOCK: tl.constexpr, BLOCKS_PER_CHUNK: tl.constexpr,
):  # fmt: skip
    """Write how many eligible codes of each chunk are below and at the query's last distance, int32 [q, n_chunks]."""
    query, chunk = _query_and(n_chunks)
    last = tl.load(last_ptr + query)
    below = 0
    at = 0
    for block in range(BLOCKS_PER_CHUNK):
        ids = (chunk * BLOCKS_PER_CHUNK + block) * BLOCK + tl.arange(0, BLOCK)
        distance = _distances(queries_ptr, codes_ptr, query, ids, n, n_words, BLOCK)
        eligible = _eligible(mask_ptr, ids, n, HAS_MASK)
        below += tl.sum((eligible & (distance < last)).to(tl.int32), axis=0)
        at += tl.sum((eligible & (distance == last)).to(tl.int32), axis=0)
    tl.store(below_ptr + query * n_chunks + chunk, below)
    tl.store(at_ptr + query * n_chunks + chunk, at)


@triton.jit
def hamming_write_kernel(
    queries_ptr, codes_ptr, mask_ptr, last_ptr, below_ptr, at_ptr, end_ptr, distances_ptr, ids_ptr,
    n, n_words, n_chunks,
    HAS_MASK: tl.constexpr, BLOCK: tl.constexpr, BLOCKS_PER_CHUNK: tl.constexpr,
):  # fmt: skip
    """Write a chunk's hits: those below `last` from below[chunk] on, those at it from at[chunk] to end."""
    query, chunk = _query_and(n_chunks)
    last = tl.load(last_ptr + query)
    end = tl.load(end_ptr + query)
    next_below = tl.load(below_ptr + query * n_chunks + chunk)
    next_at = tl.load(at_ptr + query * n_chunks + chunk)
    for block in range(BLOCKS_PER_CHUNK):
        ids = (chunk * BLOCKS_PER_CHUNK + block) * BLOCK + tl.arange(0, BLOCK)
        distance = _distances(queries_ptr, codes_ptr, query, ids, n, n_words, BLOCK)
        eligible = _eligible(mask_ptr, ids, n, HAS_MASK)
        is_below = eligible & (distance < last)
        is_at = eligible & (distance == last)
        position = tl.where(
            is_below,
            next_below + tl.cumsum(is_below.to(tl.int64), axis=0) - 1,
            next_at + tl.cumsum(is_at.to(tl.int64), axis=0) - 1,
        )
        taken = is_below | (is_at & (position < end))
        tl.store(distances_ptr + position, distance, mask=taken)
        tl.store(ids_ptr + position, ids, mask=taken)
        next_below += tl.sum(is_below.to(tl.int64), axis=0)
        next_at += tl.sum(is_at.to(tl.int64), axis=0)


def signed_words(codes: torch.Tensor) -> torch.Tensor:
    """Return codes as int64 or int32 [n, n_words], zero-padded to whole words."""
    n_bytes = codes.shape[1]
    if n_bytes % 4:
        codes = torch.nn.functional.pad(codes, (0, -n_bytes % 4))
    if not codes.is_contiguous() or codes.data_ptr() % 8 or codes.numel() == 0:  # an empty tensor may have stride 0
        codes = codes.clone(memory_format=torch.contiguous_format)
    return codes.view(torch.int32 if codes.shape[1] % 8 else torch.int64)


def _write_hits(
    queries: torch.Tensor,
    codes: torch.Tensor,
    mask: torch.Tensor | None,
    last: torch.Tensor,
    hits_at_last: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Collect the codes below each query's `last` distance and the first `hits_at_last` at it.

    Returns how many hits each query has int64 [q], then their distances int32 and ids int64, sorted by (distance, id).
    """
    n_queries, (n, n_words) = queries.shape[0], codes.shape
    n_chunks = triton.cdiv(n, BLOCK * BLOCKS_PER_CHUNK)
    grid = (n_queries * n_chunks,)
    options = {"HAS_MASK": mask is not None, "BLOCK": BLOCK, "BLOCKS_PER_CHUNK": BLOCKS_PER_CHUNK}
    last = last.to(torch.int32)
    chunk_counts = torch.empty((2, n_queries, n_chunks), dtype=torch.int32, device=codes.device)
    if n_queries * n_chunks:
        hamming_chunk_count_kernel[grid](queries, codes, mask, last, *chunk_counts, n, n_words, n_chunks, **options)
    totals = chunk_counts.sum(dim=2)  # int64 [2, q]
    n_below, n_at = totals[0], torch.minimum(totals[1], hits_at_last)
    ends = (n_below + n_at).cumsum(0)
    starts = ends - n_below - n_at
    starts = torch.stack([starts, starts + n_below])  # of the hits below and at the last distance
    positions = (chunk_counts.cumsum(2) - chunk_counts + starts[:, :, None]).contiguous()
    n_hits = int(ends[-1]) if n_queries else 0
    distances = torch.empty(n_hits, dtype=torch.int32, device=codes.device)
    ids = torch.empty(n_hits, dtype=torch.int64, device=codes.device)
    if n_hits:
        hamming_write_kernel[grid](
            queries, codes, mask, last, *positions, ends, distances, ids, n, n_words, n_chunks, **options,
        )  # fmt: skip
    query = torch.repeat_interleave(torch.arange(n_queries, device=codes.device), n_below + n_at, output_size=n_hits)
    order = (query << 13 | distances).sort(stable=True).indices  # 13 bits hold any distance
    return n_below + n_at, distances[order], ids[order]


def _groups(n_queries: int, n: int) -> Iterator[slice]:
    """Cut the queries so that the counts of their chunks fit in COUNTS."""
    size = max(1, COUNTS // max(1, triton.cdiv(n, BLOCK * BLOCKS_PER_CHUNK)))
    return (slice(first, first + size) for first in range(0, n_queries, size))


def hamming_distance(queries: torch.Tensor, codes: torch.Tensor, threads: int = 0) -> torch.Tensor:
    """Return int32 [q, n]."""
    n_queries, n = queries.shape[0], codes.shape[0]
    distances = torch.empty((n_queries, n), dtype=torch.int32, device=codes.device)
    if distances.numel():
        queries, codes = signed_words(queries), signed_words(codes)
        n_blocks = triton.cdiv(n, BLOCK)
        grid = (n_queries * n_blocks,)
        hamming_distance_kernel[grid](queries, codes, distances, n, codes.shape[1], n_blocks, BLOCK=BLOCK)
    return distances


def distance_bins(n_bits: int) -> tuple[int, int]:
    """Return how many distances a program counts and how many ranges of so many there are."""
    bins = min(MAX_BINS, triton.next_power_of_2(n_bits + 1))
    return bins, triton.cdiv(n_bits + 1, bins)


def nearest_by_counting(queries: torch.Tensor, codes: torch.Tensor, mask: torch.Tensor | None, k: int) -> torch.Tensor:
    """Return the k nearest codes of every query int64 [q, k], ascending, as distance << ID_BITS | id; then 2^63 - 1.

    `queries` and `codes` are words.
    """
    nearest = torch.full((len(queries), k), 2**63 - 1, dtype=torch.int64, device=codes.device)
    n, n_words = codes.shape
    n_bits = n_words * codes.itemsize * 8
    bins, n_ranges = distance_bins(n_bits)
    n_chunks = triton.cdiv(n, BLOCK * BLOCKS_PER_CHUNK)
    for group in _groups(len(queries), n):
        q = queries[group]
        counts = torch.zeros((len(q), n_ranges * bins), dtype=torch.int64, device=codes.device)
        hamming_count_kernel[(len(q) * n_chunks * n_ranges,)](
            q, codes, mask, counts, n, n_words, n_chunks, n_ranges,
            HAS_MASK=mask is not None, BINS=bins, BLOCK=BLOCK, BLOCKS_PER_CHUNK=BLOCKS_PER_CHUNK,
        )  # fmt: skip
        up_to = counts[:, : n_bits + 1].cumsum(1)
        wanted = up_to[:, -1:].clamp(max=k)
        last = torch.searchsorted(up_to, wanted)[:, 0]
        below = torch.where(last > 0, up_to.gather(1, (last - 1).clamp(min=0)[:, None])[:, 0], 0)
        n_hits, distances, ids = _write_hits(q, codes, mask, last, wanted[:, 0] - below)
        query = torch.repeat_interleave(torch.arange(len(q), device=codes.device), n_hits, output_size=len(ids))
        column = torch.arange(len(ids), device=codes.device) - (n_hits.cumsum(0) - n_hits)[query]
        nearest[group][query, column] = distances.long() << ID_BITS.value | ids
    return nearest


def hamming_radius(
    queries: torch.Tensor, codes: torch.Tensor, radius: int, mask: torch.Tensor | None = None, threads: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return int64 [q + 1], int32 [hits] and int64 [hits]."""
    last = torch.full((queries.shape[0],), min(radius, codes.shape[1] * 8) + 1, dtype=torch.int32, device=codes.device)
    none_at = torch.zeros_like(last, dtype=torch.int64)
    queries, codes = signed_words(queries), signed_words(codes)
    groups = list(_groups(len(queries), len(codes))) or [slice(0)]
    found = [_write_hits(queries[group], codes, mask, last[group], none_at[group]) for group in groups]
    n_hits, distances, ids = (torch.cat(parts) for parts in zip(*found, strict=True))
    offsets = torch.zeros(len(queries) + 1, dtype=torch.int64, device=codes.device)
    offsets[1:] = n_hits.cumsum(0)
    return offsets, distances, ids
