from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from fasthash.errors import check_flag, check_integer, check_number
from fasthash.hashers.affine import AffineHasher
from fasthash.hashers.base import principal_axes, seed_of
from fasthash.hashers.itq import procrustes_rotation

_NEAR, _WIDE = 5, 0.1  # perplexities: of the near neighbours, and of the wide ones as a share of the references
_NEAR_TEMPERATURE, _WIDE_TEMPERATURE = 0.5, 0.2  # the former at one bit, and less by the root of their number
_SLOPE = 3  # of tanh, for projections of mean square 1
_N_ANCHORS = 256
_N_ITQ_ITERATIONS = 10
_NEVER = -1e4  # the similarity of an anchor to itself


class NeighborHashing(AffineHasher):
    """A linear code that keeps neighbours, near and wide, learned by stochastic neighbour embedding.

    Projections u = (x - mean) P start as ITQ's and are trained by gradients. For an anchor i and references j of a
    batch, with soft bits h = tanh(3 u) for u of mean square 1,

        p(j | i) ~ exp(-precision |x_i - x_j|^2),    q(j | i) ~ exp(h_i . h_j / (n_bits temperature)),

    and the loss is the Kullback-Leibler divergence of q from p at two scales, each divided by what it is at the start,
    so that neither is bought by the other. Near: the precision at which p has a perplexity of 5, temperature
    0.5 / sqrt(n_bits), which decides who comes first. Wide: a perplexity of a tenth of the references, distances
    between centred embeddings of length 1, temperature 0.2, which decides what classes are made of.

    `encode` costs what it costs ITQ, and the projections serve asymmetric search as they are; distances between
    projections are not those between embeddings, since P is no rotation.

    Args:
        n_bits: length of the code, 1 to the number of columns of `X`.
        wide: the share of the wide scale in the loss, 0 to 1. Less finds more of the nearest, more ranks whole classes
            better.
        n_iterations: steps of Adam, each with 256 anchors.
        batch_size: references of a step, the anchors among them; all rows where there are fewer.
        learning_rate: at the start, in standard deviations of the elements of P; it falls to 0 by a cosine.
        progress: whether to show a progress bar.
        random_state: of ITQ's rotation and the batches.
        packed_output: see `Hasher`.

    Attributes:
        divergence_: float64 [n_iterations, 2], of the near and of the wide neighbours, each before its step.

    Source: the objective of Hinton, Roweis, "Stochastic Neighbor Embedding", 2002, of a linear map to soft bits and at
    two scales.
    """

    divergence_: NDArray[np.float64]

    def __init__(
        self,
        n_bits: int,
        *,
        wide: float = 0.45,
        n_iterations: int = 1000,
        batch_size: int = 2048,
        learning_rate: float = 0.01,
        progress: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        packed_output: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.wide = wide
        self.n_iterations = n_iterations
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.progress = progress
        self.random_state = random_state
        self.packed_output = packed_output

    def _fit_affine(self, where: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        check_number(where, "wide", self.wide, minimum=0, maximum=1)
        check_integer(where, "n_iterations", self.n_iterations, 0)
        check_integer(where, "batch_size", self.batch_size, 3)
        check_number(where, "learning_rate", self.learning_rate, above=0)
        check_flag(where, "progress", self.progress)
        n_bits = check_integer(where, f"n_bits for X of {x.shape[1]} columns", self.n_bits, 1, x.shape[1])
        seed = seed_of(where, self.random_state)
        mean = x.mean(0)
        x = x - mean
        axes = principal_axes(x, n_bits)
        rotation, _ = procrustes_rotation(_of_mean_square_1(x @ axes), _N_ITQ_ITERATIONS, seed)
        projection = axes @ rotation
        self.divergence_ = np.empty((0, 2))
        if len(x) > 2 and x.any():
            projection = self._train(_of_mean_square_1(x), projection, seed)
        return mean, projection

    def _train(self, x: torch.Tensor, projection: torch.Tensor, seed: int) -> torch.Tensor:
        """Return the trained projection [d, n_bits] of centred rows of mean square 1."""
        n_iterations, n_references = int(self.n_iterations), min(int(self.batch_size), len(x))
        perplexities = min(_NEAR, n_references / 2), max(2, _WIDE * n_references)
        temperatures = _NEAR_TEMPERATURE / int(self.n_bits) ** 0.5, _WIDE_TEMPERATURE
        weights = torch.tensor([1 - float(self.wide), float(self.wide)], dtype=torch.float64, device="cpu")
        projection = projection / (x @ projection).square().mean().sqrt()
        projection.grad = torch.empty_like(projection)
        optimizer = torch.optim.Adam([projection], lr=float(self.learning_rate) * float(projection.std(correction=0)))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, n_iterations))
        batches = _batches(len(x), n_references, seed)
        divergences = torch.empty((n_iterations, 2), dtype=torch.float64, device="cpu")
        title = f"neighbours {self.n_bits} bits"
        for step in tqdm(range(n_iterations), desc=title, unit="step", disable=not self.progress):
            references = x[next(batches).to(x.device)]
            distances = _distances(references)
            if step == 0:
                precisions = [_precision(d, p) for d, p in zip(distances, perplexities, strict=True)]
            bits = torch.mm(references, projection).mul_(_SLOPE).tanh_()
            anchors = bits[:_N_ANCHORS]
            similarity = torch.mm(anchors, bits.T).div_(int(self.n_bits)).fill_diagonal_(_NEVER)
            differences = []  # the divergences' gradients
            for scale, temperature in enumerate(temperatures):
                log_q = (similarity / temperature).log_softmax(1)
                p = (distances[scale] * -precisions[scale]).softmax(1)
                divergences[step, scale] = functional.kl_div(log_q, p, reduction="batchmean")
                differences.append(log_q.exp_().sub_(p).div_(temperature * len(anchors) * int(self.n_bits)))
            if step == 0:
                weights /= divergences[0].clamp(min=torch.finfo(x.dtype).eps)
            difference = sum(float(weight) * each for weight, each in zip(weights, differences, strict=True))
            gradient = difference.T @ anchors
            gradient[: len(anchors)] += difference @ bits
            gradient.mul_(bits.square_().neg_().add_(1)).mul_(_SLOPE)
            torch.mm(references.T, gradient, out=projection.grad)
            optimizer.step()
            schedule.step()
        self.divergence_ = divergences.numpy()
        return projection.detach()


