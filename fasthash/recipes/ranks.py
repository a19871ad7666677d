"""The processes that train together, started by `torchrun`, Ray Train or whatever else makes a process group."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from fasthash.errors import check_device_name

_T = TypeVar("_T")
_FREE_SECONDS = 0.1


class _Gathered(torch.autograd.Function):
    """The rows of all ranks, whose gradient is that of a loss which every rank computes from all of them."""

    @staticmethod
    def forward(context: Any, own: torch.Tensor, rank: int, n_ranks: int) -> torch.Tensor:
        """Return [n_ranks m, ...] for `own` [m, ...], row i of rank r at i n_ranks + r."""
        context.rank, context.n_ranks = rank, n_ranks
        parts = [torch.empty_like(own) for _ in range(n_ranks)]
        dist.all_gather(parts, own.contiguous())
        return torch.stack(parts, dim=1).flatten(0, 1)

    @staticmethod
    def backward(context: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Return the gradient of n_ranks times the loss by the own rows, as the ranks' gradients are averaged."""
        return context.n_ranks * upstream[context.rank :: context.n_ranks], None, None


@dataclass(frozen=True)
class Ranks:
    """The processes that train together, each with every n-th item of a batch.

    A loss of a whole batch is computed by every rank, from the outputs that all of them gather. Gradients are averaged
    over the ranks, so that they are those of one process where a step's loss is a sum of terms that are of the whole
    batch, or means over the own items, of which every rank has as many.

    Attributes:
        rank: of this process, from 0.
        n: how many processes there are.
    """

    rank: int = 0
    n: int = 1

    def own(self, batch: _T) -> _T:
        """Return this rank's part of a batch."""
        return batch[self.rank :: self.n]  # type: ignore[index, no-any-return]

    def gathered(self, own: torch.Tensor) -> torch.Tensor:
        """Return the rows of the whole batch, in its order, for this rank's."""
        if self.n == 1:
            return own
        rows: torch.Tensor = _Gathered.apply(own, self.rank, self.n)  # type: ignore[no-untyped-call]
        return rows

    def average_gradients(self, weights: Iterable[torch.Tensor]) -> None:
        """Give the gradients of these weights, where they have any, their means over the ranks."""
        if self.n == 1:
            return
        gradients = [each.grad for each in weights if each.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])  # one message
        dist.all_reduce(together)
        means = torch.split(together / self.n, [gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))

    def means(self, values: dict[str, float]) -> dict[str, float]:
        """Return the means of values over the ranks."""
        if self.n == 1:
            return values
        of_ranks: list[Any] = [None] * self.n
        dist.all_gather_object(of_ranks, values)
        return {name: math.fsum(each[name] for each in of_ranks) / self.n for name in values}

    def share(self, module: nn.Module) -> None:
        """Give every rank's module the weights and buffers of the first one's."""
        if self.n == 1:
            return
        for tensor in (*module.parameters(), *module.buffers()):
            first = tensor.detach().clone(memory_format=torch.contiguous_format)
            dist.broadcast(first, 0)
            tensor.detach().copy_(first)

    def from_first(self, value: _T) -> _T:
        """Return what the first rank has."""
        if self.n == 1:
            return value
        shared = [value]
        dist.broadcast_object_list(shared)
        return shared[0]

    @contextlib.contextmanager
    def own_randomness(self, device: torch.device, seed: int, step: int) -> Iterator[None]:
        """Let several ranks draw numbers of their own within, and go on after it with those that all draw alike."""
        if self.n == 1:
            yield
            return
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            seed_epoch(seed, step, self.rank + 1)
            yield


ONE_PROCESS = Ranks()


def join_ranks(device: str) -> tuple[torch.device, Ranks]:
    """Join the processes that were started together, if there are any; return this one's device and the ranks.

    Where there is no process group, that of `torchrun`'s environment is made; it lasts until the process ends, as
    another one could not be told from it. The device "auto" is this rank's GPU where there is one.
    """
    if isinstance(device, str) and device == "auto" and torch.cuda.is_available():
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    else:
        is_auto = isinstance(device, str) and device == "auto"
        chosen = check_device_name("train", "device", "cpu" if is_auto else device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return chosen, ONE_PROCESS
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        atexit.register(_leave_ranks)
    return chosen, Ranks(dist.get_rank(), dist.get_world_size())


def _leave_ranks() -> None:
    """Leave the process group.

    A thread of Gloo that lets go of the last tensors while the interpreter ends aborts the process; it takes no longer
    than until Python is free for it.
    """
    dist.destroy_process_group()
    time.sleep(_FREE_SECONDS)


def seed_epoch(seed: int, epoch: int, rank: int = 0) -> None:
    """Seed torch for one epoch, so that a training that is resumed goes on as if it had not stopped."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1))
