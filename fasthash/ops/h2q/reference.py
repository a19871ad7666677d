"""Training in plain torch and float64, by autograd through one reflection after the other: the specification."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.ops.h2q.plan import Plan
from fasthash.ops.householder.reference import reflect


def objective(z: torch.Tensor, loss: str) -> torch.Tensor:
    """Return what rotated rows [n, k] pay, as the paper writes it: "l2", "l1", "min_entry" or "bit_var"."""
    if loss == "min_entry":
        return torch.logsumexp(-z.square(), dim=1).mean()
    if loss == "bit_var":
        return (z.sigmoid() * (1 - z.sigmoid())).mean()
    distance = z - torch.where(z > 0, 1.0, -1.0).to(z)
    return distance.square().mean() if loss == "l2" else distance.abs().mean()


class H2QTrainer:
    """The runs, one after the other; see `fasthash.ops.h2q.op.trainer`."""

    def __init__(
        self,
        x: torch.Tensor,
        held_out: torch.Tensor,
        v: NDArray[np.float32],
        plan: Plan,
    ) -> None:
        self._x, self._held_out = x.double(), held_out.double()
        self._plan = plan
        kind = torch.optim.Adam if plan.optimizer == "adam" else torch.optim.SGD
        starts = torch.from_numpy(v).to(self._x)
        self._v = [start.clone().requires_grad_() for start in starts]
        self._optimizers = [kind([v], lr=plan.rate) for v in self._v]
        self._generators = [torch.Generator().manual_seed(plan.seed + run) for run in range(len(starts))]
        self._histories: list[list[tuple[float, float, float]]] = [[] for _ in starts]
        self._best = [(0, math.inf, start) for start in starts]  # epoch, objective on the held-out rows, v

    @property
    def finished(self) -> bool:
        """Whether every run has had its epochs or lost its patience."""
        return all(map(self._is_finished, range(len(self._v))))

    def train(self, epochs: int) -> None:
        """Train every run for up to so many epochs more."""
        for run in range(len(self._v)):
            for _ in range(epochs):
                if not self._is_finished(run):
                    self._train_epoch(run)

    def history(self, run: int) -> NDArray[np.float64]:
        """Return an epoch's objective, that on the held-out rows and the error of orthogonality, [epochs, 3]."""
        return np.array(self._histories[run], dtype=np.float64).reshape(-1, 3)

    def best(self, run: int) -> NDArray[np.float32]:
        """Return v [k, k] after the epoch of the least objective on the held-out rows."""
        best: NDArray[np.float32] = self._best[run][2].float().cpu().numpy()
        return best

    def _is_finished(self, run: int) -> bool:
        done = len(self._histories[run])
        return done >= self._plan.epochs or 0 < self._plan.patience <= done - self._best[run][0]

    def _train_epoch(self, run: int) -> None:
        v, optimizer, n = self._v[run], self._optimizers[run], len(self._x)
        order = torch.randperm(n, generator=self._generators[run], device="cpu").to(self._x.device)
        batches = torch.split(order, self._plan.batch_size)
        paid = 0.0
        for step, batch in enumerate(batches, start=len(batches) * len(self._histories[run])):
            if self._plan.cosine:
                done = step / (len(batches) * self._plan.epochs)
                optimizer.param_groups[0]["lr"] = self._plan.rate * (1 + math.cos(math.pi * done)) / 2
            cost = objective(reflect(self._x[batch], v, False), self._plan.loss)
            (v.grad,) = torch.autograd.grad(cost, v)
            optimizer.step()
            if self._plan.renormalize:
                v.data /= v.data.norm(dim=1, keepdim=True)
            paid += cost.item() * len(batch) / n
        vectors = v.detach()
        identity = torch.eye(v.shape[1], dtype=vectors.dtype, device=vectors.device)
        u = reflect(identity, vectors, False)
        held_out = objective(reflect(self._held_out, vectors, False), self._plan.loss).item()
        self._histories[run].append((paid, held_out, (u @ u.T - identity).abs().max().item()))
        if held_out < self._best[run][1]:
            self._best[run] = (len(self._histories[run]), held_out, vectors.clone())
