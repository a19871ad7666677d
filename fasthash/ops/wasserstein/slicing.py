"""The distance between projections of two samples, a part of the directions at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fasthash.ops.autocast import without_autocast

ELEMENTS_AT_ONCE = 1 << 18  # of projections, so that they stay in the cache

Distance = Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


def by_parts(sorted_wasserstein: Distance) -> Distance:
    """Return a kernel's `sliced_wasserstein`, which compares projections by its `sorted_wasserstein`."""

    @without_autocast
    def sliced_wasserstein(
        x: torch.Tensor, y: torch.Tensor, directions: torch.Tensor, p: float, with_gradient: bool, **level: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        gradients = [torch.zeros_like(u) if with_gradient else u.new_empty((0, 0)) for u in (x, y)]
        loss, n_projections = x.new_zeros(()), directions.shape[1]
        for part in torch.split(directions, max(16, ELEMENTS_AT_ONCE // (x.shape[0] + y.shape[0])), dim=1):
            share = part.shape[1] / n_projections
            cost, *slopes = sorted_wasserstein(x @ part, y @ part, p, with_gradient, **level)
            loss += cost * share
            for gradient, slope in zip(gradients, slopes, strict=True):
                if with_gradient:
                    gradient.addmm_(slope, part.T, alpha=share)
        return loss, gradients[0], gradients[1]

    return sliced_wasserstein
