"""NumPy in gives NumPy out, torch in gives torch out, without a copy where the memory allows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

Array = Any  # torch.Tensor, numpy.ndarray, or anything with DLPack or the array interface


class _Writable:
    """Presents read-only memory as writable, so that torch wraps it without a warning. Kernels only read inputs."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.owner = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def to_tensor(where: str, name: str, x: Array) -> torch.Tensor:
    """Return `x` as a tensor that shares its memory; a TypeError names `x` if it is no array.

    Reversed and byte-swapped NumPy arrays, which torch cannot hold, are copied.
    """
    if isinstance(x, torch.Tensor):
        return x
    if not isinstance(x, np.ndarray):
        if hasattr(x, "__dlpack__"):
            return torch.utils.dlpack.from_dlpack(x)
        x = np.asarray(x)
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    if any(stride < 0 for stride in x.strides):
        x = x.copy()
    if not x.flags.writeable:
        x = np.asarray(_Writable(x))
    try:
        return torch.from_numpy(x)
    except TypeError:
        raise TypeError(f"{where}: expected {name} to be a numeric array, got dtype {x.dtype}") from None


def as_given(result: torch.Tensor, given: Array) -> Array:
    """Return `result` as the caller writes arrays: a tensor if they passed one as `given`, else a NumPy array."""
    return result if isinstance(given, torch.Tensor) else result.detach().cpu().numpy()


def all_as_given(results: Iterable[torch.Tensor], given: Array) -> Iterable[Array]:
    """Return `results` as the caller writes arrays, as `as_given` does."""
    return results if isinstance(given, torch.Tensor) else [as_given(result, given) for result in results]
