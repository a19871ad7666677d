"""Pairs on a GPU: tables are sorted by keys of 32 bits, and rows are compared with those behind them of their key."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from fasthash.ops.declaration import RefusedError
from fasthash.ops.hamming.kernel_triton_count import _popcount, signed_words
from fasthash.ops.hamming.op import mask_flags
from fasthash.ops.pairs.found import Pairs
from fasthash.ops.pairs.plan import Scheme, Words, Work, choose_scheme

__all__ = ["pair_search"]

ROWS = 64  # of a program of one warp, two a thread: its registers let a multiprocessor have 28 to 32 of them
SHIFTS = 4  # places behind a row that are compared at once
LISTED = 1024  # rows of a program that makes keys
PLACES = 2**20  # of found pairs, at first
COMPARISONS = 2**36  # of the scan in a step
SAMPLE = 2**14  # pairs that the plan looks at
SAMPLE_BITS = 2**22  # of them, at most
MAX_ROWS = 2**31 - 2**16  # torch.sort takes 2^31 - 1, and places behind a row are to be numbers of 32 bits
MAX_PAIRS = 2**31 - 1  # that torch.sort takes
FACTOR = tl.constexpr(0x9E3779B97F4A7C15)
LOW = 2**32 - 1
# Arguments for whose values a kernel is not compiled again; of one word a code it is.
SIZES = ("n", "n_rows", "first_row", "end", "radius", "n_pieces", "room", "steps")


@triton.jit
def _tile(first, ROWS: tl.constexpr):
    """This program's rows, of which there are no 2^31."""
    return (first + tl.program_id(0).to(tl.int64) * ROWS).to(tl.int32) + tl.arange(0, ROWS)


@triton.jit
def _first_place(keys_ptr, n, key, steps):
    """The first place in ascending keys that is not below a key, by bisection."""
    low = tl.zeros(key.shape, dtype=tl.int32)
    high = low + n
    for _ in range(steps):
        middle = low + ((high - low) >> 1)
        left = low < high
        below = tl.load(keys_ptr + middle, mask=left, other=0) < key
        low = tl.where(left & below, middle + 1, low)
        high = tl.where(left & (below == 0), middle, high)
    return low


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=("words_ptr", "n_words"))
def pair_keys_kernel(words_ptr, bits_ptr, keys_ptr, n, n_words, ROWS: tl.constexpr):
    """Hash some bits of each code."""
    rows = _tile(0, ROWS)
    inside = rows < n
    words_ptr += rows.to(tl.int64) * n_words
    hashed = tl.zeros([ROWS], dtype=tl.uint64)
    for w in range(n_words):
        word = tl.load(words_ptr + w, mask=inside, other=0) & tl.load(bits_ptr + w)
        hashed = (hashed ^ (hashed >> 32) ^ word.to(tl.uint64, bitcast=True)) * FACTOR
    hashed = (hashed ^ (hashed >> 32)) * FACTOR
    tl.store(keys_ptr + rows, (hashed >> 32).to(tl.uint32).to(tl.int32, bitcast=True), mask=inside)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=("n_words",))
def pair_originals_kernel(keys_ptr, words_ptr, ids_ptr, originals_ptr, n, n_words, steps, ROWS: tl.constexpr):
    """Write for each code the first that equals it; codes are sorted by a hash, those of one hash by id."""
    rows = _tile(0, ROWS)
    left = rows < n
    place = _first_place(keys_ptr, n, tl.load(keys_ptr + rows, mask=left, other=0), steps)
    ids = tl.load(ids_ptr + rows, mask=left, other=0)
    while tl.max(left.to(tl.int32), axis=0) > 0:  # at last a row meets itself
        differing = tl.zeros([ROWS], dtype=tl.int64)
        for w in range(n_words):
            word = tl.load(words_ptr + rows.to(tl.int64) * n_words + w, mask=left, other=0)
            differing |= word ^ tl.load(words_ptr + place.to(tl.int64) * n_words + w, mask=left, other=0)
        equal = left & (differing == 0)
        tl.store(originals_ptr + ids, tl.load(ids_ptr + place, mask=equal, other=0), mask=equal)
        left = left & (differing != 0)
        place += 1


