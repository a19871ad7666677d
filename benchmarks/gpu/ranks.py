"""Training by DistributedDataParallel: ranks that share a batch arrive where one process does."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.use import BATCH, Training
from fasthash.losses import HSWD

RANKS, STEPS = 2, 20


def check_ranks(bench: Bench) -> None:
    """Train on two GPUs by NCCL where there are two, else on one, or on a CPU, by Gloo.

    In float64, as Adam makes steps of a gradient that is rounding alone: that along a reflection's vector.
    """
    n_gpus = torch.cuda.device_count() if bench.device.type == "cuda" else 0
    devices = [f"cuda:{rank % n_gpus}" if n_gpus else "cpu" for rank in range(RANKS)]
    backend = "nccl" if n_gpus >= RANKS else "gloo"
    with bench.check(f"{RANKS} ranks on {', '.join(devices)} by {backend}: {STEPS} steps as one process makes them"):
        alone = Training(bench.device, dtype=torch.float64)
        for _ in range(STEPS):
            alone.step()
        with TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(train_rank, (devices, backend, folder), RANKS)
            for rank in range(RANKS):
                weights = torch.load(Path(folder) / f"{rank}.pt", map_location=bench.device)
                torch.testing.assert_close(weights, alone.weights())


def train_rank(rank: int, devices: list[str], backend: str, folder: str) -> None:
    """Train on a part of the batch, with the distance of the whole batch's bits, and write the weights."""
    device = torch.device(devices[rank])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=rank, world_size=len(devices))
    training = Training(device, HSWD(group=dist.group.WORLD), torch.float64)
    training.network = DistributedDataParallel(training.network, [device] if device.type == "cuda" else None)
    part = slice(rank * BATCH // len(devices), (rank + 1) * BATCH // len(devices))
    training.x, training.labels = training.x[part], training.labels[part]
    for _ in range(STEPS):
        training.step()
    torch.save(training.weights(), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
