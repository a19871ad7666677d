"""Hamming search on a GPU: a filter by the distances of a sample, then selection among the few codes that pass.

The k-th nearest code of a sample is at least as far as the k-th nearest of all. So a search is a series of passes over
ever larger samples, the last of which is everything: each finds the codes within the limits that the one before gave,
and from them each query's next limit. A pass that finds more than its lists hold gives a limit all the same.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
import triton
import triton.language as tl

from fasthash.errors import MAX_BITS
from fasthash.ops.hamming.hits import NO_DISTANCE, not_farther
from fasthash.ops.hamming.kernel_triton_count import (
    ID_BITS,
    ID_MASK,
    _distances,
    _eligible,
    _popcount,
    _unsigned,
    _weighted_popcount,
    hamming_distance,
    hamming_radius,
    nearest_by_counting,
    signed_words,
)

__all__ = ["hamming_distance", "hamming_radius", "hamming_topk"]

TUNING = json.loads(Path(__file__).with_name("tuning.json").read_text())
FEW_QUERIES = 128  # that are selected for by large programs
FEW = {"BLOCK": 4096, "num_warps": 16}
MANY = {"BLOCK": 512, "num_warps": 4}
PROGRAMS = 2048  # enough to fill a GPU
RESIDENT = 8  # programs of the scan of one query that a multiprocessor has
LIST_BYTES = 2**28  # of the lists of the queries that are searched at once
CHUNK_BYTES = 2**28  # of codes copied to the GPU at once
NO_HIT = tl.constexpr(2**63 - 1)
FAR = tl.constexpr(2**20)  # more than any distance
DIGIT_BITS = tl.constexpr(8)
DIGITS = tl.constexpr(2**8)  # values of a digit, by which the k-th hit is found
# Arguments for whose values a kernel is not compiled again.
SIZES = (
    "n", "stride", "k", "n_words", "n_queries", "queries_per_program", "listed", "capacity",
    "id_digits", "distance_digits",
)  # fmt: skip


@triton.jit
def _ids(positions, stride):
    """The ids of a sample: the first of every `stride` groups of eight codes, whose mask is a byte."""
    return (positions >> 3) * (8 * stride) + (positions & 7)


@triton.jit
def _bound(limits_ptr, rows, inside, first):
    """The distance below which codes of ids from `first` on may be within the rows' limits."""
    limit = tl.load(limits_ptr + rows, mask=inside, other=-1)
    return (limit >> ID_BITS).to(tl.int32) + ((limit & ID_MASK) >= first).to(tl.int32)


@triton.jit
def _weighted(differ, query, read, N_WORDS: tl.constexpr, PLANES: tl.constexpr):
    """The distances of codes [CODES, WORDS] that differ from a query in these bits, after which its planes lie."""
    if PLANES == 0:
        ones = _popcount(_unsigned(differ))
    else:
        ones = tl.zeros(differ.shape, dtype=tl.int32)
        for plane in tl.static_range(PLANES):
            magnitudes = tl.load(query + (plane + 1) * N_WORDS, mask=read, other=0)
            ones += _weighted_popcount(differ & magnitudes[None, :], plane)
    return tl.sum(ones, axis=1)


@triton.jit
def _list(signs, begin, counts_ptr, suspects_ptr, capacity, CODES: tl.constexpr):
    """List the codes from `begin` on that have a negative sign, as far as there is room."""
    suspect = (signs < 0).to(tl.int32)
    at = tl.atomic_add(counts_ptr, tl.sum(suspect, axis=0).to(tl.int64), sem="relaxed")
    rank = tl.cumsum(suspect, axis=0) - 1
    room = tl.maximum(tl.minimum(capacity - at, CODES), 0).to(tl.int32)
    tl.store(suspects_ptr + at + rank, begin + tl.arange(0, CODES), mask=(suspect != 0) & (rank < room))


