"""Keeps the precision that what is written in torch asks for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def without_autocast(kernel: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return `kernel` so that its matrix products are not made in half precision under torch.autocast."""

    @wraps(kernel)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with autocast_off(next(x for x in args if isinstance(x, torch.Tensor)).device):
            return kernel(*args, **kwargs)

    return run


def autocast_off(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which tensors on a device are calculated with in their own dtype."""
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()
