"""One rank of a global batch: prints the loss and the gradient of its rows; run by test_wasserstein.py."""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as dist

import fasthash as fh


def main(rank: int, world: int, store: str, batch: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    results = []
    for case in torch.load(batch):
        x = case["parts"][rank].clone().requires_grad_()
        generator = torch.Generator().manual_seed(100 + rank)
        loss = fh.hswd(x, case["p"], case["target"], generator=generator, group=dist.group.WORLD)
        loss.backward()
        results.append({"loss": loss.item(), "gradient": x.grad.tolist()})
    dist.destroy_process_group()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
