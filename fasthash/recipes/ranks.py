"""Devices, the processes that `torchrun` started, and their seeds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist

from fasthash.errors import check_device_name


@contextlib.contextmanager
def joined_ranks(device: str) -> Iterator[tuple[torch.device, int, int]]:
    """Join the processes that `torchrun` started, if it did; yield this one's device, its rank and how many there are.

    The device "auto" is this rank's GPU where there is one.
    """
    if isinstance(device, str) and device == "auto" and torch.cuda.is_available():
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    else:
        is_auto = isinstance(device, str) and device == "auto"
        chosen = check_device_name("train", "device", "cpu" if is_auto else device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield chosen, 0, 1
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen, dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()


def seed_epoch(seed: int, epoch: int, rank: int = 0) -> None:
    """Seed torch for one epoch, so that a training that is resumed goes on as if it had not stopped."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1))
