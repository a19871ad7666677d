"""What the supervised losses share: a term for similarity, a term for quantisation, and labels."""

from __future__ import annotations

import torch
from torch.nn import functional

from fasthash.errors import check_choice, check_floating, check_matrix, check_number, dtype_name
from fasthash.losses.quantization import HSWD, SlicedWasserstein

QUANTIZATIONS = ("original", "none", "hswd", "swd")


class HashingLoss(torch.nn.Module):
    """Base of the supervised losses: `similarity(u, labels) + quantization_weight * quantizer(u)`.

    A subclass defines `similarity`, and `original_quantizer` with the weight `original_weight` where its paper has one.

    Args:
        quantization: "original", the paper's own term; "none"; "hswd" or "swd", the Wasserstein distances of the raw
            outputs to bits in its place.
        quantization_weight: of the quantisation term; by default the paper's for the original, 0.1 for the distances.

    Source: for the exchange of the terms, Doan, Yang, Li, "One Loss for Quantization", 2022, and its supplement.
    """

    original_weight: float = 0.0
    n_classes: int | None = None  # how many labels there are, where the loss has parameters for each

    def __init__(self, quantization: str = "original", quantization_weight: float | None = None) -> None:
        super().__init__()
        where = type(self).__name__
        self.quantization = check_choice(where, "quantization", quantization, QUANTIZATIONS)
        default = self.original_weight if quantization == "original" else 0.1
        self.quantization_weight = (
            default
            if quantization_weight is None
            else check_number(where, "quantization_weight", quantization_weight, minimum=0)
        )
        self.quantizer: torch.nn.Module | None = None
        if quantization == "original":
            self.quantizer = self.original_quantizer()
        elif quantization != "none":
            self.quantizer = HSWD() if quantization == "hswd" else SlicedWasserstein()

    def original_quantizer(self) -> torch.nn.Module | None:
        """Return the paper's quantisation term, or None if it has none."""
        return None

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the term that draws similar items together."""
        raise NotImplementedError

    def forward(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch.

        Args:
            u: the network's raw outputs, floating-point [n, n_bits].
            labels: classes, integers [n], or several an item, bool or 0/1 integers [n, c].

        Raises:
            TypeError: if `u` is not floating-point, or `labels` are not integers or bool.
            ValueError: if shapes do not fit, or a class is not one of the loss's (unchecked on a GPU, which would have
                to be waited for).
        """
        where = type(self).__name__
        check_floating(where, "u", u)
        check_matrix(where, "u", u, "n_bits")
        if labels.is_floating_point() or labels.is_complex():
            raise TypeError(f"{where}: expected labels of an integer dtype or bool, got {dtype_name(labels)}")
        if labels.ndim not in (1, 2) or len(labels) != len(u):
            raise ValueError(f"{where}: expected labels of shape [{len(u)}] or [{len(u)}, c], got {list(labels.shape)}")
        if self.n_classes is not None:
            self._check_classes(where, labels, self.n_classes)
        loss = self.similarity(u, labels)
        if self.quantizer is not None and self.quantization_weight > 0:
            loss = loss + self.quantization_weight * self.quantizer(u)
        return loss

    def _check_classes(self, where: str, labels: torch.Tensor, n_classes: int) -> None:
        if labels.ndim == 2 and labels.shape[1] != n_classes:
            raise ValueError(f"{where}: expected labels of {n_classes} columns, got {labels.shape[1]}")
        if labels.ndim == 1 and labels.device.type == "cpu" and len(labels) and not torch.compiler.is_compiling():
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= n_classes:
                raise ValueError(f"{where}: expected labels from 0 to {n_classes - 1}, got {low} to {high}")

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"quantization={self.quantization!r}, quantization_weight={self.quantization_weight}"


def share_label(labels: torch.Tensor) -> torch.Tensor:
    """Return which pairs of items have a label in common, bool [n, n], for classes [n] or several an item [n, c]."""
    if labels.ndim == 1:
        return labels[:, None] == labels
    wide = (labels != 0).float()
    return wide @ wide.T > 0


def balanced_weights(similar: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return |S| / |S_1| for similar pairs and |S| / |S_0| for others, [n, n], so that both kinds count alike."""
    n_similar = similar.sum()
    weights = torch.where(similar, n_similar, similar.numel() - n_similar).clamp(min=1)
    return similar.numel() / weights.to(dtype)


def pairwise_likelihood(x: torch.Tensor, similar: torch.Tensor) -> torch.Tensor:
    """Return -log p(s_ij) = log(1 + e^x) - s x for logits `x` of similarity, [n, n]."""
    return functional.softplus(x) - torch.where(similar, x, 0)


def cosines(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return the cosines between the rows of `u` [n, m] and of `v` [k, m], [n, k]."""
    return functional.normalize(u, dim=1) @ functional.normalize(v, dim=1).T


def one_hot(labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return bool [n, n_classes] for classes [n] or several an item [n, n_classes]."""
    return functional.one_hot(labels.long(), n_classes).bool() if labels.ndim == 1 else labels != 0
