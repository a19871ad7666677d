from __future__ import annotations

import math
import operator

import torch
from torch.nn import functional

from fasthash.errors import MAX_BITS, check_integer
from fasthash.losses.base import MAX_CLASSES, HashingLoss, Quantization, one_hot
from fasthash.losses.quantization import LogCosh


def hash_centers(n_classes: int, n_bits: int, seed: int = 0) -> torch.Tensor:
    """Return distinct codes far from each other, -1 and +1 in float32 [n_classes, n_bits], on torch's default device.

    Where n_bits is a power of two and n_classes at most 2 n_bits, they are rows of a Hadamard matrix and their
    negatives, at distance n_bits / 2 or more; else random codes, of as many +1 as -1 while there are enough of those.

    Args:
        n_classes: 1 to 2^n_bits.
        n_bits: 1 to 4,096.
        seed: of the random codes.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if there are fewer codes than classes.

    Source: Yuan et al., "Central Similarity Quantization for Efficient Image and Video Retrieval", 2020, algorithm 1.
    """
    return _centers("hash_centers", n_classes, n_bits, seed).to(torch.get_default_device())


def _centers(where: str, n_classes: int, n_bits: int, seed: int) -> torch.Tensor:
    n_bits = check_integer(where, "n_bits", n_bits, 1, MAX_BITS)
    n_classes = check_integer(where, f"n_classes for {n_bits} bits", n_classes, 1, min(2**n_bits, MAX_CLASSES))
    seed = check_integer(where, "seed", seed, 0)
    if n_bits & (n_bits - 1) == 0 and n_classes <= 2 * n_bits:
        from scipy.linalg import hadamard

        rows = torch.from_numpy(hadamard(n_bits)).float()
        return torch.cat([rows, -rows])[:n_classes]
    generator = torch.Generator().manual_seed(seed)
    if 4 * n_classes > 2**n_bits:
        every = (
            torch.arange(2**n_bits, device="cpu")[:, None] >> torch.arange(n_bits, device="cpu") & 1
        ).float() * 2 - 1
        return every[torch.randperm(len(every), generator=generator, device="cpu")[:n_classes]]
    balanced = math.comb(n_bits, n_bits // 2) >= 2 * n_classes
    codes = torch.empty((0, n_bits), dtype=torch.float32, device="cpu")
    while len(codes) < n_classes:
        draws = torch.rand(2 * n_classes, n_bits, generator=generator, dtype=torch.float32, device="cpu")
        ones = draws.argsort(1).argsort(1) < n_bits // 2 if balanced else draws < 0.5
        codes = torch.cat([codes, ones.float() * 2 - 1])
        rows, inverse = torch.unique(codes, dim=0, return_inverse=True)
        places = torch.arange(len(codes), device="cpu")
        first = places.new_full((len(rows),), len(codes)).scatter_reduce(0, inverse, places, "amin")
        codes = codes[first.sort().values]
    return codes[:n_classes]


class CSQ(HashingLoss):
    """Central similarity quantisation: binary cross entropy between (tanh u + 1) / 2 and the bits of a class's centre.

    The centre of an item of several labels is the majority of theirs, ties by a fixed random code. Its quantisation
    term is the mean of log cosh(|tanh u| - 1).

    Args:
        n_bits: 1 to 4,096.
        n_classes: 1 to 2^n_bits.
        seed: of random centres and ties.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`; the authors have 0.05 for ResNet-50, 1e-4 to 1e-3 for AlexNet, of
            (|tanh u| - 1)^2, which is twice this term near bits.

    Attributes:
        centers: -1 and +1 [n_classes, n_bits], part of the state.

    Source: Yuan et al., "Central Similarity Quantization for Efficient Image and Video Retrieval", 2020.
    """

    original_weight = 1e-3
    centers: torch.Tensor
    tie_bits: torch.Tensor

    def __init__(
        self,
        n_bits: int,
        n_classes: int,
        seed: int = 0,
        *,
        quantization: Quantization = "original",
        quantization_weight: float | None = None,
    ) -> None:
        super().__init__(quantization, quantization_weight)
        device = torch.get_default_device()
        self.register_buffer("centers", _centers("CSQ", n_classes, n_bits, seed).to(device))
        self.n_classes, self.n_bits = self.centers.shape
        generator = torch.Generator().manual_seed(operator.index(seed))
        ties = torch.rand(self.n_bits, generator=generator, dtype=torch.float32, device="cpu") < 0.5
        self.register_buffer("tie_bits", (ties.float() * 2 - 1).to(device))

    def original_quantizer(self) -> torch.nn.Module:
        """Return the smooth magnitude error after tanh."""
        return _AfterTanh(LogCosh())

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy with the centres' bits."""
        if labels.ndim == 1:
            centers = self.centers[labels]
        else:
            votes = one_hot(labels, len(self.centers)).to(self.centers.dtype) @ self.centers
            centers = torch.where(votes == 0, self.tie_bits, votes.sign())
        # (tanh u + 1) / 2 is the logistic function of 2 u.
        return functional.binary_cross_entropy_with_logits(2 * u, (centers.to(u.dtype) + 1) / 2)


class _AfterTanh(torch.nn.Module):
    def __init__(self, term: torch.nn.Module) -> None:
        super().__init__()
        self.term = term

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.term(torch.tanh(u))
        return loss
