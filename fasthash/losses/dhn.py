from __future__ import annotations

import torch

from fasthash.losses.base import HashingLoss, Quantization, pairwise_likelihood, share_label
from fasthash.losses.quantization import LogCosh


class DHN(HashingLoss):
    """Deep hashing network: mean over pairs of log(1 + e^x) - s x, x = <u_i, u_j>.

    Its quantisation term is the mean over items of sum log cosh(|u| - 1).

    Args:
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`.

    Source: Zhu et al., "Deep Hashing Network for Efficient Similarity Retrieval", 2016; the pairs are
    those of the batch.
    """

    original_weight = 0.1

    def __init__(self, *, quantization: Quantization = "original", quantization_weight: float | None = None) -> None:
        super().__init__(quantization, quantization_weight)

    def original_quantizer(self) -> torch.nn.Module:
        """Return the smooth magnitude error."""
        return LogCosh("code")

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the negative log likelihood of the similarities."""
        return pairwise_likelihood(u @ u.T, share_label(labels)).mean()
