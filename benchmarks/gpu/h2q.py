"""Training of H2Q's rotations on a GPU."""

from __future__ import annotations

import torch

from benchmarks.gpu.bench import Bench
from fasthash.hashers import H2Q


def clustered(bench: Bench, n: int, k: int) -> torch.Tensor:
    """Rows around 100 centres."""
    centres = bench.normal(100, k)
    return centres[torch.arange(n, device=bench.device) % 100] + 0.7 * bench.normal(n, k)


def time_h2q(bench: Bench) -> None:
    n, k, restarts = bench.sized(20_000, 256), bench.sized(64, 8), bench.sized(132, 2)
    x = clustered(bench, n, k)

    def fit(restarts: int, epochs: int, rows: torch.Tensor) -> H2Q:
        return H2Q(k, restarts=restarts, epochs=epochs, batch_size=128).fit(rows)

    with bench.check("H2Q: the objective of a CPU's training, within 1 %"):
        epochs = bench.sized(50, 5)
        ours, cpus = (fit(1, epochs, rows).objective_ for rows in (x, x.cpu()))
        assert abs(ours - cpus) < 0.01 * cpus, f"{ours} and {cpus}"
    epochs = bench.sized(300, 2)
    group = f"H2Q fit, {n} x {k}, {epochs} epochs, batches of 128"
    target = bench.target(H200=2000, H100=2000)
    bench.time(group, f"fasthash, {restarts} restarts", lambda: fit(restarts, epochs, x), target_ms=target)
    bench.time(group, "fasthash, 1 restart", lambda: fit(1, epochs, x))
