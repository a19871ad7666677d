from __future__ import annotations

import torch

from fasthash.errors import check_number
from fasthash.losses.base import HashingLoss, Quantization, cosines, share_label
from fasthash.losses.quantization import MagnitudeError


class CEL(HashingLoss):
    """Cosine embedding loss: mean over pairs of 1 - c for similar ones and max(0, c - margin) for others, c the cosine.

    Its quantisation term is the mean over items of |u - sign u|^2.

    Args:
        margin: at least -1, below 1. H2Q's choice is 1 - 2 d / n_bits for the largest minimum distance d of a binary
            linear code of n_bits and dimension ceil(log2 n_classes): 0 for 10 classes at 16, 32 and 48 bits, -1/32 at
            64; for 80 to 100 classes 1/4, 1/8, 1/12 and 0 at 16, 32, 48 and 64.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`.

    Source: Schwengber et al., "Deep Hashing via Householder Quantization", 2023.
    """

    original_weight = 0.01

    def __init__(
        self, *, margin: float = 0.0, quantization: Quantization = "original", quantization_weight: float | None = None
    ) -> None:
        super().__init__(quantization, quantization_weight)
        self.margin = check_number("CEL", "margin", margin, minimum=-1, below=1)

    def original_quantizer(self) -> torch.nn.Module:
        """Return the square error to the sign."""
        return MagnitudeError(2, "code")

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean over pairs."""
        c = cosines(u, u)
        return torch.where(share_label(labels), 1 - c, (c - self.margin).clamp(min=0)).mean()