@triton.jit
def _distance(first, of_rows, of_others, taken, n_words):
    """How many bits rows differ in from others; `first` is the rows' first word, the others are pointers to words."""
    differing = first ^ tl.load(of_others, mask=taken, other=0)
    distance = _popcount(differing.to(tl.uint64, bitcast=True))
    for w in range(1, n_words):
        differing = tl.load(of_rows + w, mask=taken, other=0) ^ tl.load(of_others + w, mask=taken, other=0)
        distance += _popcount(differing.to(tl.uint64, bitcast=True))
    return distance


@triton.jit
def _first_met(of_rows, of_others, taken, pieces_ptr, n_pieces):
    """Which pairs agree in the table's parts, and in no other part before the last of these."""
    differs = taken & (taken == 0)
    for _ in range(n_pieces):
        w = tl.load(pieces_ptr)
        differing = tl.load(of_rows + w, mask=taken, other=0) ^ tl.load(of_others + w, mask=taken, other=0)
        differs = differs | ((differing & tl.load(pieces_ptr + 1)) != 0)
        is_chosen, is_last = tl.load(pieces_ptr + 2) != 0, tl.load(pieces_ptr + 3) != 0
        taken = taken & ((differs != is_chosen) | (is_last == 0))
        differs = differs & (is_last == 0)
        pieces_ptr += 4
    return taken


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=("n_words",))
def pair_compare_kernel(
    row_keys_ptr, row_words_ptr, row_ids_ptr, keys_ptr, words_ptr, ids_ptr, pieces_ptr,
    pairs_ptr, distances_ptr, count_ptr,
    first_row, n_rows, n, n_words, radius, end, n_pieces, room, steps,
    BEHIND: tl.constexpr, ROWS: tl.constexpr, SHIFTS: tl.constexpr,
):  # fmt: skip
    """Add the near pairs of a row, of an id below `end`, and one of the second list of the same key and a later id.

    Of several tables in which a pair meets it is added by the first. `count` goes on where the list of pairs is full.
    With BEHIND both lists are one, and rows are compared with those behind them.
    """
    rows = _tile(first_row, ROWS)
    inside = rows < n_rows
    key = tl.load(row_keys_ptr + rows, mask=inside, other=0)
    i = tl.load(row_ids_ptr + rows, mask=inside, other=0)
    inside = inside & (i < end)
    of_rows = row_words_ptr + rows.to(tl.int64) * n_words
    first = tl.load(of_rows, mask=inside, other=0)
    place = rows + 1 if BEHIND else _first_place(keys_ptr, n, key, steps)
    going = 1
    while going > 0:
        near = tl.zeros([ROWS], dtype=tl.int32)
        for shift in tl.static_range(SHIFTS):
            at = place + shift
            shared = inside & (at < n)
            shared = shared & (tl.load(keys_ptr + at, mask=shared, other=0) == key)
            distance = _distance(first, of_rows, words_ptr + at.to(tl.int64) * n_words, shared, n_words)
            near |= (shared & (distance <= radius)).to(tl.int32) << shift
        inside = shared  # who does not share its key with a row shares none with the next; its place may pass 2^31
        going = tl.max(inside.to(tl.int32), axis=0)
        if tl.max(near, axis=0) > 0:
            for bit in range(SHIFTS):
                taken = ((near >> bit) & 1) != 0
                if tl.max(taken.to(tl.int32), axis=0) > 0:
                    at = place + bit
                    of_others = words_ptr + at.to(tl.int64) * n_words
                    taken = _first_met(of_rows, of_others, taken, pieces_ptr, n_pieces)
                    j = tl.load(ids_ptr + at, mask=taken, other=0)
                    taken = taken & (i < j)
                    rank = tl.cumsum(taken.to(tl.int32), axis=0)
                    found = tl.max(rank, axis=0).to(tl.int64)
                    to = tl.atomic_add(count_ptr, found, sem="relaxed") + rank - 1
                    taken = taken & (to < room)
                    tl.store(pairs_ptr + to, (i << 32) | j, mask=taken)
                    tl.store(distances_ptr + to, _distance(first, of_rows, of_others, taken, n_words), mask=taken)
        place += SHIFTS


