"""What the losses share that keep outputs and codes for each item of the training set."""

from __future__ import annotations

import torch
from torch.nn import functional

from fasthash.errors import MAX_BITS, check_integer
from fasthash.losses.base import MAX_CLASSES, HashingLoss, Quantization, check_training_labels, on_cpu


class TrainingSetLoss(HashingLoss):
    """Base of the losses that learn codes of the training set beside the network, and renew them after epochs.

    Args:
        labels: of the whole training set, classes [N] or several an item [N, n_classes], in the order of `indices`.
        n_bits: 1 to 4,096.
        n_classes: at least 2.
        seed: of the codes before the first discrete step, which are random.
        quantization: see `HashingLoss`; "original" draws outputs to the codes.
        quantization_weight: see `HashingLoss`.

    Attributes:
        outputs: [N, n_bits], the latest outputs in training mode, zero for items not seen; part of the state.
        codes: -1 and +1 [N, n_bits], part of the state.
    """

    needs_indices = True
    labels: torch.Tensor
    outputs: torch.Tensor
    codes: torch.Tensor

    def __init__(
        self,
        labels: torch.Tensor,
        n_bits: int,
        n_classes: int,
        seed: int,
        quantization: Quantization,
        quantization_weight: float | None,
    ) -> None:
        where = type(self).__name__
        n_bits = check_integer(where, "n_bits", n_bits, 1, MAX_BITS)
        n_classes = check_integer(where, "n_classes", n_classes, 2, MAX_CLASSES)
        seed = check_integer(where, "seed", seed, 0)
        labels = check_training_labels(where, labels, n_classes)
        super().__init__(quantization, quantization_weight)
        self.n_bits, self.n_classes = n_bits, n_classes
        self.register_buffer("labels", labels, persistent=False)
        generator = torch.Generator().manual_seed(seed)
        bits = torch.rand(len(labels), n_bits, generator=generator, dtype=torch.float32, device="cpu") < 0.5
        self.register_buffer("codes", (bits.float() * 2 - 1).to(labels.device))
        self.register_buffer("outputs", torch.zeros_like(self.codes))

    def check_batch(self, u: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor | None) -> torch.Tensor:
        """Return the labels, int64 [n] or bool [n, c], or raise unless the batch is as `forward` says."""
        labels = super().check_batch(u, labels, indices)
        where, n_items = type(self).__name__, len(self.outputs)
        if labels.ndim != self.labels.ndim:
            raise ValueError(
                f"{where}: expected labels of {self.labels.ndim} dimensions, as the training set's, got {labels.ndim}"
            )
        if indices is None:
            raise ValueError(f"{where}: expected indices, the positions of the batch's items in the training set")
        if not on_cpu(indices) or len(indices) == 0:
            return labels
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= n_items:
            raise ValueError(f"{where}: expected indices from 0 to {n_items - 1}, got {low} to {high}")
        if len(torch.unique(indices)) < len(indices):
            raise ValueError(f"{where}: expected indices of distinct items, got one more than once")
        if on_cpu(labels) and on_cpu(self.labels):
            wrong = (labels != self.labels[indices]).nonzero()
            if len(wrong):
                row = int(wrong[0, 0])
                raise ValueError(
                    f"{where}: expected labels to be those of the training set at indices, got others in row {row}"
                    f" for item {int(indices[row])}"
                )
        return labels

    def activation(self, u: torch.Tensor) -> torch.Tensor:
        """Return what is compared with codes, of the raw outputs."""
        return u

    def remember(self, u: torch.Tensor, indices: torch.Tensor | None) -> None:
        """Keep the outputs of a batch."""
        with torch.no_grad():
            self.outputs[indices] = self.activation(u.to(self.outputs.dtype))

    def quantization_term(self, u: torch.Tensor, indices: torch.Tensor | None) -> torch.Tensor | None:
        """Return the original term, the mean square distance to the batch's codes, or the one in its place."""
        if self.quantization != "original":
            return super().quantization_term(u, indices)
        return functional.mse_loss(self.activation(u), self.codes[indices].to(u.dtype))

    def precise(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` in no less precision than float32 and what is kept, for sums over the whole training set."""
        return x.to(torch.promote_types(torch.promote_types(x.dtype, self.outputs.dtype), torch.float32))


def sums_by_group(x: torch.Tensor, groups: torch.Tensor, n_groups: int) -> torch.Tensor:
    """Return the sums of the rows of `x` [n, m] that are of each group, [n_groups, m]."""
    return x.new_zeros(n_groups, x.shape[1]).index_add_(0, groups, x)


def descend_bits(codes: torch.Tensor, linear: torch.Tensor, gram: torch.Tensor, n_sweeps: int) -> torch.Tensor:
    """Return codes B after coordinate descent on tr(B G B^T) - 2 tr(B^T P), each bit in turn for all rows.

    A bit l becomes the sign of P_l less the product of the other bits with their column l of G; at zero it stays. Rows
    do not meet, so one that a sweep leaves alone is finished, and later sweeps take only the others.

    Args:
        codes: B, -1 and +1 [n, m], left as they are.
        linear: P, [n, m].
        gram: G, symmetric [m, m].
        n_sweeps: at most so many.

    Source: discrete cyclic coordinate descent, Shen, Shen, Liu, Shen, "Supervised Discrete Hashing", 2015.
    """
    codes = codes.clone()
    others = gram - gram.diag().diag()
    active = torch.arange(len(codes), device=codes.device)
    for _ in range(n_sweeps):
        before = codes[active].T.contiguous()  # [m, n]: a bit is a contiguous row
        bits, wanted = before.clone(), linear[active].T.contiguous()
        for bit, column in enumerate(others):
            x = wanted[bit] - column @ bits
            bits[bit] = torch.where(x.abs() > 0, x.sign(), bits[bit])
        codes[active] = bits.T
        active = active[(bits != before).any(0)]
        if len(active) == 0:
            break
    return codes
