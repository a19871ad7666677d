from __future__ import annotations

from collections.abc import Callable

import torch

from fasthash.errors import check_integer
from fasthash.losses.base import HashingLoss, Quantization, pairwise_likelihood, share_label
from fasthash.losses.greedyhash import straight_through_sign
from fasthash.losses.quantization import BitBalance


def _clamped(u: torch.Tensor) -> torch.Tensor:
    return u.clamp(-1, 1)


class _Balance(torch.nn.Module):
    """The balance of each code h."""

    def __init__(self, h: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.h, self.term = h, BitBalance("code")

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.term(self.h(u))
        return loss


class DBDH(HashingLoss):
    """Deep balanced discrete hashing: mean over pairs of log(1 + e^t) - s t, t = <h_i, h_j> / 2, of the codes h.

    h is the sign of u, whose gradient passes straight through, or u clamped to [-1, 1], which passes gradients only
    inside. In place of a quantisation term it has the balance of each code, the mean over items of (mean over bits of
    h)^2.

    Args:
        signs: whether h is the sign; 0 or False for the clamp, as public code has it, which learns faster.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`.

    Source: Zheng, Zhang, Lu, "Deep balanced discrete hashing for image retrieval", 2020, as Doan, Yang, Li, "One Loss
    for Quantization", 2022, describe it.
    """

    original_weight = 0.1

    def __init__(
        self,
        *,
        signs: bool = True,
        quantization: Quantization = "original",
        quantization_weight: float | None = None,
    ) -> None:
        self.signs = bool(check_integer("DBDH", "signs", signs, 0, 1))
        super().__init__(quantization, quantization_weight)

    def original_quantizer(self) -> torch.nn.Module:
        """Return the balance of each code."""
        return _Balance(straight_through_sign if self.signs else _clamped)

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the negative log likelihood of the similarities."""
        h = straight_through_sign(u) if self.signs else _clamped(u)
        return pairwise_likelihood(h @ h.T / 2, share_label(labels)).mean()
