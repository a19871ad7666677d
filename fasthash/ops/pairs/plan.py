"""Into how many parts a GPU's search for pairs cuts codes, and what its tables list them by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# In nanoseconds; assumed of an H100 and not measured, see the room's README.
TABLE_COST = 1e5
BYTE_COST = 1e9 / 3.35e12
WORD_COST = 1e9 / 1.3e12  # of a comparison

MOST_TABLES = 4096
MOST_AGREEING = 6

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Scheme:
    """Codes cut into runs of bits, of which two within the radius agree in `n_agreeing`; without any it is the scan."""

    n_bits: int
    n_parts: int = 0
    n_agreeing: int = 0

    @property
    def n_tables(self) -> int:
        """How many choices of parts there are."""
        return math.comb(self.n_parts, self.n_agreeing)

    def tables(self) -> Iterator[tuple[int, ...]]:
        """Yield each choice of parts, in lexicographic order."""
        return itertools.combinations(range(self.n_parts), self.n_agreeing)

    def part(self, p: int) -> tuple[int, int]:
        """Return the part's first bit, and the one behind its last."""
        return p * self.n_bits // self.n_parts, (p + 1) * self.n_bits // self.n_parts

    def words(self, p: int) -> Iterator[tuple[int, int]]:
        """Yield the words that the part has bits of, and these bits."""
        begin, end = self.part(p)
        for word in range(begin // 64, (end + 63) // 64):
            low, high = max(begin - 64 * word, 0), min(end - 64 * word, 64)
            yield word, (1 << high) - (1 << low)

    def key_bits(self, chosen: tuple[int, ...]) -> Words:
        """Return what of each word a table lists codes by, [w]."""
        bits = np.zeros((self.n_bits + 63) // 64, np.uint64)
        for p in chosen:
            for word, of_part in self.words(p):
                bits[word] |= np.uint64(of_part)
        return bits

    def pieces(self, chosen: tuple[int, ...]) -> Words:
        """Return what tells whether a table is a pair's first, [pieces, 4]: its first agreeing parts are those chosen.

        A row is a word, the bits of a part in it, whether the part is chosen, and whether its next word is another's.
        """
        rows = []
        for p in range(chosen[-1] + 1 if chosen else 0):
            words = list(self.words(p))
            rows += [(*of, int(p in chosen), int(of == words[-1])) for of in words]
        return np.array(rows, np.uint64).reshape(-1, 4)


def listed_bytes(n_words: int) -> int:
    """Return how many bytes are read and written for a row of a table, as the room's README counts them."""
    return 132 + 24 * n_words + max(32, 8 * n_words)


@dataclass(frozen=True)
class Work:
    """What is to be searched: rows that a table lists, and pairs of codes, some of which are near."""

    n_rows: int
    n_pairs: float
    n_bits: int
    radius: int

    def scan_cost(self) -> float:
        """Return what comparing all pairs costs."""
        return self.n_pairs * ((self.n_bits + 63) // 64) * WORD_COST

    def cost(self, scheme: Scheme, meetings: float) -> float:
        """Return what the tables cost if two codes share so many keys on average."""
        of_table = TABLE_COST + self.n_rows * listed_bytes((self.n_bits + 63) // 64) * BYTE_COST
        return scheme.n_tables * of_table + meetings * self.scan_cost()


def choose_scheme(work: Work, differing: Callable[[], Words]) -> Scheme:
    """Return the cheapest scheme; `differing` returns in which bits pairs of a sample differ, [pairs, w]."""
    chosen, least = Scheme(work.n_bits), work.scan_cost()
    sample: Words | None = None
    for agreeing in range(1, MOST_AGREEING + 1):
        n_parts = work.radius + agreeing
        if n_parts > work.n_bits or math.comb(n_parts, agreeing) > MOST_TABLES:
            break
        scheme = Scheme(work.n_bits, n_parts, agreeing)
        even = scheme.n_tables * 2.0 ** (-work.n_bits * agreeing / n_parts)
        if work.cost(scheme, even) >= least:
            continue
        sample = differing() if sample is None else sample
        cost = work.cost(scheme, meetings(scheme, sample))
        if cost < least:
            chosen, least = scheme, cost
    return chosen


def meetings(scheme: Scheme, differing: Words) -> float:
    """Return how many keys two codes share on average: the greater of the sample's and that of independent bits."""
    agreeing = np.zeros(len(differing), np.int64)
    of_parts = np.zeros(scheme.n_agreeing + 1)  # by independent bits, in how many choices of so many parts two agree
    of_parts[0] = 1
    equal = 1 - np.unpackbits(differing.view(np.uint8), axis=1, bitorder="little").mean(0)
    for p in range(scheme.n_parts):
        differs = np.zeros(len(differing), bool)
        for word, bits in scheme.words(p):
            differs |= (differing[:, word] & np.uint64(bits)) != 0
        agreeing += ~differs
        begin, end = scheme.part(p)
        of_parts[1:] += of_parts[:-1] * equal[begin:end].prod()
    choices = np.array([math.comb(n, scheme.n_agreeing) for n in range(scheme.n_parts + 1)], np.float64)
    return max(float(choices[agreeing].mean()), float(of_parts[-1]))
