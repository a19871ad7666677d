"""What a user can hit, as checks that say which argument was wrong, what was expected and what came."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection
from numbers import Real
from typing import TYPE_CHECKING, Any, SupportsIndex

if TYPE_CHECKING:
    import torch

MAX_BITS = 4096


class MissingDependencyError(ImportError):
    """An optional package is needed for what was asked."""

    def __init__(self, purpose: str, package: str, extra: str, reason: str | None = None) -> None:
        reason = reason or f"{package} is not installed"
        super().__init__(f"{purpose} needs {package}, but {reason}; pip install 'torch-fasthash[{extra}]'")


def check_integer(where: str, name: str, value: SupportsIndex, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as an int, or raise a TypeError or ValueError that names it."""
    try:
        integer = operator.index(value)
    except TypeError:
        raise TypeError(f"{where}: expected {name} to be an integer, got {type(value).__name__}") from None
    if integer < minimum or (maximum is not None and integer > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise ValueError(f"{where}: expected {name} {bounds}, got {integer}")
    return integer


def check_number(
    where: str,
    name: str,
    value: float,
    minimum: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """Return `value` as a float that is at least `minimum`, more than `above` and less than `below`, or raise."""
    if not isinstance(value, Real):
        raise TypeError(f"{where}: expected {name} to be a number, got {type(value).__name__}")
    if not (value >= minimum and above < value < below):
        bounds = [f"at least {minimum}"] * (minimum > -math.inf) + [f"above {above}"] * (above > -math.inf)
        bounds += ["finite" if below == math.inf else f"below {below}"]
        raise ValueError(f"{where}: expected {name} {' and '.join(bounds)}, got {value}")
    return float(value)


def check_choice(where: str, name: str, value: str, choices: Collection[str]) -> str:
    """Return `value` if it is among `choices`, or raise a ValueError that lists them."""
    if value not in choices:
        raise ValueError(f"{where}: expected {name} to be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_matrix(where: str, name: str, x: torch.Tensor, columns: str) -> None:
    """Raise unless `x` has two dimensions; `columns` says what the second one is."""
    if x.ndim != 2:
        hint = f"; pass {name}[None] for a single row" if x.ndim == 1 else ""
        raise ValueError(f"{where}: expected {name} of shape [n, {columns}], got {list(x.shape)}{hint}")


def check_floating(where: str, name: str, x: torch.Tensor) -> None:
    """Raise unless `x` is of a floating-point dtype."""
    if not x.is_floating_point():
        raise TypeError(f"{where}: expected {name} of a floating-point dtype, got {dtype_name(x)}")


def check_codes(where: str, name: str, codes: torch.Tensor) -> None:
    """Raise unless `codes` is packed codes: uint8 [n, n_bits / 8] of 8 to 4,096 bits."""
    if dtype_name(codes) != "uint8":
        raise TypeError(
            f"{where}: expected {name} of dtype uint8 (packed codes, see pack_bits), got {dtype_name(codes)}"
        )
    check_matrix(where, name, codes, "n_bits / 8")
    if not 1 <= codes.shape[1] <= MAX_BITS // 8:
        raise ValueError(f"{where}: expected {name} of 1 to {MAX_BITS // 8} bytes a row, got {codes.shape[1]}")


def check_same_width(where: str, name: str, codes: torch.Tensor, other_name: str, other: torch.Tensor) -> None:
    """Raise unless two sets of codes have rows of equal length."""
    if codes.shape[1] != other.shape[1]:
        raise ValueError(
            f"{where}: expected {name} as wide as {other_name} ({other.shape[1]} bytes), got {codes.shape[1]} bytes"
        )


def check_device(where: str, name: str, x: torch.Tensor, device: torch.device) -> None:
    """Raise unless `x` is on `device`."""
    if x.device != device:
        raise ValueError(f"{where}: expected {name} on {device}, where the other tensors are, got {x.device}")


def dtype_name(x: Any) -> str:
    """Return a dtype the way NumPy and torch users both write it."""
    return str(x.dtype).removeprefix("torch.")
