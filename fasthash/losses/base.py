"""What the supervised losses share: a term for similarity, a term for quantisation, and labels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional

from fasthash.errors import (
    check_choice,
    check_device,
    check_floating,
    check_labels,
    check_matrix,
    check_number,
    check_values,
    dtype_name,
    torch_arithmetic,
)
from fasthash.losses.names import QUANTIZATIONS
from fasthash.losses.quantization import HSWD, SlicedWasserstein
from fasthash.ops.arrays import check_tensor
from fasthash.ops.registry import is_traced

MAX_CLASSES = 2**31 - 1
MAX_CELLS = 2**22  # of a block of pairs of items: 16 MiB of float32
Quantization = str | Callable[[torch.Tensor], torch.Tensor]


class Terms(NamedTuple):
    """The two terms of a loss, scalars.

    Attributes:
        similarity: what draws similar items together.
        quantization: what draws outputs to bits, before its weight; None where there is none or its weight is 0.
    """

    similarity: torch.Tensor
    quantization: torch.Tensor | None


class HashingLoss(torch.nn.Module):
    """Base of the supervised losses: `similarity(u, labels) + quantization_weight * quantizer(u)`.

    A subclass defines `similarity`, and `original_quantizer` with the weight `original_weight` where its paper has one.
    A training loop that passes `indices` and calls `end_epoch` after each epoch serves every loss.

    Args:
        quantization: "original", the paper's own term; "none"; or what stands in its place: "hswd" or "swd", the
            Wasserstein distances of the raw outputs to bits, or a module or function of yours that takes the raw
            outputs [n, n_bits] and returns a scalar, `HSWD(target="bernoulli")` say.
        quantization_weight: of the quantisation term; by default the paper's for the original, 0.1 for others.

    Attributes:
        quantization: the name, "own" for a module or function.
        quantizer: the quantisation term, a module or function, None if there is none. A module moves, is saved and is
            trained with the loss.

    Source: for the exchange of the terms, Doan, Yang, Li, "One Loss for Quantization", 2022, and its supplement.
    """

    original_weight: float = 0.0
    n_bits: int | None = None  # how wide outputs are, where the loss has something for each bit
    n_classes: int | None = None  # how many labels there are, where the loss has parameters for each
    needs_indices: bool = False  # whether the loss keeps something for each item of the training set
    quantizer: Callable[[torch.Tensor], torch.Tensor] | None

    def __init__(self, quantization: Quantization = "original", quantization_weight: float | None = None) -> None:
        super().__init__()
        where = type(self).__name__
        if isinstance(quantization, type):
            kind = quantization.__name__
            raise TypeError(
                f"{where}: expected quantization to be a name, a module or a function, got the class {kind}"
            )
        self.quantization = (
            "own" if callable(quantization) else check_choice(where, "quantization", quantization, QUANTIZATIONS)
        )
        default = self.original_weight if self.quantization == "original" else 0.1
        self.quantization_weight = (
            default
            if quantization_weight is None
            else check_number(where, "quantization_weight", quantization_weight, minimum=0)
        )
        if callable(quantization):
            self.quantizer = quantization
        elif quantization == "original":
            self.quantizer = self.original_quantizer()
        else:
            self.quantizer = {"none": None, "hswd": HSWD(), "swd": SlicedWasserstein()}[quantization]

    def original_quantizer(self) -> torch.nn.Module | None:
        """Return the paper's quantisation term, or None if it has none."""
        return None

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the term that draws similar items together; labels are int64 [n] or bool [n, c]."""
        raise NotImplementedError

    def forward(self, u: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor | None = None) -> torch.Tensor:
        """Return the loss of a batch.

        Args:
            u: the network's raw outputs, floating-point [n, n_bits], n and n_bits at least 1.
            labels: classes, integers or bool [n], or several an item, bool or 0/1 of any real dtype [n, c], c at
                least 2.
            indices: int64 [n], which items of the training set the batch is, each once; needed where `needs_indices`,
                else of no effect. Pairs or triplets of a miner are refused: every pair of the batch counts.

        Raises:
            TypeError: if `u` is not floating-point, `labels` are of another dtype, or `indices` not int64.
            ValueError: if shapes do not fit, or a class is not one of the loss's, or needed `indices` are missing, out
                of range, repeated or of items with other labels. Values are unchecked on a GPU, which would have to be
                waited for, and under torch.compile; labels [n, c] other than 0 and 1 make the loss NaN there.
        """
        return self.weighted(self.terms(u, labels, indices))

    def weighted(self, terms: Terms) -> torch.Tensor:
        """Return the weighted sum of the terms, a scalar."""
        if terms.quantization is None:
            return terms.similarity
        return terms.similarity + self.quantization_weight * terms.quantization

    def terms(self, u: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor | None = None) -> Terms:
        """Return the terms whose weighted sum `forward` returns, for what `forward` takes."""
        given, labels = labels, self.check_batch(u, labels, indices)
        if self.training:
            self.remember(u, indices)
        similarity = self.similarity(u, labels)
        if given.ndim == 2 and given.dtype != torch.bool and not on_cpu(given):
            similarity = torch.where((torch_arithmetic(given) == labels).all(), similarity, torch.nan)
        return Terms(similarity, self.quantization_term(u, indices) if self.quantization_weight > 0 else None)

    def check_batch(self, u: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor | None) -> torch.Tensor:
        """Return the labels, int64 [n] or bool [n, c], or raise unless the batch is as `forward` says."""
        where = type(self).__name__
        check_tensor(where, "u", u)
        check_floating(where, "u", u)
        check_matrix(where, "u", u, "n_bits")
        if 0 in u.shape:
            raise ValueError(f"{where}: expected u with at least one row and one column, got {list(u.shape)}")
        for own in itertools.chain(self.parameters(), self.buffers()):
            if own.ndim > 0:  # a scalar of the CPU goes with tensors of a GPU
                check_device(where, "u", u, own.device)
        n_bits = self.n_bits or u.shape[1]
        if u.shape[1] != n_bits:
            raise ValueError(f"{where}: expected u of {n_bits} columns, got {u.shape[1]}")
        if indices is not None:
            if isinstance(indices, tuple):
                raise TypeError(f"{where}: expected indices to be a tensor, got a tuple; a miner's pairs are not taken")
            check_tensor(where, "indices", indices)
            check_device(where, "indices", indices, u.device)
            if indices.dtype != torch.int64:
                raise TypeError(f"{where}: expected indices of dtype int64, got {dtype_name(indices)}")
            if indices.shape != u.shape[:1]:
                raise ValueError(f"{where}: expected indices of shape [{len(u)}], got {list(indices.shape)}")
        labels = check_tensor(where, "labels", labels)
        check_device(where, "labels", labels, u.device)
        return check_labels(where, "labels", labels, len(u), n_classes=self.n_classes, look=on_cpu(labels))

    def remember(self, u: torch.Tensor, indices: torch.Tensor | None) -> None:
        """Keep what the loss needs of a batch in training mode: nothing, unless a subclass does."""

    def quantization_term(self, u: torch.Tensor, indices: torch.Tensor | None) -> torch.Tensor | None:
        """Return the unweighted quantisation term, or None if there is none."""
        if self.quantizer is None:
            return None
        term = self.quantizer(u)
        where = type(self).__name__
        if not isinstance(term, torch.Tensor):
            raise TypeError(f"{where}: expected quantization to return a scalar tensor, got {type(term).__name__}")
        if term.ndim != 0:
            raise ValueError(f"{where}: expected quantization to return a scalar, got {list(term.shape)}")
        return term

    def end_epoch(self) -> None:
        """Do what the method does after each epoch of training: nothing, unless a subclass does."""

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"quantization={self.quantization!r}, quantization_weight={self.quantization_weight}"


def on_cpu(x: torch.Tensor) -> bool:
    """Return whether the values of `x` can be looked at without waiting for a GPU or breaking a traced graph."""
    return x.device.type == "cpu" and not is_traced(x)


def share_label(labels: torch.Tensor, others: torch.Tensor | None = None) -> torch.Tensor:
    """Return which items have a label in common with which of `others`, by default themselves, bool [n, k].

    Labels are classes, [n] and [k], or several an item, bool [n, c] and [k, c].
    """
    others = labels if others is None else others
    if labels.ndim == 1:
        return labels[:, None] == others
    return labels.float() @ others.float().T > 0


def check_training_labels(where: str, labels: torch.Tensor, n_classes: int | None = None) -> torch.Tensor:
    """Return the labels of a training set, int64 [N] or bool [N, c], or raise unless they are that of some items."""
    check_values(where, "labels", check_tensor(where, "labels", labels))
    labels = check_labels(where, "labels", labels, "N", n_classes=n_classes, look=on_cpu(labels))
    if len(labels) == 0:
        raise ValueError(f"{where}: expected labels of at least one item, got {list(labels.shape)}")
    return labels


def similar_share(where: str, labels: torch.Tensor | None) -> float | None:
    """Return how many of all pairs of a training set are similar, an item and itself included; None without labels."""
    if labels is None:
        return None
    labels = check_training_labels(where, labels)
    groups, sizes = torch.unique(labels, dim=0, return_counts=True)
    sizes = sizes.double()
    n_rows = max(1, MAX_CELLS // len(groups))
    similar = [
        some @ share_label(part, groups).double() @ sizes
        for part, some in zip(torch.split(groups, n_rows), torch.split(sizes, n_rows), strict=True)
    ]
    return float(torch.stack(similar).sum()) / len(labels) ** 2


def balanced_weights(similar: torch.Tensor, share: float | None, dtype: torch.dtype) -> torch.Tensor:
    """Return weights with which similar pairs and others count alike: 1 / p for the former, 1 / (1 - p) for the latter.

    Args:
        similar: which pairs are, bool [n, n].
        share: p of the training set; None for that of these pairs.
        dtype: of the weights.
    """
    double = torch.float64
    p = similar.to(double).mean() if share is None else torch.full((), share, dtype=double, device=similar.device)
    return 1 / torch.where(similar, p, 1 - p).to(dtype)


def pairwise_likelihood(x: torch.Tensor, similar: torch.Tensor) -> torch.Tensor:
    """Return -log p(s_ij) = log(1 + e^x) - s x for logits `x` of similarity, [n, n]."""
    return functional.softplus(x) - torch.where(similar, x, 0)


def cosines(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return the cosines between the rows of `u` [n, m] and of `v` [k, m], [n, k]."""
    return functional.normalize(u, dim=1) @ functional.normalize(v, dim=1).T


def one_hot(labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return bool [n, n_classes] for classes, int64 [n], or several an item, bool [n, n_classes]."""
    return functional.one_hot(labels, n_classes).bool() if labels.ndim == 1 else labels
