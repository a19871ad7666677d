from __future__ import annotations

import math

import torch

from fasthash.errors import check_number
from fasthash.losses.base import (
    HashingLoss,
    Quantization,
    balanced_weights,
    cosines,
    share_label,
    similar_share,
)
from fasthash.losses.dch import soft_hamming
from fasthash.losses.quantization import MagnitudeError


class WGLHH(HashingLoss):
    """Weighted Gaussian loss: the weighted mean over pairs of the divergence between e = exp(-alpha d^2) and s.

    With d the generalised Hamming distance, the divergence is e log(2 e / (e + s)) + s log(2 s / (s + e)); its weight
    is exp(|s - (1 + c) / 2|) for the cosine c, times 1 / p for similar pairs and 1 / (1 - p) for others, p being the
    share of similar ones; or in the authors' code, times 1 + similar_weight for similar pairs. Its quantisation term is
    the mean over items of |u - sign u|^2.

    Args:
        alpha: above 0.
        similar_weight: at least 0; the authors' code has 0.1 to 0.7, and 70 for ImageNet. None for weights by p, as in
            H2Q's comparison.
        labels: of the training set, classes [N] or several an item [N, c], for the share of similar pairs p by which
            pairs weigh; None for that of the batch.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`.

    Source: Tu et al., "Weighted Gaussian Loss based Hamming Hashing", 2021, and the authors' code; Schwengber et al.,
    "Deep Hashing via Householder Quantization", 2023, A.3.5, which prints exp((s - c) / 2), as if pairs of others
    weighed less the nearer they are.
    """

    original_weight = 0.001

    def __init__(
        self,
        *,
        alpha: float = 0.1,
        similar_weight: float | None = None,
        labels: torch.Tensor | None = None,
        quantization: Quantization = "original",
        quantization_weight: float | None = None,
    ) -> None:
        super().__init__(quantization, quantization_weight)
        self.alpha = check_number("WGLHH", "alpha", alpha, above=0)
        self.similar_weight = (
            None if similar_weight is None else check_number("WGLHH", "similar_weight", similar_weight, minimum=0)
        )
        self.similar_share = similar_share("WGLHH", labels)

    def original_quantizer(self) -> torch.nn.Module:
        """Return the square error to the sign."""
        return MagnitudeError(2, "code")

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the weighted divergence."""
        similar = share_label(labels)
        c, s = cosines(u, u), similar.to(u.dtype)
        log_e = -self.alpha * soft_hamming(c, u.shape[1]).square()
        e = log_e.exp()
        # For s = 0 the divergence is e log 2; for s = 1 no logarithm of e, which underflows, is divided by anything.
        of_similar = e * (log_e + torch.log(2 / (1 + e))) + torch.log(2 / (1 + e))
        divergence = torch.where(similar, of_similar, e * math.log(2))
        if self.similar_weight is None:
            balance = balanced_weights(similar, self.similar_share, u.dtype)
        else:
            balance = 1 + self.similar_weight * s
        return ((s - (1 + c) / 2).abs().exp() * balance * divergence).mean()
