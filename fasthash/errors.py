"""What a user can hit, as checks that say which argument was wrong, what was expected and what came."""

from __future__ import annotations

import contextlib
import difflib
import math
import operator
import re
import reprlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from numbers import Real
from os import PathLike
from typing import TYPE_CHECKING, Any, SupportsIndex

if TYPE_CHECKING:
    import torch

MAX_BITS = 4096
MAX_INTEGER = 2**63 - 1


class MissingDependencyError(ImportError):
    """An optional package is needed for what was asked."""

    def __init__(self, purpose: str, package: str, extra: str, reason: str | None = None) -> None:
        reason = reason or f"{package} is not installed"
        super().__init__(f"{purpose} needs {package}, but {reason}; pip install 'torch-fasthash[{extra}]'")


def check_integer(where: str, name: str, value: SupportsIndex, minimum: int, maximum: int = MAX_INTEGER) -> int:
    """Return `value` as an int, or raise a TypeError or ValueError that names it; True is 1, as Python has it."""
    try:
        integer = operator.index(value)
    except (TypeError, RuntimeError):
        raise TypeError(f"{where}: expected {name} to be an integer, got {type(value).__name__}") from None
    if not minimum <= integer <= maximum:
        bounded = maximum < MAX_INTEGER or integer > maximum
        bounds = f"from {minimum} to {maximum}" if bounded else f"at least {minimum}"
        raise ValueError(f"{where}: expected {name} {bounds}, got {integer}")
    return integer


def check_number(
    where: str,
    name: str,
    value: float,
    minimum: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    maximum: float = math.inf,
) -> float:
    """Return `value` as a finite float from `minimum` to `maximum`, above and below the others, or raise."""
    if not isinstance(value, Real):
        raise TypeError(f"{where}: expected {name} to be a number, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (minimum <= number <= maximum and above < number < below):
        bounds = [f"at least {minimum}"] * (minimum > -math.inf) + [f"above {above}"] * (above > -math.inf)
        bounds += [f"below {below}"] * (below < math.inf) + [f"at most {maximum}"] * (maximum < math.inf)
        bounds += ["finite"] * (below == maximum)
        raise ValueError(f"{where}: expected {name} {' and '.join(bounds)}, got {value}")
    return number


def nearest_name(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" if `name` is nearly one of `names`, else nothing."""
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.75)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def check_choice(where: str, name: str, value: str, choices: Collection[str]) -> str:
    """Return `value` if it is among `choices`, or raise a ValueError that lists them."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(map(repr, choices))
        meant = nearest_name(value, choices) if isinstance(value, str) else ""
        raise ValueError(f"{where}: expected {name} to be one of {listed}, got {reprlib.repr(value)}{meant}")
    return value


def check_flag(where: str, name: str, value: bool) -> bool:
    """Return `value` if it is True or False, or raise a TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"{where}: expected {name} to be True or False, got {reprlib.repr(value)}")
    return value


def check_matrix(where: str, name: str, x: torch.Tensor, columns: str) -> None:
    """Raise unless `x` has two dimensions; `columns` says what the second one is."""
    if x.ndim != 2:
        hint = f"; pass {name}[None] for a single row" if x.ndim == 1 else ""
        raise ValueError(f"{where}: expected {name} of shape [n, {columns}], got {list(x.shape)}{hint}")


def check_floating(where: str, name: str, x: torch.Tensor, minimum_bytes: int = 2) -> None:
    """Raise unless `x` is of a floating-point dtype that torch calculates in; with 1 byte also of one it converts."""
    if not x.is_floating_point():
        raise TypeError(f"{where}: expected {name} of a floating-point dtype, got {dtype_name(x)}")
    if x.dtype.itemsize < minimum_bytes:
        raise TypeError(f"{where}: expected {name} of a floating-point dtype of 16 bits or more, got {dtype_name(x)}")


def check_label_shape(where: str, name: str, shape: Sequence[int], n: int | str, n_classes: int | None = None) -> None:
    """Raise unless labels are of shape [n], or [n, c] with c at least 2: a column could be classes or one label."""
    if len(shape) not in (1, 2) or (isinstance(n, int) and shape[0] != n):
        raise ValueError(f"{where}: expected {name} of shape [{n}] or [{n}, c], got {list(shape)}")
    if len(shape) == 2 and shape[1] < 2:
        hint = f"; pass {name}[:, 0] if they are classes" if shape[1] else ""
        raise ValueError(f"{where}: expected {name} of shape [{n}], or [{n}, c] with c from 2, got {list(shape)}{hint}")
    if len(shape) == 2 and n_classes is not None and shape[1] != n_classes:
        raise ValueError(f"{where}: expected {name} of {n_classes} columns, got {shape[1]}")


