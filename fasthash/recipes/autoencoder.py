"""Autoencoders whose outputs a distance brings to bits: IDR-AE, and what its paper compares it with."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional

from fasthash.losses import HSWD, OptimalTransport, SlicedWasserstein
from fasthash.losses.quantization import random_bits
from fasthash.recipes.loop import Given
from fasthash.recipes.networks.backbones import ENCODER_WIDTHS, leaky_layers
from fasthash.recipes.settings import AutoencoderSettings
from fasthash.recipes.unsupervised import UnsupervisedTraining

ADVERSARIAL = ("wgan", "js")
CRITIC_WIDTHS = (50, 50, 100)
_BETAS = (0.5, 0.999)


def moments(batches: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean [d] and the covariance [d, d] of the rows in `batches` [n, d], float64."""
    first = None
    n, sums, products = 0, torch.zeros(()), torch.zeros(())
    for x in batches:
        first = x[0] if first is None else first
        y = x - first  # exactly 0 where rows do not differ
        n, sums, products = n + len(y), sums + y.sum(dim=0, dtype=torch.double), products + (y.T @ y).double()
    assert first is not None
    offset = sums / n
    return first.double() + offset, products / n - offset.outer(offset)


class Critic(nn.Module):
    """Tells codes from random bits, and is the distance between them that an encoder lessens.

    Args:
        kind: "wgan", the difference of mean scores, or "js", a discriminator by cross entropy.
        n_bits: of the codes.
    """

    def __init__(self, kind: str, n_bits: int) -> None:
        super().__init__()
        self.kind = kind
        self.score = nn.Sequential(*leaky_layers(n_bits, *CRITIC_WIDTHS), nn.Linear(CRITIC_WIDTHS[-1], 1))

    def forward(self, b: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return what the encoder of `b` [n, n_bits] lessens, for bits `z` [n, n_bits]."""
        if self.kind == "wgan":
            return self.score(z).mean() - self.score(b).mean()  # type: ignore[no-any-return]
        return functional.softplus(-self.score(b)).mean()

    def own_loss(self, b: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return what the critic lessens."""
        if self.kind == "wgan":
            return -self(b, z)  # type: ignore[no-any-return]
        return functional.softplus(self.score(b)).mean() + functional.softplus(-self.score(z)).mean()


def start_small(module: nn.Module) -> None:
    """Draw the weights of linear layers from N(0, 0.02) and set their biases to 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)


class AutoencoderTraining(UnsupervisedTraining[AutoencoderSettings]):
    """Train an autoencoder whose code is near random bits in distribution.

    The encoder in-500-500-100-bits returns u; the decoder mirrors it and ends in tanh; both start small, as the authors
    have it; inputs are from -1 to 1. By turns, each on the next batch: `reconstruction_steps` steps on the mean square
    error of the reconstruction, as a share of the inputs' variance; a step of the encoder on `weight` times the
    distance, before which a critic, if there is one, makes `critic_steps` on the same codes. One Adam has the encoder's
    moments of both. With `steps` "sum" every step is on the sum of both, the paper's equation 11.

    With `activation` "tanh" u is decoded and tanh u brought to {-1, +1} (the authors' code); with "sigmoid" it is
    sigmoid u that is decoded and brought to {0, 1} (the paper). The code is u > 0 in both.

    The distances: "idr", the mean over bits of the Wasserstein distance (HSWD); "ot", optimal transport to random
    bits by the Euclidean distance; "swd", the sliced distance to them; "wgan", by a critic with bounded weights; "js",
    by a discriminator, the encoder's loss non-saturating; "none", a plain autoencoder.

    `Run.modules` has the "decoder", and the "critic" if there is one. `Run.results` has "variance_lost", the share of
    the queries' variance that the decoder does not give back, and "variance_lost_by_pca", that of as many principal
    components of the training items: far above it, the autoencoder has not converged.

    Source: Doan et al., "Image Hashing by Minimizing Independent Relaxed Wasserstein Distance", 2020; for "js", Doan,
    Yadav, Reddy, "Adversarial Factorization Autoencoder for Look-alike Modeling", 2019.
    """

    takes_ranks = True

    def __init__(self, settings: AutoencoderSettings, given: Given) -> None:
        super().__init__(settings, given)
        self.title = f"{settings.distance}, {settings.bits} bits"
        widths = (settings.bits, *reversed(ENCODER_WIDTHS))
        self.decoder = nn.Sequential(*leaky_layers(*widths), nn.Linear(widths[-1], self.n_inputs), nn.Tanh()).to(
            self.device
        )
        start_small(self.network)
        start_small(self.decoder)
        both = [*self.network.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam(both, lr=settings.learning_rate, betas=_BETAS, fused=True)
        self.state = {"encoder": self.network, "decoder": self.decoder, "optimizer": self.optimizer}
        self.modules["decoder"] = self.decoder
        if settings.distance in ADVERSARIAL:
            self.critic = Critic(settings.distance, settings.bits).to(self.device)
            self.critic_optimizer = torch.optim.Adam(
                self.critic.parameters(), lr=settings.learning_rate, betas=_BETAS, fused=True
            )
            self.state |= {"critic": self.critic, "critic_optimizer": self.critic_optimizer}
            self.modules["critic"] = self.critic
        mean, covariance = moments(self.inputs(items.to(self.device)) for items, _, _ in self.train.in_order())
        self.variance = float(covariance.diagonal().mean())
        if self.variance == 0:
            raise ValueError(f"train: expected training items that differ, but {self.dataset.name}'s do not")
        self.mean = mean.float()
        self.axes = torch.linalg.eigh(covariance).eigenvectors[:, -settings.bits :].float()
        self.low = -1.0 if settings.activation == "tanh" else 0.0
        self.hswd = HSWD(target=settings.target, values=(self.low, 1.0))
        self.between_samples: dict[str, nn.Module] = {
            "ot": OptimalTransport(p=1),
            "swd": SlicedWasserstein(settings.n_projections),
        }
        self.turns = self._turns()

    def _turns(self) -> list[str]:
        settings = self.settings
        if settings.distance == "none":
            return ["reconstruct"]
        if settings.steps == "sum":
            return ["both"]
        return ["reconstruct"] * settings.reconstruction_steps + ["match"]

    def step(
        self, number: int, items: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Take the next turn."""
        turn = self.turns[number % len(self.turns)]
        x = self.inputs(items)
        u = self.network.outputs(x)
        b = u.tanh() if self.settings.activation == "tanh" else u.sigmoid()
        terms: dict[str, torch.Tensor] = {}
        total = torch.zeros((), device=x.device)
        if turn in ("reconstruct", "both"):
            terms["loss"] = functional.mse_loss(self._decoded(u), x) / self.variance
            total = total + terms["loss"]
        if turn in ("match", "both"):
            b = self.given.ranks.gathered(b)
            if self.settings.distance in ADVERSARIAL:
                terms["critic"] = self._criticise(b)
            terms["distance"] = self._distance(b)
            total = total + self.settings.weight * terms["distance"]
        self.learn(total, self.optimizer)  # which leaves what has no gradient, the decoder in its turn, as it is
        return terms

    def evaluate(self) -> dict[str, float]:
        """Return what the codes retrieve, and how much of the queries' variance outputs and components lose."""
        results = super().evaluate()
        squares, lost, lost_by_pca = 0.0, 0.0, 0.0
        with torch.inference_mode():
            for items, _, _ in self.query.in_order():
                x = self.inputs(items.to(self.device))
                centred = x - self.mean
                of_batch = float(centred.square().sum())
                squares += of_batch
                lost += float((self._decoded(self.network.outputs(x)) - x).square().sum())
                lost_by_pca += of_batch - float((centred @ self.axes).square().sum())
        return results | {"variance_lost": lost / squares, "variance_lost_by_pca": lost_by_pca / squares}

    def _decoded(self, u: torch.Tensor) -> torch.Tensor:
        decoded: torch.Tensor = self.decoder(u if self.settings.activation == "tanh" else u.sigmoid())
        return decoded

    def _distance(self, b: torch.Tensor) -> torch.Tensor:
        distance: torch.Tensor
        if self.settings.distance == "idr":
            distance = self.hswd(b)
        elif self.settings.distance in ADVERSARIAL:
            distance = self.critic(b, self._random_bits(b))
        else:
            distance = self.between_samples[self.settings.distance](b, self._random_bits(b))
        return distance

    def _criticise(self, b: torch.Tensor) -> torch.Tensor:
        """Make the critic's steps on the codes of a batch, each with other bits, and return its last loss."""
        for _ in range(self.settings.critic_steps):
            loss = self.critic.own_loss(b.detach(), self._random_bits(b))
            self.learn(loss, self.critic_optimizer)
            if self.settings.distance == "wgan":
                clamp = self.settings.critic_clamp
                with torch.no_grad():
                    for weights in self.critic.parameters():
                        weights.clamp_(-clamp, clamp)
        return loss

    def _random_bits(self, b: torch.Tensor) -> torch.Tensor:
        return random_bits("train", b).clamp(min=self.low)
