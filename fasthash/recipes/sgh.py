"""Stochastic generative hashing: a linear encoder whose bits a linear decoder turns back into the item."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from fasthash.recipes.loop import Given
from fasthash.recipes.settings import SGHSettings
from fasthash.recipes.unsupervised import UnsupervisedTraining


def straight_through_bits(h: torch.Tensor) -> torch.Tensor:
    """Return the bits y = [h > 0], with the gradient of p = sigmoid h in place of their own.

    It is biased: the expectation of a function of random bits has another gradient in p. Of NaN there is no bit.
    """
    p = h.sigmoid()
    return (h > 0).to(h.dtype) + (p - p.detach())


class SGH(nn.Module):
    """The generative half: x is y U |scale| + shift, for the bits y of h.

    Args:
        x: training inputs [n, d], whose means and variances the shift and the scale start from.
        n_bits: length of the codes.
        code_weight: of the description length, -log p(y | h).
    """

    def __init__(self, x: torch.Tensor, n_bits: int, code_weight: float) -> None:
        super().__init__()
        self.code_weight = code_weight
        self.patterns = nn.Parameter(torch.randn(n_bits, x.shape[1]) / n_bits**0.5)  # U
        self.scale = nn.Parameter(x.var(dim=0, correction=0).clamp(min=1e-7))
        self.shift = nn.Parameter(x.mean(dim=0))

    def forward(self, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the sum over a batch of |reconstruction - x|^2 / 2 and the weighted description length.

        Args:
            h: logits of the bits [n, n_bits].
            x: inputs [n, d].
        """
        y = straight_through_bits(h)
        reconstructed = (y @ self.patterns) * self.scale.abs() + self.shift
        errors = 0.5 * (reconstructed - x).square().sum()
        return errors + self.code_weight * functional.binary_cross_entropy_with_logits(h, y, reduction="sum")


class SGHTraining(UnsupervisedTraining[SGHSettings]):
    """Train the hash function of stochastic generative hashing: each batch lessens `SGH`'s loss.

    Inputs are brought to means of 0 and, by one number, to a mean variance of 1: with the constants below, bits whose
    bias outweighs what the items differ by never change. `Run.modules` has the generative half, "sgh".

    Source: Dai, Guo, Kumar, He, Song, "Stochastic Generative Hashing", 2017, with the constants of the authors' code.
    """

    takes_ranks = True

    def __init__(self, settings: SGHSettings, given: Given) -> None:
        super().__init__(settings, given)
        self.title = f"sgh, {settings.bits} bits"
        x = torch.cat([self.inputs(items.to(self.device)).cpu() for items, _, _ in self.train.in_order()])
        mean, deviation = x.mean(dim=0), x.var(dim=0, correction=0).mean().sqrt().clamp(min=1e-6)
        self.mean, self.deviation = mean.to(self.device), deviation.to(self.device)
        self.linear = nn.Linear(self.n_inputs, settings.bits)
        nn.init.normal_(self.linear.weight, std=self.n_inputs**-0.5)
        nn.init.normal_(self.linear.bias)
        self.linear.to(self.device)
        self.sgh = SGH(x.sub_(mean).div_(deviation), settings.bits, settings.code_weight).to(self.device)
        self.optimizer = torch.optim.Adam(
            [*self.linear.parameters(), *self.sgh.parameters()], lr=settings.learning_rate
        )
        self.state = {"encoder": self.network, "linear": self.linear, "sgh": self.sgh, "optimizer": self.optimizer}
        self.modules["sgh"] = self.sgh

    @property
    def architecture(self) -> str:
        """A linear layer."""
        return "linear"

    def step(
        self, number: int, items: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Make a step on the loss of a batch."""
        x = (self.inputs(items) - self.mean) / self.deviation
        squares = self.linear.weight.square().sum() + self.sgh.patterns.square().sum()
        n_ranks = self.given.ranks.n
        loss = n_ranks * self.sgh(self.linear(x), x) + 0.5 * self.settings.weight_decay * squares
        self.learn(loss, self.optimizer)
        return {"loss": loss / (n_ranks * len(x))}

    def end_epoch(self) -> None:
        """Give the encoder the linear layer, for inputs as `HashingNetwork.prepare` leaves them."""
        with torch.no_grad():
            weight = self.linear.weight / self.deviation
            self.network.head.weight.copy_(weight)
            self.network.head.bias.copy_(self.linear.bias - weight @ self.mean)
