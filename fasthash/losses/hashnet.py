from __future__ import annotations

import torch

from fasthash.losses.base import (
    HashingLoss,
    Quantization,
    balanced_weights,
    pairwise_likelihood,
    share_label,
    similar_share,
)


class HashNet(HashingLoss):
    """HashNet: the weighted mean over pairs of log(1 + e^t) - s t, t = (10 / n_bits) <h_i, h_j>, h = tanh(beta u).

    Continuation stands for quantisation: beta = sqrt(1 + 0.005 steps), renewed every 200 steps of training, brings tanh
    near to the sign. Similar pairs weigh 1 / p and others 1 / (1 - p), p being the share of similar ones.

    Args:
        labels: of the training set, classes [N] or several an item [N, c], for the share of similar pairs p by which
            pairs weigh; None for that of the batch.
        quantization: see `HashingLoss`; the paper has no term of its own.
        quantization_weight: see `HashingLoss`.

    Attributes:
        n_steps: how many batches have been seen in training mode; part of the state.

    Source: Cao, Long, Wang, Yu, "HashNet: Deep Learning to Hash by Continuation", 2017, and its published code.
    """

    n_steps: torch.Tensor

    def __init__(
        self,
        labels: torch.Tensor | None = None,
        *,
        quantization: Quantization = "original",
        quantization_weight: float | None = None,
    ) -> None:
        super().__init__(quantization, quantization_weight)
        self.similar_share = similar_share("HashNet", labels)
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.int64))

    @property
    def beta(self) -> torch.Tensor:
        """The steepness of tanh, a scalar."""
        return (1 + 0.005 * (self.n_steps // 200 * 200)).sqrt()

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the weighted negative log likelihood of the similarities; count the step."""
        h = torch.tanh(self.beta.to(u.dtype) * u)
        similar = share_label(labels)
        losses = pairwise_likelihood(10 / u.shape[1] * h @ h.T, similar)
        if self.training:
            self.n_steps += 1
        return (balanced_weights(similar, self.similar_share, u.dtype) * losses).mean()
