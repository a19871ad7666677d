"""A training set for the losses that keep outputs and codes of each of its items."""

from __future__ import annotations

import pytest
import torch

N, BITS, CLASSES = 40, 6, 4
GENERATOR = torch.Generator().manual_seed(0)
U = torch.randn(N, BITS, generator=GENERATOR, dtype=torch.float64) * 1.5
SINGLE = torch.randint(0, CLASSES, (N,), generator=GENERATOR)
SEVERAL = (torch.rand(N, CLASSES, generator=GENERATOR) < 0.4).long()  # an item may have no label
INDICES = torch.arange(N)
BATCH = torch.tensor([3, 0, 17, 39, 21])
LABELS = pytest.mark.parametrize("labels", [SINGLE, SEVERAL], ids=["single", "several"])


def indicator(labels):
    """Y, [n, c] in float64."""
    return (labels if labels.ndim == 2 else torch.nn.functional.one_hot(labels, CLASSES)).double()


def similarities(labels):
    """S, 0 and 1 [n, n] in float64."""
    y = indicator(labels)
    return (y @ y.T > 0).double()


def signs(x, old):
    return torch.where(x == 0, old, x.sign())
