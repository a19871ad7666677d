from __future__ import annotations

import operator

import numpy as np
import torch

from fasthash.errors import check_flag
from fasthash.hashers.affine import AffineHasher
from fasthash.hashers.base import seed_of


class LSH(AffineHasher):
    """Random hyperplanes: bit i is the side of a Gaussian hyperplane that x lies on.

    Args:
        n_bits: length of the code, 1 to 4,096.
        center: whether the hyperplanes pass through the mean of the fitted data (else through the origin).
        random_state: of the hyperplanes.
        packed_output: see `Hasher`.

    Source: Charikar, "Similarity estimation techniques from rounding algorithms", 2002.
    """

    def __init__(
        self,
        n_bits: int,
        *,
        center: bool = True,
        random_state: int | np.random.RandomState | None = 0,
        packed_output: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.center = center
        self.random_state = random_state
        self.packed_output = packed_output

    def _fit_affine(self, where: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n_bits = operator.index(self.n_bits)
        generator = torch.Generator().manual_seed(seed_of(where, self.random_state))
        mean = x.mean(0) if check_flag(where, "center", self.center) else x.new_zeros(x.shape[1])
        return mean, torch.randn((x.shape[1], n_bits), generator=generator, dtype=torch.float32, device="cpu").to(x)
