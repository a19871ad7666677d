from __future__ import annotations

import torch

from fasthash.losses.base import HashingLoss, Quantization, pairwise_likelihood, share_label
from fasthash.losses.quantization import BitBalance


class _Clamped(torch.nn.Module):
    """A term of the outputs after the straight-through clamp."""

    def __init__(self, term: torch.nn.Module) -> None:
        super().__init__()
        self.term = term

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.term(u.clamp(-1, 1))
        return loss


class DBDH(HashingLoss):
    """Deep balanced discrete hashing: mean over pairs of log(1 + e^t) - s t, t = <h_i, h_j> / 2.

    h is u clamped to [-1, 1]; the clamp passes gradients only inside. In place of a quantisation term the published
    code has the balance of each code, the mean over items of (mean over bits of h)^2.

    Args:
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`.

    Source: Zheng, Zhang, Lu, "Deep balanced discrete hashing for image retrieval", 2020, as public code defines it.
    """

    original_weight = 0.1

    def __init__(self, *, quantization: Quantization = "original", quantization_weight: float | None = None) -> None:
        super().__init__(quantization, quantization_weight)

    def original_quantizer(self) -> torch.nn.Module:
        """Return the balance of each code."""
        return _Clamped(BitBalance("code"))

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the negative log likelihood of the similarities."""
        h = u.clamp(-1, 1)
        return pairwise_likelihood(h @ h.T / 2, share_label(labels)).mean()