class Rows(NamedTuple):
    """Codes that take part: int64 [n, w], and their ids int64 [n], ascending, or None for those from `offset` on."""

    words: torch.Tensor
    ids: torch.Tensor | None = None
    offset: int = 0

    def before(self, code: int) -> int:
        """Return how many come before a code."""
        if self.ids is None:
            return min(max(code - self.offset, 0), len(self.words))
        return int(torch.searchsorted(self.ids, code))

    def since(self, code: int) -> Rows:
        """Return those from a code on."""
        at = self.before(code)
        return Rows(self.words[at:], None if self.ids is None else self.ids[at:], self.offset + at)

    def ids_at(self, places: torch.Tensor) -> torch.Tensor:
        """Return the ids of some of them."""
        return places + self.offset if self.ids is None else self.ids[places]


class Listing(NamedTuple):
    """Rows sorted by their keys int32 [n], those of one key by id."""

    keys: torch.Tensor
    words: torch.Tensor
    ids: torch.Tensor


def listed(rows: Rows, bits: torch.Tensor) -> Listing:
    """Sort rows by a hash of these bits of their words, int64 [w]."""
    n, n_words = rows.words.shape
    keys = torch.empty(n, dtype=torch.int32, device=rows.words.device)
    if n > 0:
        pair_keys_kernel[(triton.cdiv(n, LISTED),)](rows.words, bits, keys, n, n_words, ROWS=LISTED)
    keys, order = keys.sort(stable=True)
    words = rows.words[order]
    return Listing(keys, words, rows.ids_at(order))


def first_of_equals(words: torch.Tensor) -> torch.Tensor:
    """Return int64 [n], the first code that equals each."""
    n, n_words = words.shape
    keys, ordered, ids = listed(Rows(words), torch.full((n_words,), -1, dtype=torch.int64, device=words.device))
    originals = torch.empty_like(ids)
    if n > 0:
        pair_originals_kernel[(triton.cdiv(n, ROWS),)](
            keys, ordered, ids, originals, n, n_words, n.bit_length(), ROWS=ROWS, num_warps=1
        )
    return originals


def without_copies(rows: Rows, since: int) -> tuple[Rows, torch.Tensor]:
    """Return the rows that equal no earlier one, and those from `since` on that do, sorted, as first << 32 | copy."""
    originals = first_of_equals(rows.words)
    is_copy = originals != torch.arange(len(originals), device=originals.device)
    places = is_copy.nonzero()[:, 0]
    copies = rows.ids_at(places)
    pairs = (rows.ids_at(originals[places]) << 32 | copies)[copies >= since].sort().values
    if len(places) == 0:
        return rows, pairs
    different = (~is_copy).nonzero()[:, 0]
    return Rows(rows.words[different], rows.ids_at(different)), pairs


