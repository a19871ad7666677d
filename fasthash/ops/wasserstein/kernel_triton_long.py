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
SLOTS = 16  # of a chunk that are listed at a time
REST = 2048  # of those beyond it, which are read again each time
TILE_WARPS = 8
TILE_REGISTERS = 128  # two programs a multiprocessor
GUESSES = tl.constexpr(8)  # of a threshold, before intervals are halved


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
def _between(low, high, share, UNSET: tl.constexpr):
    """The unit whose number lies so far from that of a low to that of a high one; a unit is a key's bits that vary."""
    number = value_of(low << UNSET)
    share = share.to(number.dtype)
    return key_of(number * (1 - share) + value_of(high << UNSET) * share, True) >> UNSET


@triton.jit
def _select(
    key, inside, pointer, stride, n, rank, least, most, BITS: tl.constexpr, TILE: tl.constexpr, REST: tl.constexpr
):
    """As `select`, for n elements in memory, from one key to another, whose first tile is in registers, too.

    Thresholds are guessed as if the numbers were spread evenly, then halve the interval of keys.
    """
    UNSET: tl.constexpr = key.dtype.primitive_bitwidth - BITS
    least = least >> UNSET
    most = most >> UNSET
    n_below = tl.zeros([], tl.int32)
    n_upto = n_below + n
    guesses = n_below + GUESSES
    while (least < most) & (n_upto - n_below > 1):
        middle = most - (most - least >> 1)
        if guesses > 0:
            share = ((rank - n_below).to(tl.float32) + 0.5) / (n_upto - n_below).to(tl.float32)
            middle = tl.minimum(tl.maximum(_between(least, most, share, UNSET), least + 1), most)
        guesses -= 1
        threshold = middle << UNSET
        n_under = tl.sum((inside & (key < threshold)).to(tl.int32), axis=0)
        for start in range(TILE, n, REST):
            other, among = _keys(pointer, stride, start, n, REST)
            n_under += tl.sum((among & (other < threshold)).to(tl.int32), axis=0)
        above = n_under <= rank
        least = tl.where(above, middle, least)
        most = tl.where(above, most, middle - 1)
        n_below = tl.where(above, n_under, n_below)
        n_upto = tl.where(above, n_upto, n_under)
    least = least << UNSET
    most = (most << UNSET) - least
    tau = tl.max(tl.where(inside & (key - least <= most), key, 0), axis=0)
    for start in range(TILE, n, REST):
        other, among = _keys(pointer, stride, start, n, REST)
        tau = tl.maximum(tau, tl.max(tl.where(among & (other - least <= most), other, 0), axis=0))
    return tau, n_below, n_upto - n_below


