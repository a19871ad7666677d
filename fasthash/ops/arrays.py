"""NumPy in gives NumPy out, torch in gives torch out, without a copy where the memory allows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from fasthash.columns import stacked, unwrapped

Array = Any  # torch.Tensor, numpy.ndarray, anything with DLPack or the array interface, or what columns.py knows


class _Writable:
    """Presents read-only memory as writable, so that torch wraps it without a warning. Kernels only read inputs."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.owner = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def to_tensor(where: str, name: str, x: Array) -> torch.Tensor:
    """Return `x` as a tensor that shares its memory; a TypeError or ValueError names `x` if there can be none.

    Arrays of strides that torch does not have, and byte-swapped ones, are copied, as are columns in several chunks.
    """
    if not isinstance(x, (torch.Tensor, np.ndarray)):
        x = _converted(where, name, unwrapped(f"{where}: expected {name}", x))
    if isinstance(x, np.ndarray) and x.dtype == np.object_:
        x = stacked(f"{where}: expected {name}", x)
    if isinstance(x, torch.Tensor):
        return check_tensor(where, name, x)
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{where}: expected {name} to be an array without a mask, got a MaskedArray")
    if x.dtype.kind not in "biufc":
        raise TypeError(f"{where}: expected {name} to be a numeric array, got dtype {x.dtype}")
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    if any(stride < 0 or stride % x.itemsize for stride in x.strides):
        x = x.copy()
    if not x.flags.writeable:
        x = np.asarray(_Writable(x))
    try:
        return torch.from_numpy(x)
    except TypeError:
        raise TypeError(f"{where}: expected {name} to be a numeric array, got dtype {x.dtype}") from None


def check_tensor(where: str, name: str, x: torch.Tensor) -> torch.Tensor:
    """Return `x` if it is a dense tensor, a pending change of sign made; a TypeError names it if it is not."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{where}: expected {name} to be a tensor, got {type(x).__name__}")
    if type(x) is not torch.Tensor and isinstance(x, torch.masked.MaskedTensor):
        raise TypeError(f"{where}: expected {name} to be a tensor without a mask, got a MaskedTensor")
    if x.layout is not torch.strided or x.is_nested or x.is_quantized:
        kind = "nested" if x.is_nested else "quantized" if x.is_quantized else str(x.layout).removeprefix("torch.")
        raise TypeError(f"{where}: expected {name} to be a dense tensor, got a {kind} one")
    return x.resolve_neg()


def _converted(where: str, name: str, x: Any) -> torch.Tensor | np.ndarray[Any, Any]:
    """Return a tensor or an array of what is neither."""
    if isinstance(x, (list, tuple)) and any(isinstance(part, np.ma.MaskedArray) for part in x):
        raise TypeError(f"{where}: expected {name} to be an array without a mask, got MaskedArrays")
    if isinstance(x, (torch.Tensor, np.ndarray)):
        return x
    try:
        array = torch.utils.dlpack.from_dlpack(x) if hasattr(x, "__dlpack__") else np.asarray(x)
    except (AttributeError, BufferError, OSError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"{where}: expected {name} to be a numeric array, got a {type(x).__name__} that is none: {error}"
        ) from None
    if array.dtype == np.object_ and (array := stacked(f"{where}: expected {name}", array)).dtype == np.object_:
        raise TypeError(f"{where}: expected {name} to be a numeric array, got {type(x).__name__}")
    return array


def typed_if_empty(x: Array, dtype: type[np.generic]) -> Array:
    """Return an empty list or tuple, which NumPy takes for floating-point, as an array of a dtype; others as given."""
    return np.empty(0, dtype) if isinstance(x, (list, tuple)) and len(x) == 0 else x


def as_given(result: torch.Tensor, given: Array) -> Array:
    """Return `result` as the caller writes arrays: a tensor if they passed one as `given`, else a NumPy array."""
    return result if isinstance(given, torch.Tensor) else result.detach().cpu().numpy()


def all_as_given(results: Iterable[torch.Tensor], given: Array) -> Iterable[Array]:
    """Return `results` as the caller writes arrays, as `as_given` does."""
    return results if isinstance(given, torch.Tensor) else [as_given(result, given) for result in results]
