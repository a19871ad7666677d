from __future__ import annotations

import torch

from fasthash.errors import MAX_BITS, check_integer, check_number
from fasthash.losses.base import MAX_CLASSES, HashingLoss, Quantization, cosines, one_hot, share_label
from fasthash.losses.quantization import MagnitudeError


class HyP2(HashingLoss):
    """Hybrid proxy-pair loss: items near the proxies of their labels, away from others, and apart where dissimilar.

    The mean of 1 - cos(u, p) over items and proxies p of their labels, plus the mean of max(0, cos(u, p) - margin) over
    the other proxies, plus beta times the mean of max(0, cos(u_i, u_j) - margin) over the dissimilar pairs among items
    of at least min_labels labels. A mean over nothing is 0. The paper has no quantisation term; "original" is the mean
    over items of |u - sign u|^2 with weight 0.

    Args:
        n_bits: 1 to 4,096.
        n_classes: at least 2.
        margin: at least -1, below 1; see `CEL`.
        beta: at least 0.
        min_labels: at least 1, for all dissimilar pairs, as in H2Q's comparison; 2 in the paper and its code, where
            items of one label each have no pairs.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`.

    Attributes:
        proxies: parameter [n_classes, n_bits], to be trained along.

    Source: Xu et al., "HyP2 Loss: Beyond Hypersphere Metric Space for Multi-label Image Retrieval", 2022, and its code;
    Schwengber et al., "Deep Hashing via Householder Quantization", 2023, A.3.6.
    """

    def __init__(
        self,
        n_bits: int,
        n_classes: int,
        margin: float = 0.0,
        beta: float = 0.5,
        min_labels: int = 1,
        *,
        quantization: Quantization = "original",
        quantization_weight: float | None = None,
    ) -> None:
        super().__init__(quantization, quantization_weight)
        self.n_bits = check_integer("HyP2", "n_bits", n_bits, 1, MAX_BITS)
        self.n_classes = check_integer("HyP2", "n_classes", n_classes, 2, MAX_CLASSES)
        self.margin = check_number("HyP2", "margin", margin, minimum=-1, below=1)
        self.beta = check_number("HyP2", "beta", beta, minimum=0)
        self.min_labels = check_integer("HyP2", "min_labels", min_labels, 1)
        self.proxies = torch.nn.Parameter(torch.empty(self.n_classes, self.n_bits))
        torch.nn.init.kaiming_normal_(self.proxies, mode="fan_out")

    def original_quantizer(self) -> torch.nn.Module:
        """Return the square error to the sign."""
        return MagnitudeError(2, "code")

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the proxies' and the pairs' terms."""
        wanted = one_hot(labels, len(self.proxies))
        to_proxies = cosines(u, self.proxies.to(u.dtype))
        loss = _mean(1 - to_proxies, wanted) + _mean((to_proxies - self.margin).clamp(min=0), ~wanted)
        enough = wanted.sum(1) >= self.min_labels
        apart = ~share_label(labels) & enough[:, None] & enough
        return loss + self.beta * _mean((cosines(u, u) - self.margin).clamp(min=0), apart)


def _mean(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return torch.where(chosen, values, 0).sum() / chosen.sum().clamp(min=1)
