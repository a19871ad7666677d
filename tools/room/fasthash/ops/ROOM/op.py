"""The sum of the squares of each row."""

from __future__ import annotations

from typing import Any

import torch

from fasthash.errors import check_floating, check_matrix
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.declaration import Gradient, declare
from fasthash.ops.registry import Kernel, cpu_kernels

KERNELS = {
    "reference": Kernel("fasthash.ops.ROOM.reference", ("cpu", "cuda")),
    **cpu_kernels("fasthash.ops.ROOM.kernel_cpu"),
}


def ROOM(x: Array, *, kernel: str | None = None) -> Array:
    """Return the sum of the squares of each row.

    Args:
        x: [n, m] of float32, float64, float16 or bfloat16, any strides. Half precisions are computed in float32.
        kernel: a name from `fasthash.ops.ROOM.KERNELS`; by default the best one for the device.

    Returns:
        [n] of the dtype of `x`, differentiable in `x`; a second derivative is an error. A tensor if `x` is one, else a
        NumPy array.

    Raises:
        TypeError: if `x` is not floating-point.
        ValueError: if `x` is not two-dimensional.
    """
    where = "ROOM"
    tensor = to_tensor(where, "x", x)
    check_floating(where, "x", tensor)
    check_matrix(where, "x", tensor, "m")
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    return as_given(ROOM_op(wide, kernel=kernel, where=where).to(tensor.dtype), x)


def _fake(x: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape[0])


def _save(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[torch.Tensor, ...]) -> None:
    ctx.save_for_backward(inputs[0])


def _backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor]:
    (x,) = ctx.saved_tensors
    return (2 * x * upstream[:, None],)


ROOM_op = declare("ROOM(Tensor x) -> Tensor", KERNELS, _fake, Gradient(_save, _backward))