def check_labels(
    where: str, name: str, labels: torch.Tensor, n: int | str, *, n_classes: int | None = None, look: bool = True
) -> torch.Tensor:
    """Return labels as classes, int64 [n], or as which of several an item has, bool [n, c]; or raise.

    Args:
        where: the function that the user called.
        name: of the labels.
        labels: integers or bool [n], or bool or 0/1 of any real dtype [n, c], c at least 2.
        n: how many items there are, or the letter of a number that is free.
        n_classes: classes are less, and c is this.
        look: whether values may be looked at.
    """
    floating = labels.is_floating_point()
    if labels.is_complex() or (floating and labels.ndim < 2):
        hint = "; convert them if they are classes" if floating else ""
        raise TypeError(f"{where}: expected {name} of an integer dtype or bool, got {dtype_name(labels)}{hint}")
    check_label_shape(where, name, labels.shape, n, n_classes)
    if labels.ndim == 2:
        values = torch_arithmetic(labels)
        if look and (wrong := ((values != 0) & (values != 1)).nonzero()).numel():
            row, column = wrong[0].tolist()
            raise ValueError(
                f"{where}: expected {name} of 0 and 1, as they are of shape [{n}, c], got "
                f"{labels[row, column].item()} in row {row}, column {column}"
            )
        return values != 0
    classes = labels.long()
    if look and classes.numel() and (n_classes is not None or dtype_name(labels) == "uint64"):
        low, high = (int(x) for x in classes.aminmax())
        if dtype_name(labels) == "uint64" and low < 0:
            raise ValueError(f"{where}: expected {name} of at most {MAX_INTEGER}, got {low + 2**64}")
        if n_classes is not None and not 0 <= low <= high < n_classes:
            raise ValueError(f"{where}: expected {name} from 0 to {n_classes - 1}, got {low} to {high}")
    return classes


def torch_arithmetic(x: torch.Tensor) -> torch.Tensor:
    """Return `x` in a dtype that torch compares in: it does not in those of 8 bits of floats and wide unsigned ones."""
    if x.is_floating_point():
        return x.float() if x.dtype.itemsize == 1 else x
    return x.long() if dtype_name(x) in ("uint16", "uint32", "uint64") else x


def check_codes(where: str, name: str, codes: torch.Tensor) -> None:
    """Raise unless `codes` is packed codes: uint8 [n, n_bits / 8] of 8 to 4,096 bits."""
    if dtype_name(codes) != "uint8":
        raise TypeError(
            f"{where}: expected {name} of dtype uint8 (packed codes, see pack_bits and from_hashes), got "
            f"{dtype_name(codes)}"
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


def check_values(where: str, name: str, x: torch.Tensor) -> None:
    """Raise unless `x` is where its values can be looked at."""
    if x.device.type == "meta":
        raise ValueError(f"{where}: expected {name} on a CPU or a CUDA device, got {x.device}")


def check_device_name(where: str, name: str, value: str | torch.device) -> torch.device:
    """Return the device of this machine that `value` names, or raise a TypeError or ValueError."""
    import torch

    if not isinstance(value, (str, torch.device)):
        raise TypeError(f"{where}: expected {name} to be a string or a torch.device, got {type(value).__name__}")
    try:
        device = torch.device(value)
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError):
        raise ValueError(f"{where}: expected {name} to be a device of this machine, got {str(value)!r}") from None
    return device


def check_generator(where: str, name: str, value: torch.Generator | None, device: torch.device) -> None:
    """Raise unless `value` is None or a generator of random numbers on `device`."""
    if value is None:
        return
    import torch

    if not isinstance(value, torch.Generator):
        raise TypeError(f"{where}: expected {name} to be a torch.Generator, got {type(value).__name__}")
    if value.device.type != device.type:
        raise ValueError(f"{where}: expected {name} on {device}, where the numbers are drawn, got {value.device}")


def check_path(where: str, name: str, value: str | PathLike[str]) -> None:
    """Raise a TypeError unless `value` is the path of a file."""
    if not isinstance(value, (str, PathLike)):
        raise TypeError(f"{where}: expected {name} to be a string or a path, got {type(value).__name__}")


def memory_error(where: str, error: MemoryError | RuntimeError) -> MemoryError | None:
    """Return what to raise in place of an error that says that the system has no memory, None for any other."""
    asked = re.search(r"tried to allocate (\d+ bytes)|(?:Unable to allocate|got none for) (.*)", str(error))
    if isinstance(error, MemoryError) or (asked and "DefaultCPUAllocator" in str(error)):
        amount = f" for {asked[1] or asked[2]}" if asked else ""
        return MemoryError(f"{where}: expected memory for the result, got none{amount}")
    return None


@contextlib.contextmanager
def naming_memory(where: str) -> Iterator[None]:
    """Raise a MemoryError that begins with `where` for any error that says that the system has no memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (lacking := memory_error(where, error)) is None:
            raise
        raise lacking from None


def dtype_name(x: Any) -> str:
    """Return a dtype the way NumPy and torch users both write it."""
    return str(x.dtype).removeprefix("torch.")
