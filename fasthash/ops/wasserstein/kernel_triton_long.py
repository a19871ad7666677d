"""Parting columns that no program can hold, which are read once.

A sample of rows brackets each column's order statistic between two keys. One pass over the column counts what is below
and what is tied with either, adds up the cost of what is outside, and lists what is strictly between, a few per cent of
the column, in which the statistic is then searched. Where a bracket missed it, the whole column is searched instead.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from fasthash.ops.wasserstein.kernel_triton_keys import KEY_BITS, cost, from_target, key_of, load, select, value_of

SAMPLE = 4096  # rows
DEVIATIONS = 5  # between the statistic's expected place in the sample and either end of the bracket
CHUNK = 128  # rows that a program of the pass reads; their counts have to fit in a byte
STEP = 16  # rows it loads at a time
COLUMNS = 32  # it reads, one a thread
TILE = 8192  # elements of a column that are searched at a time, of which the first stay in registers
SLOTS = 32  # of a chunk that are listed at a time
TILE_WARPS = 16


@triton.jit
def _count_low(n_low_ptr, column, n, HALVES: tl.constexpr):
    if HALVES:
        return tl.zeros([], tl.int64) + n // 2
    else:
        return tl.load(n_low_ptr + column).to(tl.int64)


@triton.jit
def two_point_bracket_kernel(
    x_ptr, n_low_ptr, bracket_ptr, n, m, row_stride, column_stride, reach,
    BITS: tl.constexpr, HALVES: tl.constexpr, SAMPLE: tl.constexpr,
):  # fmt: skip
    """Write the keys that lie `reach` before and behind the expected place of the statistic in a sample of rows."""
    column = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, SAMPLE)[:, None]
    scattered = (i.to(tl.uint32) * 2654435761) >> 8
    rows = i.to(tl.int64) * n // SAMPLE + (scattered % tl.maximum(n // SAMPLE, 1).to(tl.uint32)).to(tl.int64)
    inside = i < SAMPLE
    key = key_of(load(x_ptr + rows * row_stride + column * column_stride, inside), inside)
    rank = tl.minimum(_count_low(n_low_ptr, column, n, HALVES), n - 1)
    place = (rank * SAMPLE // n).to(tl.int32) + tl.zeros([1], tl.int32)
    least, _, _ = select(key, SAMPLE, tl.maximum(place - reach, 0), BITS)
    most, _, _ = select(key, SAMPLE, tl.minimum(place + reach, SAMPLE - 1), BITS)
    infinity = tl.full([1], float("inf"), load(x_ptr, True).dtype)
    least = tl.where(place < reach, key_of(-infinity, True), least)
    most = tl.where(place + reach >= SAMPLE, key_of(infinity, True), most)
    tl.store(bracket_ptr + column + tl.arange(0, 1), least.to(tl.int64))
    tl.store(bracket_ptr + m + column + tl.arange(0, 1), most.to(tl.int64))


@triton.jit
def two_point_collect_kernel(
    x_ptr, bracket_ptr, counts_ptr, costs_ptr, between_ptr, n, m, row_stride, column_stride,
    low: tl.float64, high: tl.float64, p: tl.float64,
    P: tl.constexpr, CHUNK: tl.constexpr, STEP: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """List what a chunk of rows has between the keys of the bracket; write, by chunk and column, counts and costs.

    The bytes of a count are what is below, tied with the lower key, between, and tied with the upper one. The cost is
    that of what is below or above.
    """
    n_tiles = tl.cdiv(m, COLUMNS)
    chunk = tl.program_id(0) // n_tiles
    n_chunks = tl.num_programs(0) // n_tiles
    columns = tl.program_id(0) % n_tiles * COLUMNS + tl.arange(0, COLUMNS)
    columns = tl.minimum(columns, m - 1).to(tl.int64)  # threads that are left over do the same as the last
    wide: tl.constexpr = costs_ptr.dtype.element_ty
    key_type: tl.constexpr = tl.uint64 if wide == tl.float64 else tl.uint32
    least = value_of(tl.load(bracket_ptr + columns).to(key_type))
    most = value_of(tl.load(bracket_ptr + m + columns).to(key_type))
    lists = between_ptr + (columns * n_chunks + chunk) * CHUNK
    counts = tl.zeros([COLUMNS], tl.int32)
    costs = tl.zeros([COLUMNS], wide)
    first = tl.minimum(chunk * CHUNK, n - CHUNK)  # the last chunk reads some rows of the one before, and skips them
    n_skipped = chunk * CHUNK - first
    x_ptr += first.to(tl.int64) * row_stride
    for step in range(0, CHUNK, STEP):
        loaded = ()
        for i in tl.static_range(STEP):  # all before the first store, which no load may pass
            loaded += (load(x_ptr + columns * column_stride + i * row_stride, True),)  # type: ignore[assignment]
        for i in tl.static_range(STEP):
            x = loaded[i]  # type: ignore[var-annotated]
            counted = step + i >= n_skipped
            flag = tl.where(x < most, 1 << 16, tl.where(x == most, 1 << 24, 0))
            flag = tl.where(x < least, 1, tl.where(x == least, 1 << 8, flag))
            flag = tl.where(counted, flag, 0)
            tl.store(lists + (counts >> 16 & 255), x, mask=flag == 1 << 16)
            counts += flag
            is_outside = counted & (flag <= 1)  # a NaN among it
            costs += cost(tl.where(is_outside, from_target(x, x < least, low, high), 0.0), p, P)
        x_ptr += STEP * row_stride
    place = chunk.to(tl.int64) * m + columns
    tl.store(counts_ptr + place, counts)
    tl.store(costs_ptr + place, costs)


@triton.jit
def _keys(pointer, stride, first, last, TILE: tl.constexpr):
    """The keys of a tile of elements from the first on, and which of them come before the last."""
    i = first + tl.arange(0, TILE)
    inside = i < last
    return key_of(load(pointer + i.to(tl.int64) * stride, inside), inside), inside


@triton.jit
def _select(key, inside, pointer, stride, n, rank, BITS: tl.constexpr, TILE: tl.constexpr):
    """As `select`, for n elements in memory whose first tile is in registers, too."""
    UNSET: tl.constexpr = key.dtype.primitive_bitwidth - BITS
    tau = tl.zeros([], key.dtype)
    n_below = tl.zeros([], tl.int32)
    n_upto = n_below + n
    unknown = tau - 1
    while (unknown >> UNSET != 0) & (n_upto - n_below > 1):
        middle = tau + (unknown - (unknown >> 1))
        n_below_middle = tl.sum((inside & (key < middle)).to(tl.int32), axis=0)
        for first in range(TILE, n, TILE):
            other, _ = _keys(pointer, stride, first, n, TILE)
            n_below_middle += tl.sum((other < middle).to(tl.int32), axis=0)
        above = n_below_middle <= rank
        tau = tl.where(above, middle, tau)
        n_below = tl.where(above, n_below_middle, n_below)
        n_upto = tl.where(above, n_upto, n_below_middle)
        unknown = unknown >> 1
    known = tau
    tau = tl.maximum(tau, tl.max(tl.where(inside & (key - known <= unknown), key, 0), axis=0))
    for first in range(TILE, n, TILE):
        other, among = _keys(pointer, stride, first, n, TILE)
        tau = tl.maximum(tau, tl.max(tl.where(among & (other - known <= unknown), other, 0), axis=0))
    return tau, n_below, n_upto - n_below


@triton.jit
def _find(pointer, stride, first, last, least, most, place, TILE: tl.constexpr):
    """Where in memory from first to last the element is that has so many before it from the least key to the most."""
    found = tl.zeros([], tl.int32)
    for start in range(first, last, TILE):
        key, inside = _keys(pointer, stride, start, last, TILE)
        member = (inside & (key >= least) & (key <= most)).to(tl.int32)
        n_before = tl.cumsum(member, axis=0) - member
        i = start + tl.arange(0, TILE)
        found += tl.sum(tl.where((member != 0) & (n_before == place), i, 0), axis=0)
        place -= tl.sum(member, axis=0)
    return found


@triton.jit
def _gather(
    counts_ptr, costs_ptr, between_ptr, listed_ptr, m, n_chunks, capacity,
    CHUNK: tl.constexpr, SLOTS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Add up a column's counts and costs; list what lies between, as far as there is room, in the order of rows."""
    n_below = tl.zeros([], tl.int32)
    n_least = tl.zeros([], tl.int32)
    n_between = tl.zeros([], tl.int32)
    n_most = tl.zeros([], tl.int32)
    total = tl.zeros([], tl.float64)
    for first in range(0, n_chunks, TILE // SLOTS):
        chunks = first + tl.arange(0, TILE // SLOTS)
        count = tl.load(counts_ptr + chunks.to(tl.int64) * m, mask=chunks < n_chunks, other=0)
        costs = tl.load(costs_ptr + chunks.to(tl.int64) * m, mask=chunks < n_chunks, other=0.0)
        of_chunk = count >> 16 & 255
        places = (n_between + tl.cumsum(of_chunk, axis=0) - of_chunk)[:, None]
        for slot in range(0, tl.max(of_chunk, axis=0), SLOTS):
            slots = slot + tl.arange(0, SLOTS)[None, :]
            filled = slots < of_chunk[:, None]
            x = tl.load(between_ptr + chunks[:, None] * CHUNK + slots, mask=filled, other=0.0)
            tl.store(listed_ptr + places + slots, x, mask=filled & (places + slots < capacity))
        n_below += tl.sum(count & 255, axis=0)
        n_least += tl.sum(count >> 8 & 255, axis=0)
        n_between += tl.sum(of_chunk, axis=0)
        n_most += tl.sum(count >> 24 & 255, axis=0)
        total += tl.sum(costs.to(tl.float64), axis=0)
    tl.debug_barrier()  # other threads read what this one listed
    return n_below, n_least, n_between, n_most, total


@triton.jit
def _chunk_of(counts_ptr, m, n_chunks, shift, place, CHUNKS: tl.constexpr):
    """The chunk of the element with so many before it, by one byte of the counts, and its place in that chunk."""
    n_upto = tl.zeros([], tl.int32)
    n_before = tl.zeros([], tl.int32)
    chunk = tl.zeros([], tl.int32)
    for first in range(0, n_chunks, CHUNKS):
        chunks = (first + tl.arange(0, CHUNKS)).to(tl.int64)
        count = tl.load(counts_ptr + chunks * m, mask=chunks < n_chunks, other=0) >> shift & 255
        passed = (n_upto + tl.cumsum(count, axis=0) <= place) & (chunks < n_chunks)
        n_before += tl.sum(tl.where(passed, count, 0), axis=0)
        chunk += tl.sum(passed.to(tl.int32), axis=0)
        n_upto += tl.sum(count, axis=0)
    return chunk, place - n_before


@triton.jit
def _cost_beside(key, inside, tau, low, high, p, P: tl.constexpr):
    """The cost of the elements of a tile that are below or above tau."""
    costs = cost(from_target(value_of(key), key < tau, low, high), p, P)
    return tl.sum(tl.where(inside & (key != tau), costs, 0.0), axis=0).to(tl.float64)


@triton.jit
def _cost_of(key, counts, is_low, low, high, p, P: tl.constexpr):
    """The cost of an element with this key, zero where it does not count."""
    return tl.where(counts, cost(from_target(value_of(key), is_low, low, high), p, P).to(tl.float64), 0.0)


@triton.jit
def two_point_search_kernel(
    x_ptr, n_low_ptr, bracket_ptr, counts_ptr, costs_ptr, between_ptr, listed_ptr, cost_ptr, parting_ptr,
    n, m, row_stride, column_stride, n_chunks, capacity,
    split: tl.float64, low: tl.float64, high: tl.float64, p: tl.float64, scale: tl.float64,
    P: tl.constexpr, BITS: tl.constexpr, HALVES: tl.constexpr, CHUNK: tl.constexpr, SLOTS: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """Part a column by what was collected, or by itself where the bracket missed; write its cost times scale."""
    column = tl.program_id(0).to(tl.int64)
    x_ptr += column * column_stride
    counts_ptr += column
    listed_ptr += column * capacity
    n_below, n_least, n_between, n_most, total = _gather(
        counts_ptr, costs_ptr + column, between_ptr + column * n_chunks * CHUNK, listed_ptr, m, n_chunks, capacity,
        CHUNK, SLOTS, TILE,
    )  # fmt: skip
    n_low = _count_low(n_low_ptr, column, n, HALVES).to(tl.int32)
    rank = tl.minimum(n_low, n - 1)
    n_upto_least = n_below + n_least
    n_under_most = n_upto_least + n_between
    missed = (rank < n_below) | (rank >= n_under_most + n_most) | (n_between > capacity)
    at_least = (missed == 0) & (rank < n_upto_least)
    at_most = (missed == 0) & (rank >= n_under_most)

    source = listed_ptr
    stride = tl.full([], 1, tl.int64)
    n_source = n_between
    n_lower = n_upto_least
    if missed:
        source = x_ptr
        stride = tl.full([], row_stride, tl.int64)
        n_source = tl.zeros([], tl.int32) + n
        n_lower = tl.zeros([], tl.int32)
        n_least = tl.zeros([], tl.int32)
        n_most = tl.zeros([], tl.int32)
        total = tl.zeros([], tl.float64)
    key, inside = _keys(source, stride, 0, n_source, TILE)
    n_searched = tl.where(at_least | at_most, 0, n_source)
    tau, n_lower_there, n_tied = _select(key, inside, source, stride, n_searched, rank - n_lower, BITS, TILE)
    least = tl.load(bracket_ptr + column).to(tau.dtype)
    most = tl.load(bracket_ptr + m + column).to(tau.dtype)
    tau = tl.where(at_least, least, tl.where(at_most, most, tau))
    n_tied = tl.where(at_least, n_least, tl.where(at_most, n_most, n_tied))
    n_lower = tl.where(at_least, n_below, tl.where(at_most, n_under_most, n_lower + n_lower_there))
    n_tied_low = n_low - n_lower

    row = tl.zeros([], tl.int32) + n
    if n_low < n:
        place = n_tied_low
        first = tl.zeros([], tl.int32)
        last = first + n
        from_key = tau
        to_key = tau
        if missed == 0:
            shift = tl.where(at_least, 8, 24)
            if (at_least | at_most) == 0:
                place = _find(listed_ptr, 1, 0, n_between, tau, tau, place, TILE)
                shift = tl.full([], 16, tl.int32)
                from_key = least + 1
                to_key = most - 1
            chunk, place = _chunk_of(counts_ptr, m, n_chunks, shift, place, TILE // SLOTS)
            first = chunk * CHUNK
            last = tl.minimum(first + CHUNK, n)
        row = _find(x_ptr, row_stride, first, last, from_key, to_key, place, TILE)
    tl.store(parting_ptr + column, tau.to(tl.int64))
    tl.store(parting_ptr + m + column, row.to(tl.int64))

    total += _cost_beside(key, inside, tau, low, high, p, P)
    for start in range(TILE, n_source, TILE):
        key, inside = _keys(source, stride, start, n_source, TILE)
        total += _cost_beside(key, inside, tau, low, high, p, P)
    mass_low = n_tied_low + tl.where(n_tied_low < n_tied, split, 0.0)
    total += mass_low * _cost_of(tau, mass_low > 0, True, low, high, p, P)
    total += (n_tied - mass_low) * _cost_of(tau, mass_low < n_tied, False, low, high, p, P)
    total += n_least * _cost_of(least, (n_least > 0) & (tau != least), True, low, high, p, P)
    total += n_most * _cost_of(most, (n_most > 0) & (tau != most), False, low, high, p, P)
    tl.store(cost_ptr + column, total * scale)


def blocks(dtype: torch.dtype) -> tuple[dict[str, int], dict[str, int]]:
    """Return how the collecting and the searching kernel divide their work; float64 takes twice the registers."""
    share = 2 if dtype == torch.float64 else 1
    collect = {"CHUNK": CHUNK, "STEP": STEP // share, "COLUMNS": COLUMNS, "num_warps": 1}
    return collect, {"CHUNK": CHUNK, "SLOTS": SLOTS, "TILE": TILE // share, "num_warps": TILE_WARPS}


def part_columns(
    x: torch.Tensor, n_low: torch.Tensor | None, parting: torch.Tensor, law: tuple[float, ...]
) -> torch.Tensor:
    """Write each column's key and row to `parting`; return its cost, float64 [m]. See `kernel_triton`.

    A column has at least CHUNK rows.
    """
    n, m = x.shape
    split, low, high, p, scale, exponent = law
    collect, search = blocks(x.dtype)
    n_chunks = triton.cdiv(n, CHUNK)
    capacity = max(TILE, n // 4)

    def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=x.device)

    bracket, counts = empty(2, m, dtype=torch.int64), empty(n_chunks, m, dtype=torch.int32)
    costs = empty(n_chunks, m, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
    between, listed = empty(m, n_chunks * CHUNK, dtype=x.dtype), empty(m, capacity, dtype=x.dtype)
    column_costs = empty(m, dtype=torch.float64)
    options = {"BITS": KEY_BITS[x.dtype], "HALVES": n_low is None}
    two_point_bracket_kernel[(m,)](
        x, n_low, bracket, n, m, *x.stride(), math.ceil(DEVIATIONS * math.sqrt(SAMPLE) / 2),
        SAMPLE=SAMPLE, num_warps=max(1, SAMPLE // 256), **options,
    )  # fmt: skip
    two_point_collect_kernel[(n_chunks * triton.cdiv(m, COLUMNS),)](
        x, bracket, counts, costs, between, n, m, *x.stride(), low, high, p, exponent, **collect
    )
    two_point_search_kernel[(m,)](
        x, n_low, bracket, counts, costs, between, listed, column_costs, parting, n, m, *x.stride(), n_chunks, capacity,
        split, low, high, p, scale, exponent, **search, **options,
    )  # fmt: skip
    return column_costs
