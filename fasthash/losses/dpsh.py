from __future__ import annotations

import torch

from fasthash.errors import check_number
from fasthash.losses.base import HashingLoss, Quantization, pairwise_likelihood, share_label
from fasthash.losses.quantization import MagnitudeError


class DPSH(HashingLoss):
    """Deep pairwise-supervised hashing: mean over pairs of log(1 + e^t) - s t, t = <u_i, u_j> / 2.

    Its quantisation term is the mean over items of |u - sign u|^2.

    Args:
        scale: of the inner products; 1/2 in the paper, 1 in H2Q's comparison.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`.

    Source: Li, Wang, Kang, "Feature Learning based Deep Supervised Hashing with Pairwise Labels", 2016; the pairs are
    those of the batch.
    """

    original_weight = 0.1

    def __init__(
        self, *, scale: float = 0.5, quantization: Quantization = "original", quantization_weight: float | None = None
    ) -> None:
        super().__init__(quantization, quantization_weight)
        self.scale = check_number("DPSH", "scale", scale)

    def original_quantizer(self) -> torch.nn.Module:
        """Return the square error to the sign."""
        return MagnitudeError(2, "code")

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the negative log likelihood of the similarities."""
        return pairwise_likelihood(self.scale * u @ u.T, share_label(labels)).mean()
