from __future__ import annotations

import torch

from fasthash.errors import check_flag, check_integer
from fasthash.hashers.affine import AffineHasher


class LSH(AffineHasher):
    """Random hyperplanes: bit i is the side of a Gaussian hyperplane that x lies on.

    Args:
        n_bits: length of the code, 1 to 4,096.
        center: whether the hyperplanes pass through the mean of the fitted data (else through the origin).
        seed: of the hyperplanes.

    Source: Charikar, "Similarity estimation techniques from rounding algorithms", 2002.
    """

    def __init__(self, n_bits: int, *, center: bool = True, seed: int = 0) -> None:
        self.n_bits = n_bits
        self.center = center
        self.seed = seed

    def _fit_affine(self, where: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(check_integer(where, "seed", self.seed, 0))
        mean = x.mean(0) if check_flag(where, "center", self.center) else x.new_zeros(x.shape[1])
        return mean, torch.randn((x.shape[1], self.n_bits), generator=generator).to(x)
