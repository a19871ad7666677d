from __future__ import annotations

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

_SLACK = 1e-5  # of the distance, which keeps log d finite


def soft_hamming(cosine: torch.Tensor, n_bits: int) -> torch.Tensor:
    """Return (n_bits / 2)(1 - cosine), between 1e-5 and 1 - 1e-5 of n_bits, in no less precision than float32."""
    cosine = cosine.to(torch.promote_types(cosine.dtype, torch.float32)).clamp(-1, 1)
    return n_bits * (_SLACK + (1 - cosine) / 2 * (1 - 2 * _SLACK))


class _CauchyQuantization(torch.nn.Module):
    """The mean over items of log(1 + d(|u|, 1) / gamma)."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        cosine = cosines(u.abs(), u.new_ones(1, u.shape[1]))[:, 0]
        return torch.log1p(soft_hamming(cosine, u.shape[1]) / self.gamma).mean()


class DCH(HashingLoss):
    """Deep Cauchy hashing: the weighted mean over pairs of s log(d / gamma) + log(1 + gamma / d).

    The probability that items are similar is gamma / (gamma + d), d = (n_bits / 2)(1 - cos(u_i, u_j)). Similar pairs
    weigh 1 / p and others 1 / (1 - p), p being the share of similar ones. Its quantisation term is the mean over items
    of log(1 + d(|u|, 1) / gamma).

    Args:
        gamma: the distance of which similarity is as likely as not, above 0.
        labels: of the training set, classes [N] or several an item [N, c], for the share of similar pairs p by which
            pairs weigh; None for that of the batch.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`.

    Source: Cao, Long, Liu, Wang, "Deep Cauchy Hashing for Hamming Space Retrieval", 2018.
    """

    original_weight = 0.1

    def __init__(
        self,
        *,
        gamma: float = 10.0,
        labels: torch.Tensor | None = None,
        quantization: Quantization = "original",
        quantization_weight: float | None = None,
    ) -> None:
        self.gamma = check_number("DCH", "gamma", gamma, above=0)
        super().__init__(quantization, quantization_weight)
        self.similar_share = similar_share("DCH", labels)

    def original_quantizer(self) -> torch.nn.Module:
        """Return the Cauchy quantisation loss."""
        return _CauchyQuantization(self.gamma)

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the weighted negative log likelihood of the similarities."""
        similar = share_label(labels)
        d = soft_hamming(cosines(u, u), u.shape[1])
        losses = torch.where(similar, torch.log(d / self.gamma), 0) + torch.log1p(self.gamma / d)
        return (balanced_weights(similar, self.similar_share, u.dtype) * losses).mean()
