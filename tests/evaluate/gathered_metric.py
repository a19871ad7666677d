"""One rank of an evaluation: prints the metric of what all ranks took; run by test_torchmetrics.py."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist

from fasthash.evaluate.torchmetrics import MeanAveragePrecision


def main(rank: int, world: int, store: str, batches: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    metric = MeanAveragePrecision(at=20, ties="cosine")
    for batch in torch.load(batches)[rank::world]:
        metric.update(*batch)
    print(metric.compute().item())
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
