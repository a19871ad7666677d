from __future__ import annotations

import torch

from fasthash.errors import check_number
from fasthash.losses.base import HashingLoss, Quantization, cosines, share_label
from fasthash.losses.dch import soft_hamming
from fasthash.losses.quantization import MagnitudeError


class WGLHH(HashingLoss):
    """Weighted Gaussian loss: the weighted mean over pairs of the divergence between e = exp(-alpha d^2) and s.

    With d the generalised Hamming distance, the divergence is e log(2 e / (e + s)) + s log(2 s / (s + e)); its weight
    is exp(|s - (1 + c) / 2|) for the cosine c, times 1 + similar_weight for similar pairs. Its quantisation term is the
    mean over items of |u - sign u|^2.

    Args:
        alpha: above 0.
        similar_weight: at least 0; the authors' code has 0.1 to 0.7, and 70 for ImageNet.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`.

    Source: Tu et al., "Weighted Gaussian Loss based Hamming Hashing", 2021, and the authors' code.
    """

    original_weight = 0.001

    def __init__(
        self,
        alpha: float = 0.1,
        similar_weight: float = 0.1,
        *,
        quantization: Quantization = "original",
        quantization_weight: float | None = None,
    ) -> None:
        super().__init__(quantization, quantization_weight)
        self.alpha = check_number("WGLHH", "alpha", alpha, above=0)
        self.similar_weight = check_number("WGLHH", "similar_weight", similar_weight, minimum=0)

    def original_quantizer(self) -> torch.nn.Module:
        """Return the square error to the sign."""
        return MagnitudeError(2, "code")

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the weighted divergence."""
        c, s = cosines(u, u), share_label(labels).to(u.dtype)
        log_e = -self.alpha * soft_hamming(c, u.shape[1]).square()
        e = log_e.exp()
        # For s = 0 the divergence is e log 2; for s = 1 no logarithm of e, which underflows, is divided by anything.
        similar = e * (log_e + torch.log(2 / (1 + e))) + torch.log(2 / (1 + e))
        divergence = torch.where(s > 0, similar, e * torch.log(e.new_tensor(2)))
        weights = (s - (1 + c) / 2).abs().exp() * (1 + self.similar_weight * s)
        return (weights * divergence).mean()