def _of_mean_square_1(x: torch.Tensor) -> torch.Tensor:
    return x / x.square().mean().sqrt().clamp(min=torch.finfo(x.dtype).tiny)


def _batches(n: int, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield positions [size] of rows, each row at most once before all are shuffled anew, for ever."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(n, generator=generator, device="cpu")
        yield from order[: n - n % size].view(-1, size)


def _distances(references: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return squared distances [anchors, references], between rows and between their directions; infinite to itself."""
    anchors = references[:_N_ANCHORS]
    products, squares = anchors @ references.T, references.square().sum(1)
    lengths = squares.sqrt().clamp(min=torch.finfo(squares.dtype).tiny)
    near = (squares[: len(anchors), None] + squares - 2 * products).clamp_(min=0)
    wide = 2 - 2 * (products / lengths / lengths[: len(anchors), None])
    return near.fill_diagonal_(torch.inf), wide.fill_diagonal_(torch.inf)


def _precision(distances: torch.Tensor, perplexity: float) -> float:
    """Return the median over rows of the factor at which exp(-factor distances), normalised, has the perplexity."""
    finite = distances.isfinite()
    mean = float(distances[finite].mean()) or 1.0
    low = torch.full((len(distances), 1), -12.0, dtype=distances.dtype, device=distances.device)  # logarithms
    high = -low
    for _ in range(24):
        middle = (low + high) / 2
        log_p = (distances / -mean * middle.exp()).log_softmax(1)
        entropy = -(log_p.exp() * log_p.masked_fill(~finite, 0)).sum(1, keepdim=True)
        too_wide = entropy > math.log(perplexity)
        low, high = torch.where(too_wide, middle, low), torch.where(too_wide, high, middle)
    return float(middle.median().exp()) / mean
