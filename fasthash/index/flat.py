"""Exact search by comparing with every code."""

from __future__ import annotations

import torch

from fasthash.errors import MAX_BITS, check_choice
from fasthash.index.base import Index
from fasthash.index.codes import CodePlanes, CodeRows, Codes
from fasthash.index.search import Search
from fasthash.ops import planes
from fasthash.ops.hamming.op import KERNELS
from fasthash.ops.registry import default_level

_LAYOUTS: dict[str, type[Codes]] = {"rows": CodeRows, "planes": CodePlanes}


class FlatIndex(Index):
    """An index that compares every query with every code, exactly.

    Args:
        n_bits: length of the codes, 1 to 4,096.
        layout: "rows" keeps codes one after the other; "planes" keeps bit planes, of which a query reads about half, in
            up to a sixth more memory: faster for up to 64 queries at a time, slower to give codes back, on the CPU.
        device: where the codes are kept and searched.

    `len(index)` is the number of codes, `id in index` says whether one has that id, and iterating gives the ids.
    Equal distances are ordered by insertion.

    Every method may be called at any time from any thread, and after a fork. Changes are made one after the other, each
    as a whole: one that fails or is interrupted changes nothing. A search, and whatever else reads, finds the codes
    that were there when it began; only looking ids up waits for a change under way. Copies (`copy`, `pickle`) are of
    one moment, too; `copy.copy` shares memory with the original until either is changed.
    """

    SETTINGS = ("n_bits", "layout")

    def __init__(self, n_bits: int, *, layout: str = "rows", device: str | torch.device = "cpu") -> None:
        self.layout = check_choice(type(self).__name__, "layout", layout, list(_LAYOUTS))
        super().__init__(n_bits, device=device)
        if self._cpu_only and self.device.type != "cpu":
            raise ValueError(
                f"{type(self).__name__}: expected device to be the CPU, where 'planes' are searched, got {self.device}"
            )

    @property
    def _cpu_only(self) -> bool:
        return self.layout == "planes"

    @property
    def _kind_of_codes(self) -> type[Codes]:
        return _LAYOUTS[self.layout]

    def __repr__(self) -> str:
        kernel = default_level(planes.KERNELS if self.layout == "planes" else KERNELS, self.device)
        return (
            f"FlatIndex(n_bits={self.n_bits}, layout={self.layout!r}, device={str(self.device)!r}): {len(self)} codes, "
            f"kernel {kernel!r}"
        )

    def _nearest(self, search: Search, k: int, max_distance: int = MAX_BITS) -> tuple[torch.Tensor, torch.Tensor]:
        return search.nearest(k, max_distance)

    def _within(self, search: Search, radius: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return search.within(radius)
