"""Keeps the precision that a kernel written in torch asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def without_autocast(kernel: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return `kernel` so that its matrix products are not made in half precision under torch.autocast."""

    @wraps(kernel)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        device = next(x for x in args if isinstance(x, torch.Tensor)).device.type
        if not torch.is_autocast_enabled(device):
            return kernel(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return kernel(*args, **kwargs)

    return run