@triton.jit(do_not_specialize=SIZES)
def hamming_scan_kernel(
    queries_ptr, codes_ptr, mask_ptr, limits_ptr, counts_ptr, suspects_ptr,
    n, stride, n_queries, queries_per_program, capacity,
    HAS_MASK: tl.constexpr, SAMPLE: tl.constexpr, N_WORDS: tl.constexpr, WORDS: tl.constexpr, CODES: tl.constexpr,
    QUERIES: tl.constexpr, PLANES: tl.constexpr,
):  # fmt: skip
    """List the sample's codes that are within the limit of any of QUERIES queries, by popcounts.

    PLANES planes of magnitudes follow the words of a query, for weighted distances; without any it is the Hamming one.

    A program keeps its codes in registers. Where the distance to a query is below the bound the difference is negative,
    and one test of the union of signs serves all the queries.
    """
    begin = tl.program_id(0).to(tl.int64) * CODES
    first = _ids(begin, stride)
    lanes = tl.arange(0, CODES)
    left = n - first
    if SAMPLE:
        offsets = _ids(lanes.to(tl.int64), stride)
    else:
        offsets = lanes
        left = tl.minimum(left, CODES).to(tl.int32)  # 64 bits would take twice the registers
    words = tl.arange(0, WORDS)
    place = codes_ptr + first * N_WORDS + offsets[:, None] * N_WORDS + words[None, :]
    if first + _ids(tl.full([], CODES - 1, tl.int64), stride) < n:  # unmasked, they are read as vectors
        codes = tl.load(place, mask=(words < N_WORDS)[None, :], other=0)
    else:
        codes = tl.load(place, mask=(offsets < left)[:, None] & (words < N_WORDS)[None, :], other=0)
    eligible = _eligible(mask_ptr + (first >> 3), offsets, left, HAS_MASK) if HAS_MASK else offsets < left
    low = tl.program_id(1) * queries_per_program
    for start in range(low, tl.minimum(low + queries_per_program, n_queries), QUERIES):
        signs = tl.zeros([CODES], dtype=tl.int32)
        for i in tl.static_range(QUERIES):
            row = tl.cast(start + i, tl.int64)
            inside = row < n_queries
            query = queries_ptr + row * ((PLANES + 1) * N_WORDS) + words
            read = inside & (words < N_WORDS)
            differ = codes ^ tl.load(query, mask=read, other=0)[None, :]
            distance = _weighted(differ, query, read, N_WORDS, PLANES)
            signs |= distance - _bound(limits_ptr, row, inside, first)
        signs = tl.where(eligible, signs, 0)
        if tl.min(signs, axis=0) < 0:
            group = tl.cast(start // QUERIES, tl.int64)
            _list(signs, begin, counts_ptr + group, suspects_ptr + group * capacity, capacity, CODES)


@triton.jit(do_not_specialize=SIZES)
def hamming_scan_one_kernel(
    query_ptr, codes_ptr, mask_ptr, limits_ptr, counts_ptr, suspects_ptr, n, capacity,
    HAS_MASK: tl.constexpr, N_WORDS: tl.constexpr, WORDS: tl.constexpr, CODES: tl.constexpr, PLANES: tl.constexpr,
):  # fmt: skip
    """As `hamming_scan_kernel`, of one query and all codes: a program reads the next of its codes before it counts."""
    lanes = tl.arange(0, CODES)
    words = tl.arange(0, WORDS)
    read = words < N_WORDS
    query_ptr += words
    query = tl.load(query_ptr, mask=read, other=0)[None, :]
    places = codes_ptr + (lanes[:, None] * N_WORDS + words[None, :])
    limit = tl.load(limits_ptr)
    n_whole = tl.cast(n // CODES, tl.int32)
    n_programs = tl.num_programs(0)
    first = tl.program_id(0)
    ahead = tl.load(places + first.to(tl.int64) * (CODES * N_WORDS), mask=read[None, :] & (first < n_whole), other=0)
    for block in range(first, tl.cast(tl.cdiv(n, CODES), tl.int32), n_programs):
        begin = tl.cast(block, tl.int64) * CODES
        left = tl.minimum(n - begin, CODES).to(tl.int32)  # 64 bits would take twice the registers
        codes = ahead
        if block >= n_whole:
            codes = tl.load(places + begin * N_WORDS, mask=read[None, :] & (lanes < left)[:, None], other=0)
        following = tl.cast(block + n_programs, tl.int64)
        place = places + following * (CODES * N_WORDS)
        ahead = tl.load(place, mask=read[None, :] & (following < n_whole), other=0)
        distance = _weighted(codes ^ query, query_ptr, read, N_WORDS, PLANES)
        bound = (limit >> ID_BITS).to(tl.int32) + ((limit & ID_MASK) >= begin).to(tl.int32)
        eligible = _eligible(mask_ptr + (begin >> 3), lanes, left, HAS_MASK) if HAS_MASK else lanes < left
        signs = tl.where(eligible, distance - bound, 0)
        if tl.min(signs, axis=0) < 0:
            _list(signs, begin, counts_ptr, suspects_ptr, capacity, CODES)


@triton.jit
def _bits(codes_ptr, ids, n, step, N_WORDS: tl.constexpr, DEPTH: tl.constexpr):
    """DEPTH bits of each code from bit step * DEPTH on, int8 [codes, DEPTH] of 0 and 1."""
    words = step * (DEPTH // 32) + tl.arange(0, DEPTH // 32)
    inside = (ids < n)[:, None] & (words < N_WORDS)[None, :]
    codes = tl.load(codes_ptr + ids[:, None] * N_WORDS + words[None, :], mask=inside, other=0)
    bits = (codes[:, :, None] >> tl.arange(0, 32)[None, None, :]) & 1
    return tl.reshape(bits.to(tl.int8), [ids.shape[0], DEPTH])


@triton.jit(do_not_specialize=SIZES)
def hamming_product_kernel(
    signs_ptr, ones_ptr, codes_ptr, mask_ptr, limits_ptr, counts_ptr, suspects_ptr,
    n, stride, n_queries, queries_per_program, capacity,
    HAS_MASK: tl.constexpr, N_WORDS: tl.constexpr, STEPS: tl.constexpr, DEPTH: tl.constexpr,
    CODES: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """List for each query the blocks of CODES codes of the sample that have one within its limit, by int8 products.

    With the query's bits as 1 - 2 bit and the code's as they are, the distance is the product and the query's ones;
    with its negated weights, the weighted distance is the product and the sum of those above 0.
    """
    block = tl.program_id(0)
    positions = block.to(tl.int64) * CODES + tl.arange(0, CODES)
    ids = _ids(positions, stride)
    first = _ids(block.to(tl.int64) * CODES, stride)
    eligible = _eligible(mask_ptr, ids, n, HAS_MASK)
    depth = tl.arange(0, DEPTH)
    if STEPS == 1:
        bits = _bits(codes_ptr, ids, n, 0, N_WORDS, DEPTH)
    low = tl.program_id(1) * queries_per_program
    for start in range(low, tl.minimum(low + queries_per_program, n_queries), QUERIES):
        rows = tl.cast(start + tl.arange(0, QUERIES), tl.int64)
        inside = rows < n_queries
        products = tl.zeros([QUERIES, CODES], dtype=tl.int32)
        for step in range(STEPS):
            if STEPS > 1:
                bits = _bits(codes_ptr, ids, n, step, N_WORDS, DEPTH)
            place = signs_ptr + rows[:, None] * (STEPS * DEPTH) + (step * DEPTH + depth)[None, :]
            signs = tl.load(place, mask=inside[:, None], other=0)
            products = tl.dot(signs, tl.trans(bits), products, out_dtype=tl.int32)
        if HAS_MASK:
            products = tl.where(eligible[None, :], products, FAR)
        nearest = tl.min(products, axis=1) + tl.load(ones_ptr + rows, mask=inside, other=0)
        suspect = nearest < _bound(limits_ptr, rows, inside, first)
        at = tl.atomic_add(counts_ptr + rows, 1, mask=suspect, sem="relaxed")
        tl.store(suspects_ptr + rows * capacity + at, block.to(tl.int64), mask=suspect & (at < capacity))


@triton.jit(do_not_specialize=SIZES)
def hamming_select_kernel(
    queries_ptr, codes_ptr, mask_ptr, limits_ptr, counts_ptr, suspects_ptr, hits_ptr, best_ptr, overflow_ptr,
    n, stride, k, n_words, listed, capacity, id_digits, distance_digits,
    HAS_MASK: tl.constexpr, QUERIES: tl.constexpr, CODES: tl.constexpr, BLOCK: tl.constexpr, PLANES: tl.constexpr,
):  # fmt: skip
    """Write a query's k nearest codes to best [k], in any order, and to limits what no other is within, from suspects.

    QUERIES queries share a list of `listed` places, each standing for CODES codes of the sample. The k-th hit is found
    digit by digit, each by a histogram of those that begin alike, until all of these are among the k. `overflow` is 1
    if the list or hits [capacity] was too short; best then holds some of the codes within the limit.
    """
    query = tl.program_id(0).to(tl.int64)
    limit = tl.load(limits_ptr + query)
    n_suspects = tl.load(counts_ptr + query // QUERIES)
    hits_ptr += query * capacity
    best_ptr += query * k
    suspects_ptr += query // QUERIES * listed
    lanes = tl.arange(0, BLOCK).to(tl.int64)

    n_hits = tl.zeros([], dtype=tl.int64)
    end = tl.minimum(n_suspects, listed) * CODES
    for start in range(0, end, BLOCK):
        inside = start + lanes < end
        suspects = tl.load(suspects_ptr + (start + lanes) // CODES, mask=inside, other=0)
        ids = _ids(suspects * CODES + (start + lanes) % CODES, stride)
        distance = _distances(queries_ptr, codes_ptr, query, ids, n, n_words, BLOCK, PLANES)
        hits = distance.to(tl.int64) << ID_BITS | ids
        hit = inside & _eligible(mask_ptr, ids, n, HAS_MASK) & (hits <= limit)
        at = n_hits + tl.cumsum(hit.to(tl.int64), axis=0) - 1
        tl.store(hits_ptr + at, hits, mask=hit & (at < capacity))
        n_hits += tl.sum(hit.to(tl.int64), axis=0)
    tl.store(overflow_ptr + query, ((n_suspects > listed) | (n_hits > capacity)).to(tl.int32))
    n_hits = tl.minimum(n_hits, capacity)
    tl.debug_barrier()  # the program reads what its other threads wrote

    if n_hits >= k:
        limit = tl.zeros([], dtype=tl.int64)
        rank = tl.full([], k, tl.int32)  # of the k-th among those that begin with the digits that are known of it
        digits = tl.arange(0, DIGITS)
        i = 0
        alike = n_hits.to(tl.int32)  # hits that begin so
        shift = tl.zeros([], dtype=tl.int64)
        while (i < distance_digits) | (alike > rank):
            shift = (distance_digits + id_digits - 1 - i) * DIGIT_BITS
            shift = tl.where(i < distance_digits, ID_BITS + (distance_digits - 1 - i) * DIGIT_BITS, shift).to(tl.int64)
            counts = tl.zeros([DIGITS], dtype=tl.int32)
            for start in range(0, n_hits, BLOCK):
                inside = start + lanes < n_hits
                hits = tl.load(hits_ptr + start + lanes, mask=inside, other=0)
                begins = inside & ((hits ^ limit) >> tl.minimum(shift + DIGIT_BITS, 63) == 0)
                counts += tl.histogram(((hits >> shift) & (DIGITS - 1)).to(tl.int32), DIGITS, mask=begins)
            upto = tl.cumsum(counts, axis=0)
            digit = tl.sum((upto < rank).to(tl.int64), axis=0)
            rank -= tl.sum(tl.where(digits < digit, counts, 0), axis=0)
            alike = tl.sum(tl.where(digits == digit, counts, 0), axis=0)
            limit |= digit << shift
            i += 1
        limit |= (tl.full([], 1, tl.int64) << shift) - 1
        tl.store(limits_ptr + query, limit)
    n_best = tl.zeros([], dtype=tl.int64)
    for start in range(0, n_hits, BLOCK):
        hits = tl.load(hits_ptr + start + lanes, mask=start + lanes < n_hits, other=NO_HIT)
        hit = (start + lanes < n_hits) & (hits <= limit)
        tl.store(best_ptr + n_best + tl.cumsum(hit.to(tl.int64), axis=0) - 1, hits, mask=hit)
        n_best += tl.sum(hit.to(tl.int64), axis=0)


def _tuned(device: torch.device, n_bits: int) -> dict[str, Any]:
    """Return the entry of the table for a device and a width."""
    capability = "{}.{}".format(*torch.cuda.get_device_capability(device)) if device.type == "cuda" else ""
    widths: list[dict[str, Any]] = TUNING.get(capability, TUNING["default"])
    return next(entry for entry in widths if n_bits <= entry["up_to_bits"])


def scan_constants(n_words: int, tuned: dict[str, Any], planes: int = 0) -> dict[str, int]:
    """Return the constants of `hamming_scan_kernel`, whose popcounts are as many whatever the planes."""
    words = triton.next_power_of_2(n_words)
    queries = max(1, tuned["queries"] // triton.next_power_of_2(max(1, planes)))
    tile = {"CODES": max(8, tuned["tile"] // words), "QUERIES": queries}
    return {"N_WORDS": n_words, "WORDS": words, "PLANES": planes, **tile}


def scan_one_launch(tuned: dict[str, Any], constants: dict[str, int]) -> tuple[dict[str, int], dict[str, int | None]]:
    """Return the constants of `hamming_scan_one_kernel`, from those of the other scan, and how it is launched.

    One query waits for memory, the less the more programs a multiprocessor has: with 64 registers, eight of 4 warps.
    More than three planes do not fit in so many.
    """
    taken = {name: constants[name] for name in ("N_WORDS", "WORDS", "CODES", "PLANES")}
    return taken, {"num_warps": tuned["warps"], "maxnreg": 64 if constants["PLANES"] <= 3 else None}


def _resident_programs(device: torch.device) -> int:
    """Return how many programs of `hamming_scan_one_kernel` a device runs at once."""
    on_gpu = device.type == "cuda"
    return RESIDENT * (torch.cuda.get_device_properties(device).multi_processor_count if on_gpu else 1)


def product_constants(n_bits: int, tuned: dict[str, Any]) -> dict[str, int]:
    """Return the constants of `hamming_product_kernel`."""
    depth = min(tuned["depth"], max(32, triton.next_power_of_2(n_bits)))
    tile = {"CODES": tuned["codes"], "QUERIES": tuned["queries"]}
    return {"N_WORDS": n_bits // 32, "STEPS": triton.cdiv(n_bits, depth), "DEPTH": depth, **tile}


def n_digits(*numbers: int) -> list[int]:
    """Return how many digits these numbers have."""
    return [triton.cdiv(number.bit_length(), DIGIT_BITS.value) for number in numbers]


class Queries(Protocol):
    """Queries as the filters read them, by the distance that they are searched by."""

    @property
    def words(self) -> torch.Tensor:
        """A query's bits, then its planes of magnitudes, int64 or int32 [q, (planes + 1) * n_words]."""
        ...

    @property
    def planes(self) -> int:
        """How many planes of magnitudes there are, 0 for the Hamming distance."""
        ...

    @property
    def farthest(self) -> int:
        """No distance is larger; less than FAR."""
        ...

    def __getitem__(self, rows: slice | torch.Tensor) -> Self:
        """Return some of the queries."""
        ...

    def factors(self, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what codes' bits are multiplied by int8 [q, columns], zeros beyond, and what is added int32 [q]."""
        ...

    def nearest(self, codes: torch.Tensor, mask: torch.Tensor | None, k: int) -> torch.Tensor:
        """Return the k nearest codes as `nearest_by_counting` does, by another way than filters."""
        ...


@dataclass(frozen=True)
class BitQueries:
    """Queries by the Hamming distance."""

    words: torch.Tensor
    planes: int = 0

    @property
    def farthest(self) -> int:
        """How many bits there are."""
        return self.words.shape[1] * self.words.itemsize * 8

    def __getitem__(self, rows: slice | torch.Tensor) -> BitQueries:
        """Return some of the queries."""
        return BitQueries(self.words[rows])

    def factors(self, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return 1 - 2 bit for the bits, and how many are one."""
        words = self.words.view(torch.uint8)
        bits = (words[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=words.device)) & 1
        signs = 1 - 2 * bits.flatten(1).to(torch.int8)
        return torch.nn.functional.pad(signs, (0, columns - signs.shape[1])), bits.sum((1, 2), dtype=torch.int32)

    def nearest(self, codes: torch.Tensor, mask: torch.Tensor | None, k: int) -> torch.Tensor:
        """Return the k nearest codes."""
        return nearest_by_counting(self.words, codes, mask, k)


def _sample_size(n: int, stride: int) -> int:
    return n if stride == 1 else 8 * triton.cdiv(triton.cdiv(n, 8), stride)


def _strides(n: int, capacity: int, ratio: int) -> list[int]:
    """Return the strides of the samples, from one that fits in the lists to 1."""
    strides = [1]
    while _sample_size(n, strides[0]) > capacity:
        strides.insert(0, strides[0] * ratio)
    return strides


def _filter(
    queries: Queries,
    codes: torch.Tensor,
    mask: torch.Tensor | None,
    limits: torch.Tensor,
    best: torch.Tensor,
    sampled: bool,
) -> torch.Tensor:
    """Write the nearest codes of every query that are within its limit to `best` int64 [q, k], in any order.

    Lowers `limits` int64 [q] to what was learnt of the k-th. Returns int32 [q], 1 where `best` is not to be trusted.
    """
    (n_queries, k), (n, n_words), device = best.shape, codes.shape, codes.device
    n_bits = n_words * codes.itemsize * 8
    tuned = _tuned(device, n_bits)
    by_product = n_queries * max(1, queries.planes) >= tuned["product"]["from_queries"]
    options = tuned["product" if by_product else "scan"]
    given: tuple[torch.Tensor, ...]
    if by_product:
        kernel, constants = hamming_product_kernel, product_constants(n_bits, options)
        given, words = queries.factors(constants["STEPS"] * constants["DEPTH"]), codes.view(torch.int32)
        select = {"QUERIES": 1, "CODES": constants["CODES"]}
    else:
        kernel, constants = hamming_scan_kernel, scan_constants(n_words, options, queries.planes)
        constants["QUERIES"] = min(constants["QUERIES"], triton.next_power_of_2(n_queries))
        given, words = (queries.words,), codes
        select = {"QUERIES": constants["QUERIES"], "CODES": 1}

    capacity = min(n, options["ratio"] * (k + 8 * math.isqrt(k) + 16))
    strides = _strides(n, capacity, options["ratio"]) if sampled else [1]
    # Room for the hits, and for the ties beyond the limit of the one block that the limit's id lies in.
    listed = capacity + constants["CODES"] // select["CODES"]
    size = max(1, min(n_queries, LIST_BYTES // (8 * (capacity + listed))))  # queries at a time
    together = constants["QUERIES"] if constants["QUERIES"] < size < n_queries else select["QUERIES"]
    size = triton.cdiv(size, together) * together
    n_lists = size // select["QUERIES"]
    counts = torch.empty((len(strides), triton.cdiv(n_lists, 2) * 2), dtype=torch.int64, device=device)  # rows aligned
    suspects = torch.empty((n_lists, select["QUERIES"] * listed), dtype=torch.int64, device=device)
    hits = torch.empty((size, capacity), dtype=torch.int64, device=device)
    overflow = torch.empty(n_queries, dtype=torch.int32, device=device)
    for first in range(0, n_queries, size):
        part = slice(first, first + size)
        m = len(limits[part])
        tiles = triton.cdiv(m, constants["QUERIES"])
        counts.zero_()
        for count, stride in zip(counts, strides, strict=True):
            n_blocks = triton.cdiv(_sample_size(n, stride), constants["CODES"])
            tiles_per_program = triton.cdiv(tiles, min(tiles, triton.cdiv(PROGRAMS, n_blocks)))
            if by_product:
                launch = {"num_warps": options["warps"], "num_stages": options["stages"]}
            else:
                launch = {"num_warps": options["warps"], "SAMPLE": stride > 1}
            if m == 1 and stride == 1 and not by_product:
                taken, launch = scan_one_launch(options, constants)
                hamming_scan_one_kernel[(min(n_blocks, _resident_programs(device)),)](
                    queries.words[part], words, mask, limits[part], count, suspects, n, suspects.shape[1],
                    HAS_MASK=mask is not None, **taken, **launch,
                )  # fmt: skip
            else:
                kernel[(n_blocks, triton.cdiv(tiles, tiles_per_program))](
                    *(x[part] for x in given), words, mask, limits[part], count, suspects,
                    n, stride, m, tiles_per_program * constants["QUERIES"], suspects.shape[1],
                    HAS_MASK=mask is not None, **constants, **launch,
                )  # fmt: skip
            hamming_select_kernel[(m,)](
                queries.words[part], codes, mask, limits[part], count, suspects, hits, best[part], overflow[part],
                n, stride, k, n_words, suspects.shape[1], capacity, *n_digits(n - 1, queries.farthest),
                HAS_MASK=mask is not None, PLANES=queries.planes, **select, **(FEW if m <= FEW_QUERIES else MANY),
            )  # fmt: skip
    return overflow


def _search_again(
    queries: Queries, codes: torch.Tensor, mask: torch.Tensor | None, limits: torch.Tensor, k: int
) -> torch.Tensor:
    """Return the nearest codes of queries whose lists overflowed, int64 [q, k], from the limits that they arrived at.

    They are filtered once more, and where lists overflow again, they are searched the other way.
    """
    hits = limits.new_full((len(limits), k), NO_HIT.value)
    left = _filter(queries, codes, mask, limits, hits, sampled=False).nonzero()[:, 0]
    if len(left):
        hits[left] = queries[left].nearest(codes, mask, k)
    return hits


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Return the one stream that copies to a device: the memory that a stream took is kept for that stream."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None


def _parts(
    codes: torch.Tensor, mask: torch.Tensor | None, device: torch.device, size: int
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor | None]]:
    """Yield first id, words and mask of every `size` codes, a multiple of 8, on the device.

    On a GPU the next are copied on a stream of their own while these are searched.
    """
    copies = _copy_stream(device)
    if copies is not None:
        copies.wait_stream(torch.cuda.current_stream(device))

    def copy(first: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        with torch.cuda.stream(copies):
            words = signed_words(codes[first : first + size].to(device, non_blocking=True))
            bits = None if mask is None else mask[first // 8 : (first + size) // 8].to(device, non_blocking=True)
        return words, bits

    ahead = copy(0)
    for first in range(0, len(codes), size):
        words, bits = ahead
        if copies is not None:
            search = torch.cuda.current_stream(device)
            search.wait_stream(copies)
            for x in ahead:
                if x is not None:
                    x.record_stream(search)
        if first + size < len(codes):
            ahead = copy(first + size)
        yield first, words, bits


def nearest(
    queries: Queries, codes: torch.Tensor, k: int, mask: torch.Tensor | None, chunk: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int32 and int64 [q, k], searching all codes at once or `chunk` at a time, a multiple of 8."""
    best = torch.full((len(queries.words), k), NO_HIT.value, dtype=torch.int64, device=queries.words.device)
    answer = _decoded(best)
    if best.numel() == 0:
        return answer
    parts = [(0, signed_words(codes), mask)] if chunk is None else _parts(codes, mask, best.device, chunk)
    for first, part, bits in parts:
        if len(part) == 0:
            continue
        before, hits = best, torch.full_like(best, NO_HIT.value)
        limits = torch.where(best[:, -1] == NO_HIT.value, best[:, -1], best[:, -1] - first)
        overflow = _filter(queries, part, bits, limits, hits, sampled=True)
        best = _merged(before, hits, first)
        answer = _decoded(best)  # the device is kept busy until the one look at what it found
        if overflow.any():
            again = overflow.nonzero()[:, 0]
            hits[again] = _search_again(queries[again], part, bits, limits[again], k)
            best = _merged(before, hits, first)
            answer = _decoded(best)
    return answer


def _merged(best: torch.Tensor, hits: torch.Tensor, first: int) -> torch.Tensor:
    """Return the nearest of `best` and of hits whose ids count from `first`, int64 [q, k], ascending."""
    if first:
        hits = torch.cat([best, torch.where(hits == NO_HIT.value, hits, hits + first)], dim=1)
    return hits.sort(dim=1).values[:, : best.shape[1]]


def _decoded(best: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distances and ids of hits as integers."""
    found = best != NO_HIT.value
    distances = torch.where(found, best >> ID_BITS.value, NO_DISTANCE).to(torch.int32)
    return distances, torch.where(found, best & ID_MASK.value, -1)


def chunk_of(codes: torch.Tensor, device: torch.device) -> int | None:
    """Return how many codes are copied to a device at a time, or None for those that are searched where they lie."""
    if codes.device == device and codes.shape[1] % 4 == 0:
        return None
    return max(8, CHUNK_BYTES // codes.shape[1] // 8 * 8)


def hamming_topk(
    queries: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    mask: torch.Tensor | None = None,
    threads: int = 0,
    max_distance: int = MAX_BITS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int32 and int64 [q, k]; `codes` and `mask` may lie in the memory of the CPU.

    Codes that are elsewhere, or not of whole words, are copied in chunks.
    """
    found = nearest(BitQueries(signed_words(queries)), codes, k, mask, chunk_of(codes, queries.device))
    return not_farther(found, max_distance)
