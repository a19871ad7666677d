from __future__ import annotations

import operator
from typing import Any

import torch

from fasthash.errors import check_integer, check_number
from fasthash.losses.base import MAX_CELLS, Quantization, pairwise_likelihood, share_label
from fasthash.losses.training_set import TrainingSetLoss, descend_bits, sums_by_group
from fasthash.ops.declaration import only_once


class _LikelihoodOfAll(torch.autograd.Function):
    """The mean of `pairwise_likelihood` over batch x training set, and its gradient, a block of pairs at a time."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        u: torch.Tensor, labels: torch.Tensor, all_u: torch.Tensor, all_labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        total, gradient = u.new_zeros(()), torch.zeros_like(u)
        n_columns = max(1, MAX_CELLS // max(1, len(u)))
        with torch.autocast(u.device.type, enabled=False):
            for others, their_labels in zip(
                torch.split(all_u, n_columns), torch.split(all_labels, n_columns), strict=True
            ):
                t, similar = u @ others.T / 2, share_label(labels, their_labels)
                total = total + pairwise_likelihood(t, similar).sum()
                gradient = gradient + (t.sigmoid() - similar.to(t.dtype)) @ others / 2
        n_pairs = len(u) * len(all_u)
        return total / n_pairs, gradient / n_pairs

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        u, gradient = ctx.saved_tensors
        return upstream * only_once("DSDH", gradient, u), None, None, None


class DSDH(TrainingSetLoss):
    """Deep supervised discrete hashing: a pairwise likelihood for the network, a linear classifier for the codes.

    A batch is compared with the latest outputs U of the whole training set: the mean over pairs of
    log(1 + e^t) - s t, t = <u_i, u_j> / 2, whose gradient goes by u_i alone. The quantisation term is the mean of
    (u - b)^2 to the batch's codes B. `end_epoch` finds the classifier W that minimises
    mu |Y - B W|^2 + nu |W|^2, then lowers mu |Y - B W|^2 + eta |B - U|^2 over the codes, a bit at a time.

    Where another term stands for the original, the codes are still learned, near U by eta and to be classified, but
    nothing draws the network to them. Items not seen have U = 0: their code comes from their labels.

    Args:
        labels: of the whole training set, classes [N] or several an item [N, n_classes], in the order of `indices`.
        n_bits: at least 1.
        n_classes: at least 2.
        mu: of the classifier's error, above 0.
        nu: of the classifier's size, above 0.
        eta: of the codes' distance to the outputs, at least 0; also the weight of the original quantisation term.
        n_sweeps: at most so many turns over the bits an epoch, at least 1.
        seed: of the first codes, which are random.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`; eta for the original.

    Attributes:
        outputs: U, [N, n_bits], part of the state.
        codes: B, -1 and +1 [N, n_bits], part of the state.
        classifier: W, [n_bits, n_classes], part of the state.

    Source: Li, Sun, He, Tan, "Deep Supervised Discrete Hashing", 2017. Weights are those of the public code
    DSDH_PyTorch (TreezzZ), which has 5, 5 and 2 for ImageNet; ten sweeps are DeepHash-pytorch's.
    """

    classifier: torch.Tensor

    def __init__(
        self,
        labels: torch.Tensor,
        n_bits: int,
        n_classes: int,
        mu: float = 0.01,
        nu: float = 1.0,
        eta: float = 0.01,
        n_sweeps: int = 10,
        seed: int = 0,
        *,
        quantization: Quantization = "original",
        quantization_weight: float | None = None,
    ) -> None:
        self.mu = check_number("DSDH", "mu", mu, above=0)
        self.nu = check_number("DSDH", "nu", nu, above=0)
        self.eta = self.original_weight = check_number("DSDH", "eta", eta, minimum=0)
        self.n_sweeps = check_integer("DSDH", "n_sweeps", n_sweeps, 1)
        super().__init__(labels, n_bits, n_classes, seed, quantization, quantization_weight)
        self.register_buffer("classifier", self.codes.new_zeros(self.codes.shape[1], operator.index(n_classes)))

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the negative log likelihood of the similarities to the training set."""
        kept = torch.promote_types(u.dtype, self.outputs.dtype)
        u = self.precise(u)
        loss, _ = _LikelihoodOfAll.apply(u, labels, self.outputs.to(u.dtype), self.labels)  # type: ignore[no-untyped-call]
        return loss.to(kept)  # type: ignore[no-any-return]

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Fit the classifier to the codes, then the codes to the classifier and the outputs."""
        codes, outputs, labels = self.precise(self.codes), self.precise(self.outputs), self.labels
        ridge = self.nu / self.mu * torch.eye(codes.shape[1], dtype=codes.dtype, device=codes.device)
        if labels.ndim == 1:
            together = sums_by_group(codes, labels, self.classifier.shape[1]).T  # B^T Y
        else:
            together = codes.T @ labels.to(codes.dtype)
        w = torch.linalg.solve(codes.T @ codes + ridge, together)
        self.classifier.copy_(w)
        scores = w.T[labels] if labels.ndim == 1 else labels.to(w.dtype) @ w.T  # Y W^T
        self.codes.copy_(descend_bits(codes, scores + self.eta / self.mu * outputs, w @ w.T, self.n_sweeps))
