from __future__ import annotations

import numpy as np
import torch
from tqdm import tqdm

from fasthash.errors import check_flag, check_integer
from fasthash.hashers.affine import AffineHasher
from fasthash.hashers.base import principal_axes, seed_of

_MOMENTUM = 0.9


class ITQ(AffineHasher):
    """Iterative quantisation: the rotation of the principal components that brings them closest to their signs.

    Minimises ||sign(V R) - V R||^2 over orthogonal R for V = (X - mean) P, the leading principal components, by turns:
    B = sign(V Y); then, with B^T V = U S W^T, R = W U^T. In the paper Y is the last R, and no turn can raise the
    objective. Here Y = R + 0.9 (R - R'), with R' the rotation before R: 10 to 18 turns reach what 50 of the paper's do.
    A rotation that raises the objective is given up, and the next turn is the paper's.

    Args:
        n_bits: length of the code, 1 to the number of columns of `X`.
        n_iterations: turns of the two steps.
        progress: whether to show a progress bar.
        random_state: of the random rotation it starts from.
        packed_output: see `Hasher`.

    Attributes:
        objective_: list of n_iterations + 1 floats, the objective per element with V scaled to a root mean square of 1,
            before the first iteration and after each. The best rotation does not depend on the scale of V.

    Source: Gong, Lazebnik, "Iterative Quantization: A Procrustean Approach to Learning Binary Codes", 2011.
    """

    objective_: list[float]

    def __init__(
        self,
        n_bits: int,
        *,
        n_iterations: int = 20,
        progress: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        packed_output: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.n_iterations = n_iterations
        self.progress = progress
        self.random_state = random_state
        self.packed_output = packed_output

    def _fit_affine(self, where: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n_iterations = check_integer(where, "n_iterations", self.n_iterations, 0)
        seed = seed_of(where, self.random_state)
        progress = check_flag(where, "progress", self.progress)
        n_bits = check_integer(where, f"n_bits for X of {x.shape[1]} columns", self.n_bits, 1, x.shape[1])
        mean = x.mean(0)
        v = x - mean
        axes = principal_axes(v, n_bits)
        v = v @ axes  # [n, n_bits]
        v /= v.square().mean().sqrt().clamp(min=torch.finfo(v.dtype).tiny)
        rotation, self.objective_ = procrustes_rotation(v, n_iterations, seed, progress)
        return mean, axes @ rotation


def procrustes_rotation(
    v: torch.Tensor, n_iterations: int, seed: int, progress: bool = False
) -> tuple[torch.Tensor, list[float]]:
    """Return the rotation R [b, b] of ITQ for the rows `v` [n, b], and the mean of (|v R| - 1)^2 on the way to it."""
    n_bits = v.shape[1]
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn((n_bits, n_bits), generator=generator, dtype=torch.float64, device="cpu")
    rotation = torch.linalg.qr(start).Q.to(v)
    sums, mean_square = v.sum(0), float(v.square().mean(dtype=torch.float64))
    rotated, spare = torch.zeros_like(v), torch.empty_like(v)
    objective: list[float] = []
    candidate = rotation
    for iteration in tqdm(range(n_iterations + 1), desc=f"ITQ {n_bits} bits", unit="turn", disable=not progress):
        before, rotated = rotated, torch.mm(v, candidate, out=spare)
        magnitude = float(torch.linalg.vector_norm(rotated, 1, dim=1).sum(dtype=torch.float64)) / v.numel()
        reached, step = mean_square - 2 * magnitude + 1, 1 + _MOMENTUM if objective else 1.0
        if objective and reached > objective[-1]:
            before, rotated, reached, step = rotated, before, objective[-1], 1.0
        else:
            rotation = candidate
        objective.append(reached)
        if iteration < n_iterations:
            # B^T V without storing B: the signs of what is positive, twice, less all ones.
            spare = before
            alignment = 2 * (spare.lerp_(rotated, step).gt_(0).T @ v) - sums
            u, _, wt = torch.linalg.svd(alignment.to(torch.float64))
            candidate = (wt.T @ u.T).to(v)
    return rotation, objective
