"""Devices, the processes that `torchrun` started, and their seeds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist


def choose_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is this rank's GPU where there is one."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def n_ranks_started() -> int:
    """Return how many processes `torchrun` started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def joined_ranks(device: torch.device) -> Iterator[tuple[int, int]]:
    """Join the processes that `torchrun` started, if it did; yield this one's rank and how many there are."""
    if n_ranks_started() == 1:
        yield 0, 1
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()


def seed_epoch(seed: int, epoch: int, rank: int = 0) -> None:
    """Seed torch for one epoch, so that a training that is resumed goes on as if it had not stopped."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1))
