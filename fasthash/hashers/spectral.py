from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import ClassVar

import torch

from fasthash.hashers.base import Hasher, principal_axes, within_squares


class SpectralHashing(Hasher):
    """Spectral hashing: the slowest oscillations over the ranges of the principal components.

    Were the components uniform on their ranges [a, a + r], the functions that change least between near embeddings
    would be the eigenfunctions sin(pi / 2 + omega (v - a)) with omega = k pi / r, k = 1, 2, ... of each component by
    itself; a bit is the sign of one, and those of the smallest eigenvalues omega^2 are taken. Products of several
    components' functions would repeat their bits. More bits than columns are possible; a component that does not vary
    gets none, and where none varies every bit is 1.

    Args:
        n_bits: length of the code, 1 to 4,096.
        packed_output: see `Hasher`.

    Attributes:
        mean_: float32 [d], set by `fit`, as are the others.
        frequencies_: float32 [d, n_bits], the axis of a bit's component times its omega.
        phase_: float32 [n_bits], a omega; `transform` returns `cos((x - mean_) @ frequencies_ - phase_)`.
        eigenvalues_: float64 [n_bits], ascending; equal ones in the order of the components, widest variance first.

    Source: Weiss, Torralba, Fergus, "Spectral Hashing", 2009.
    """

    TENSORS: ClassVar[Mapping[str, str]] = {
        "mean_": "float32 [d]",
        "frequencies_": "float32 [d, n_bits]",
        "phase_": "float32 [n_bits]",
        "eigenvalues_": "float64 [n_bits]",
    }

    mean_: torch.Tensor
    frequencies_: torch.Tensor
    phase_: torch.Tensor
    eigenvalues_: torch.Tensor

    def __init__(self, n_bits: int, *, packed_output: bool = False) -> None:
        self.n_bits = n_bits
        self.packed_output = packed_output

    def _fit(self, where: str, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n_bits = operator.index(self.n_bits)
        x, factor = within_squares(x)
        mean = x.mean(0)
        centred = x - mean
        axes = principal_axes(centred, min(n_bits, x.shape[1]))  # [d, m]
        components = centred @ axes  # [n, m]
        low = components.amin(0).double()
        ranges = components.amax(0).double() - low
        # A centred component reaches as far as its largest magnitude; a shorter range is the rounding of a constant.
        ranges[ranges < components.abs().amax(0) / 2] = 0
        modes = torch.arange(1, n_bits + 1, dtype=torch.float64, device=x.device)
        omegas = modes * math.pi / ranges[:, None]  # [m, n_bits], infinite for a constant component
        omega, place = (part[:n_bits] for part in omegas.flatten().sort(stable=True))
        omega = torch.where(omega.isfinite(), omega, 0.0)
        component = place // n_bits
        frequencies = axes[:, component].double() * omega * factor
        phase = low[component] * omega
        return mean / factor, frequencies.to(x.dtype), phase.to(x.dtype), (omega * factor).square()

    def _project(self, x: torch.Tensor) -> torch.Tensor:
        angles = (x - self.mean_.to(x.device)) @ self.frequencies_.to(x.device)
        return angles.sub_(self.phase_.to(x.device)).cos_()
