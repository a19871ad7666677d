from __future__ import annotations

import torch
from torch.nn import functional

from fasthash.errors import MAX_BITS, check_integer
from fasthash.losses.base import MAX_CLASSES, HashingLoss, Quantization, one_hot
from fasthash.losses.quantization import MagnitudeError


def straight_through_sign(u: torch.Tensor) -> torch.Tensor:
    """Return the signs, -1 or +1, zero negative as `pack_bits` has it; the gradient passes as if nothing were done.

    What is not finite has no sign: NaN.
    """
    return torch.where(u > 0, 1.0, -1.0).to(u.dtype) + (u - u.detach())


class GreedyHash(HashingLoss):
    """Greedy hash: cross entropy of a linear classifier on the signs, whose gradient passes straight through.

    Its quantisation term is the mean of | |u| - 1 |^3. An item of several labels has them as equally likely classes.

    Args:
        n_bits: 1 to 4,096.
        n_classes: at least 2.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`; the paper has 0.1, and 1 for ImageNet.

    Attributes:
        classifier: a `Linear` without a bias, to be trained along.

    Source: Su, Zhang, Han, Tian, "Greedy Hash: Towards Fast Optimization for Accurate Hash Coding in CNN", 2018.
    """

    original_weight = 0.1

    def __init__(
        self,
        n_bits: int,
        n_classes: int,
        *,
        quantization: Quantization = "original",
        quantization_weight: float | None = None,
    ) -> None:
        super().__init__(quantization, quantization_weight)
        self.n_bits = check_integer("GreedyHash", "n_bits", n_bits, 1, MAX_BITS)
        self.n_classes = check_integer("GreedyHash", "n_classes", n_classes, 2, MAX_CLASSES)
        self.classifier = torch.nn.Linear(self.n_bits, self.n_classes, bias=False)

    def original_quantizer(self) -> torch.nn.Module:
        """Return the cubic magnitude error."""
        return MagnitudeError(3)

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy."""
        logits = functional.linear(straight_through_sign(u), self.classifier.weight.to(u.dtype))
        if labels.ndim == 1:
            return functional.cross_entropy(logits, labels)
        wanted = one_hot(labels, logits.shape[1]).to(logits.dtype)
        return functional.cross_entropy(logits, wanted / wanted.sum(1, keepdim=True).clamp(min=1))