def planned(rows: Rows, others: Rows | None, radius: int, since: int, n_bits: int) -> Scheme:
    """Return the scheme that is expected to be the cheapest."""
    n, before = len(rows.words), rows.before(since)
    if others is not None:
        work = Work(n + len(others.words), n * len(others.words), n_bits, radius)
    else:
        n_pairs = (n * (n - 1) - before * (before - 1)) / 2
        work = Work(2 * n - before if before > 0 else n, n_pairs, n_bits, radius)

    def differing() -> Words:
        size, generator = (min(SAMPLE, SAMPLE_BITS // n_bits),), torch.Generator().manual_seed(0)
        i = torch.randint(n, size, generator=generator, device="cpu")
        if others is not None:
            j = torch.randint(len(others.words), size, generator=generator, device="cpu")
        else:
            j = (i + 1 + torch.randint(n - 1, size, generator=generator, device="cpu")) % n
        a, b = rows.words, rows.words if others is None else others.words
        words: Words = (a[i.to(a.device)] ^ b[j.to(b.device)]).cpu().numpy().view(np.uint64)
        return words

    return choose_scheme(work, differing)


class TableSearch:
    """A search table by table; the scan is one table, of which a step searches some rows."""

    def __init__(
        self,
        rows: Rows,
        others: Rows | None,
        copies: torch.Tensor,
        scheme: Scheme,
        radius: int,
        since: int,
        n_codes: int,
        first: int,
        capacity: int,
    ) -> None:
        self._rows, self._others, self._copies, self._scheme = rows, others, copies, scheme
        self._radius, self._since, self._n_codes, self._capacity = radius, since, n_codes, capacity
        self._pairs, self._distances, self._found = copies.new_empty(0), copies.new_empty(0, dtype=torch.int32), 0
        self._count = copies.new_empty(1)
        self._lists: tuple[Listing, Listing] | None = None
        self._row = 0  # of the table, up to which it was searched
        self._most_scan_rows = max(1, COMPARISONS // max(1, len((rows if others is None else others).words)))
        self._scan_rows = self._most_scan_rows
        self._make_room(PLACES)
        self._begin(first)

    @property
    def n_parts(self) -> int:
        """Into how many parts codes are cut; -1 for a scan."""
        return self._scheme.n_parts if self._scheme.n_agreeing else -1

    @property
    def share_done(self) -> float:
        """How much of the pass is done."""
        if self.first >= self.end:
            return 1
        of_table = 0.0 if self._lists is None else self._row / max(1, self._n_rows(self._lists[0]))
        return (self._tables_done + min(1.0, of_table)) / self._scheme.n_tables

    def step(self) -> bool:
        """Search a table, or scan some rows."""
        if self.first >= self.end or (self._radius == 0 and self._others is None):
            return True
        with torch.cuda.device_of(self._copies):
            if self._lists is None:
                self._lists = self._next_lists()
            rows, candidates = self._lists
            stop = self._n_rows(rows)
            if self._scheme.n_agreeing == 0:
                stop = min(stop, self._row + self._scan_rows)
            if stop > self._row and len(candidates.keys) > 0:
                self._compare(rows, candidates, self._row, stop)
            if self.end == self._n_codes:
                self._scan_rows = min(2 * self._scan_rows, self._most_scan_rows)
        self._row = stop
        if stop < self._n_rows(rows):
            return False
        self._lists, self._row = None, 0
        self._tables_done += 1
        return self._tables_done == self._scheme.n_tables

    def take(self) -> Pairs:
        """Return the pass's pairs, and begin the next."""
        pairs, order = self._pairs[: self._found].sort()
        distances = self._distances[: self._found][order]
        i, j = pairs >> 32, pairs & LOW
        self._begin(self.end)
        return i, j if self._others is None else j - self._n_codes, distances

    def _begin(self, first: int) -> None:
        """Begin the pass of the codes from `first` on."""
        self.first, self.end = first, self._n_codes
        self._tables, self._tables_done = self._scheme.tables(), 0
        self._lists, self._row = None, 0
        copies = self._copies[int(torch.searchsorted(self._copies, first << 32)) :]
        self._found = 0
        if len(copies) > len(self._pairs):
            self._make_room(len(copies))
        self._found = len(copies)
        self._pairs[: self._found] = copies
        self._distances[: self._found] = 0
        if self._found > self._capacity:
            self._cut(self._found, self._found, self._found)

    def _next_lists(self) -> tuple[Listing, Listing]:
        """Return the next table's rows, and those that they are compared with."""
        chosen = next(self._tables)
        device = self._copies.device
        bits, self._pieces = (
            torch.from_numpy(words.view(np.int64)).to(device)
            for words in (self._scheme.key_bits(chosen), self._scheme.pieces(chosen))
        )
        rows = listed(self._rows.since(self.first), bits)
        if self._others is not None:
            return rows, listed(self._others, bits)
        return rows, rows if self._since <= self.first else listed(self._rows.since(self._since), bits)

    def _n_rows(self, rows: Listing) -> int:
        """Return how many rows there are to search: in the scan, where they are in order, those before the end."""
        if self._scheme.n_agreeing > 0:
            return len(rows.keys)
        return self._rows.before(self.end) - self._rows.before(self.first)

    def _compare(self, rows: Listing, candidates: Listing, start: int, stop: int) -> None:
        """Add the pairs of some rows; until they fit, lengthens the list or shortens the pass, and compares again."""
        n, n_words = candidates.words.shape
        while True:
            room = len(self._pairs)
            self._count.fill_(self._found)
            pair_compare_kernel[(triton.cdiv(stop - start, ROWS),)](
                *rows, *candidates, self._pieces, self._pairs, self._distances, self._count,
                start, stop, n, n_words, self._radius, self.end, len(self._pieces), room, n.bit_length(),
                BEHIND=candidates is rows, ROWS=ROWS, SHIFTS=SHIFTS, num_warps=1,
            )  # fmt: skip
            found = int(self._count)
            if found <= room:
                self._found = found
                if found > self._capacity:
                    self._cut(found, found, found)
                return
            if found > self._capacity and self.end > self.first + 1:
                self._cut(found, room, self._found)
            else:
                self._make_room(found)

    def _make_room(self, n: int) -> None:
        """Lengthen the list, which keeps what was found."""
        if n > MAX_PAIRS:
            raise RefusedError(
                f"expected at most {MAX_PAIRS:,} pairs at a time on a GPU, found {n:,}: see iter_hamming_pairs"
            )
        n = min(max(n, 3 * len(self._pairs) // 2), MAX_PAIRS)
        pairs, distances = self._pairs[: self._found], self._distances[: self._found]
        self._pairs, self._distances = pairs.new_empty(n), distances.new_empty(n)
        self._pairs[: self._found], self._distances[: self._found] = pairs, distances

    def _cut(self, found: int, there: int, kept: int) -> None:
        """Leave rows to the next pass, such that about half as many pairs stay as fit, judged by those there."""
        if self.end == self.first + 1:
            return
        middle = self._pairs[:there].sort().values[there * self._capacity // (2 * found)]
        self.end = max(int(middle >> 32), self.first + 1)
        stay = self._pairs[:kept] < self.end << 32
        self._found = int(stay.sum())
        for column in (self._pairs, self._distances):
            column[: self._found] = column[:kept][stay]
        if self._scheme.n_agreeing == 0:
            self._scan_rows = max(1, self._rows.before(self.end) - self._rows.before(self.first))


def whole_words(codes: torch.Tensor) -> torch.Tensor:
    """Return codes as int64 [n, w], zero-padded."""
    return signed_words(torch.nn.functional.pad(codes, (0, -codes.shape[1] % 8)) if codes.shape[1] % 8 else codes)


def pair_search(
    codes: torch.Tensor,
    others: torch.Tensor | None,
    mask: torch.Tensor | None,
    radius: int,
    since: int,
    first: int,
    capacity: int,
    threads: int,
    n_parts: int = 0,
) -> TableSearch:
    """Return a search the way that should be cheapest, or by tables of so many parts, or with -1 by the scan."""
    n_codes, n_bits = len(codes), 8 * codes.shape[1]
    if (n := n_codes + (0 if others is None else len(others))) > MAX_ROWS:
        raise RefusedError(f"expected at most {MAX_ROWS:,} codes on a GPU, got {n:,}")
    words = whole_words(codes)
    rows = Rows(words)
    if mask is not None:
        eligible = mask_flags(mask, n_codes).nonzero()[:, 0]
        rows = Rows(words[eligible], eligible)
    behind = None if others is None else Rows(whole_words(others), offset=n_codes)
    if behind is None:
        rows, copies = without_copies(rows, since)
    else:
        copies = words.new_empty(0)
    if n_parts == 0:
        scheme = planned(rows, behind, radius, since, n_bits)
    else:
        scheme = Scheme(n_bits, max(n_parts, 0), n_parts - radius if n_parts > 0 else 0)
    return TableSearch(rows, behind, copies, scheme, radius, since, n_codes, first, capacity)