@triton.jit
def _place(key, inside, pointer, stride, n, tau, TILE: tl.constexpr, REST: tl.constexpr):
    """Where the one element with a key is among n in memory, whose first tile is in registers, too."""
    place = tl.max(tl.where(inside & (key == tau), tl.arange(0, TILE), 0), axis=0)
    for start in range(TILE, n, REST):
        other, among = _keys(pointer, stride, start, n, REST)
        place = tl.maximum(place, tl.max(tl.where(among & (other == tau), start + tl.arange(0, REST), 0), axis=0))
    return place


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
    below = tl.zeros([TILE // SLOTS], tl.int32)
    least = tl.zeros([TILE // SLOTS], tl.int32)
    most = tl.zeros([TILE // SLOTS], tl.int32)
    total = tl.zeros([TILE // SLOTS], tl.float64)
    n_between = tl.zeros([], tl.int32)
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
        below += count & 255
        least += count >> 8 & 255
        most += count >> 24 & 255
        total += costs.to(tl.float64)
        n_between += tl.sum(of_chunk, axis=0)
    tl.debug_barrier()  # other threads read what this one listed
    return tl.sum(below, axis=0), tl.sum(least, axis=0), n_between, tl.sum(most, axis=0), tl.sum(total, axis=0)


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
    TILE: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """Part a column by what was collected, or by itself where the bracket missed; write its cost times scale."""
    column = tl.program_id(0).to(tl.int64)
    x_ptr += column * column_stride
    counts_ptr += column
    listed_ptr += column * capacity
    n_below, n_least, n_between, n_most, total = _gather(
        counts_ptr, costs_ptr + column, between_ptr + column * n_chunks * CHUNK, listed_ptr, m, n_chunks, capacity,
        CHUNK, SLOTS, TILE // 2,
    )  # fmt: skip
    n_low = _count_low(n_low_ptr, column, n, HALVES).to(tl.int32)
    rank = tl.minimum(n_low, n - 1)
    n_upto_least = n_below + n_least
    n_under_most = n_upto_least + n_between
    missed = (rank < n_below) | (rank >= n_under_most + n_most) | (n_between > capacity)
    at_least = (missed == 0) & (rank < n_upto_least)
    at_most = (missed == 0) & (rank >= n_under_most)

    key_type: tl.constexpr = tl.uint64 if x_ptr.dtype.element_ty == tl.float64 else tl.uint32
    least = tl.load(bracket_ptr + column).to(key_type)
    most = tl.load(bracket_ptr + m + column).to(key_type)
    from_key = least + 1
    to_key = most - 1
    source = listed_ptr
    stride = tl.full([], 1, tl.int64)
    n_source = n_between
    n_lower = n_upto_least
    if missed:
        from_key = tl.zeros([], key_type)
        to_key = from_key - 1
        source = x_ptr
        stride = tl.full([], row_stride, tl.int64)
        n_source = tl.zeros([], tl.int32) + n
        n_lower = tl.zeros([], tl.int32)
        n_least = tl.zeros([], tl.int32)
        n_most = tl.zeros([], tl.int32)
        total = tl.zeros([], tl.float64)
        for start in range(0, TILE, REST):
            i = start + tl.arange(0, REST)
            x = tl.load(x_ptr + i.to(tl.int64) * row_stride, mask=i < n, other=0.0)
            tl.store(listed_ptr + i, x, mask=i < n)
        tl.debug_barrier()
    key, inside = _keys(listed_ptr, 1, 0, n_source, TILE)
    n_searched = tl.where(at_least | at_most, 0, n_source)
    tau, n_lower_there, n_tied = _select(
        key, inside, source, stride, n_searched, rank - n_lower, from_key, to_key, BITS, TILE, REST
    )
    tau = tl.where(at_least, least, tl.where(at_most, most, tau))
    n_tied = tl.where(at_least, n_least, tl.where(at_most, n_most, n_tied))
    n_lower = tl.where(at_least, n_below, tl.where(at_most, n_under_most, n_lower + n_lower_there))
    n_tied_low = n_low - n_lower

    row = tl.zeros([], tl.int32) + n
    if n_low < n:
        row = n_tied_low
        if at_least | at_most:
            from_key = tau
            to_key = tau
        elif n_tied == 1:
            row = _place(key, inside, source, stride, n_source, tau, TILE, REST)
        else:
            row = _find(source, stride, 0, n_source, tau, tau, row, REST)
        if missed == 0:
            shift = tl.where(at_least, 8, tl.where(at_most, 24, 16))
            chunk, place = _chunk_of(counts_ptr, m, n_chunks, shift, row, TILE // SLOTS // 2)
            first = chunk * CHUNK
            row = _find(x_ptr, row_stride, first, tl.minimum(first + CHUNK, n), from_key, to_key, place, CHUNK)
    tl.store(parting_ptr + column, tau.to(tl.int64))
    tl.store(parting_ptr + m + column, row.to(tl.int64))

    total += _cost_beside(key, inside, tau, low, high, p, P)
    for start in range(TILE, n_source, REST):
        other, among = _keys(source, stride, start, n_source, REST)
        total += _cost_beside(other, among, tau, low, high, p, P)
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
    search = {"CHUNK": CHUNK, "SLOTS": SLOTS, "TILE": TILE // share, "REST": REST // share}
    return collect, search | {"num_warps": TILE_WARPS, "maxnreg": TILE_REGISTERS}


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
