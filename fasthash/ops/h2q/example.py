"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.h2q.op import LOSSES, trainer
from fasthash.ops.h2q.plan import Plan

TOLERANCE = 1e-4


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return histories and vectors of two runs of some steps of all rows at once."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 24, generator=generator, dtype=torch.float64, device="cpu")
    rows = (x / x.norm(dim=1, keepdim=True) * 24**0.5).to(device, dtype)
    starts = torch.randn(2, 24, 24, generator=generator, dtype=torch.float32, device="cpu").numpy()
    results: list[torch.Tensor] = []
    for loss in LOSSES:
        plan = Plan(loss, "adam", 0.01, True, True, epochs=4, batch_size=60, patience=0, seed=0)
        runs = trainer(rows, rows[:20], starts, plan, kernel=kernel)
        runs.train(4)
        for run in range(2):
            results += [torch.from_numpy(runs.history(run)[:, :2]), torch.from_numpy(runs.best(run))]
    return tuple(results)
