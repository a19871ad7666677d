from __future__ import annotations

import torch

from fasthash.losses.base import HashingLoss, Quantization, pairwise_likelihood, share_label
from fasthash.losses.greedyhash import straight_through_sign
from fasthash.losses.quantization import BitBalance


class _OfSigns(torch.nn.Module):
    """A term of the signs of the outputs."""

    def __init__(self, term: torch.nn.Module) -> None:
        super().__init__()
        self.term = term

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.term(straight_through_sign(u))
        return loss


class DBDH(HashingLoss):
    """Deep balanced discrete hashing: mean over pairs of log(1 + e^t) - s t, t = <h_i, h_j> / 2, of the codes h.

    h is the sign of u, whose gradient passes straight through. In place of a quantisation term it has the balance of
    each code, the mean over items of (mean over bits of h)^2.

    Args:
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`.

    Source: Zheng, Zhang, Lu, "Deep balanced discrete hashing for image retrieval", 2020, as Doan, Yang, Li, "One Loss
    for Quantization", 2022, describe it; public code has u clamped to [-1, 1] in the place of its sign.
    """

    original_weight = 0.1

    def __init__(self, *, quantization: Quantization = "original", quantization_weight: float | None = None) -> None:
        super().__init__(quantization, quantization_weight)

    def original_quantizer(self) -> torch.nn.Module:
        """Return the balance of each code."""
        return _OfSigns(BitBalance("code"))

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the negative log likelihood of the similarities."""
        h = straight_through_sign(u)
        return pairwise_likelihood(h @ h.T / 2, share_label(labels)).mean()
