"""The codes that searches are measured on."""

from __future__ import annotations

import numpy as np


def draw_codes(bits: int, data: str, *counts: int) -> list[np.ndarray]:
    """Draw packed codes, an array a count; clustered ones are 10,000 centres with one bit in ten flipped."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (10_000, bits // 8), dtype=np.uint8)

    def draw(count: int) -> np.ndarray:
        if data == "uniform":
            return rng.integers(0, 256, (count, bits // 8), dtype=np.uint8)
        codes = centres[rng.integers(0, len(centres), count)]
        for part in np.array_split(codes, max(1, count // 100_000)):
            part ^= np.packbits(rng.random((len(part), bits), dtype=np.float32) < 0.1, axis=1)
        return codes

    return [draw(count) for count in counts]
