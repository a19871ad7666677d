"""Products of Householder reflections: rotations that stay orthogonal whatever an optimiser does to them."""

from __future__ import annotations

from typing import Any

import torch

from fasthash.errors import check_device, check_flag, check_floating, dtype_name
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.declaration import Gradient, declare
from fasthash.ops.householder.decomposed import decomposed_apply
from fasthash.ops.registry import Kernel, cpu_kernels, is_traced, leaves_the_process

KERNELS = {
    "reference": Kernel("fasthash.ops.householder.reference", ("cpu", "cuda")),
    "torch": Kernel("fasthash.ops.householder.kernel_torch", ("cpu", "cuda")),
    **cpu_kernels("fasthash.ops.householder.kernel_cpu"),
    "numba": Kernel("fasthash.ops.householder.kernel_numba", ("cpu",), package="numba"),
    "triton": Kernel("fasthash.ops.householder.kernel_triton", ("cuda",), package="triton"),
}
MAX_FUSED_COLUMNS = 128  # up to which the Triton kernels go block by block, and the backward pass starts at the result
BLOCK = 16  # reflections in a block


def householder_product(v: Array, *, kernel: str | None = None) -> Array:
    """Return the orthogonal matrix U = H_1 H_2 ... H_l, where H_i = I - 2 v_i v_i^T / |v_i|^2 for the rows of `v`.

    Args:
        v: [l, k] of float32, float64, float16 or bfloat16, l from 1 to k, any strides. Half precisions are computed in
            float32. The lengths of the rows do not matter.
        kernel: a name from `fasthash.ops.householder.KERNELS`; by default the best one for the device.

    Returns:
        [k, k] of the dtype of `v`, differentiable in `v`; a second derivative is an error.

    Raises:
        TypeError: if `v` is not floating-point.
        ValueError: if `v` has another shape, or a row that is zero or not finite; the message names the row. On a GPU,
            and under torch.compile and torch.export, rows are not checked, and such a row makes the result NaN.

    Source: the compact WY form of Schreiber and Van Loan, "A storage-efficient WY representation for products of
    Householder transformations", 1989; its use for hashing is Schwengber et al., "Deep Hashing via Householder
    Quantization", 2023.
    """
    where = "householder_product"
    vectors = _checked_vectors(where, v)
    return as_given(rotated(where, None, vectors, True, kernel), v)


def householder_apply(x: Array, v: Array, transpose: bool = False, *, kernel: str | None = None) -> Array:
    """Return U x_i for each row x_i of `x`, that is x U^T, for U = householder_product(v), without forming U.

    Args:
        x: [n, k], any n, of float32, float64, float16 or bfloat16, any strides.
        v: [l, k], l from 1 to k, as for `householder_product`; of the dtype of `x`, or float32 where `x` is in half
            precision, which is computed in float32.
        transpose: whether to return U^T x_i instead, that is x U. It undoes the rotation.
        kernel: a name from `fasthash.ops.householder.KERNELS`; by default the best one for the device.

    Returns:
        [n, k] of the dtype of `x`, differentiable in `x` and `v`; a second derivative is an error. On a GPU it may be
        kept for the backward pass, so that to change it in place before is an error of torch.

    Raises:
        TypeError: if an array is not floating-point, or the dtypes do not go together.
        ValueError: if an argument is not as described, or a row of `v` is zero or not finite; the message names the
            row. On a GPU, and under torch.compile and torch.export, rows are not checked, and such a row makes the
            result NaN.

    Source: see `householder_product`.
    """
    where = "householder_apply"
    rows = _floating(where, "x", x)
    vectors = _checked_vectors(where, v)
    k = vectors.shape[1]
    if rows.ndim != 2 or rows.shape[1] != k:
        hint = "; pass x[None] for a single row" if rows.ndim == 1 else ""
        raise ValueError(f"{where}: expected x of shape [n, {k}], as wide as v, got {list(rows.shape)}{hint}")
    check_device(where, "v", vectors, rows.device)
    if vectors.dtype != rows.dtype and not (vectors.dtype == torch.float32 and rows.dtype.itemsize == 2):
        raise TypeError(
            f"{where}: expected v of dtype {dtype_name(rows)}, as x is, or float32 where x is in half precision, "
            f"got {dtype_name(vectors)}"
        )
    return as_given(rotated(where, rows, vectors, check_flag(where, "transpose", transpose), kernel), x)


def _floating(where: str, name: str, array: Array) -> torch.Tensor:
    x = to_tensor(where, name, array)
    check_floating(where, name, x)
    return x


def _checked_vectors(where: str, v: Array) -> torch.Tensor:
    vectors = _floating(where, "v", v)
    if vectors.ndim != 2 or not 1 <= vectors.shape[0] <= vectors.shape[1]:
        hint = "; pass v[None] for a single reflection" if vectors.ndim == 1 else ""
        raise ValueError(f"{where}: expected v of shape [l, k] with l from 1 to k, got {list(vectors.shape)}{hint}")
    return vectors


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _check_rows(where: str, v: torch.Tensor) -> None:
    largest = v.detach().abs().amax(1)  # vector_norm takes ten times as long
    low, high = largest.aminmax()
    if not (low.item() > 0 and high.item() < torch.inf):
        bad = ~((largest > 0) & (largest < torch.inf))
        row = int(bad.nonzero()[0])
        came = "a zero vector" if largest[row] == 0 else "a NaN or an infinity"
        raise ValueError(f"{where}: expected v with rows that are finite and not zero, got {came} in row {row}")


def rotated(
    where: str, x: torch.Tensor | None, v: torch.Tensor, transpose: bool = False, kernel: str | None = None
) -> torch.Tensor:
    """Return what `householder_apply` does, or without `x` the transpose's rows, for tensors that are checked.

    Only the values of `v` are not; errors begin with `where`.
    """
    rows, vectors = None if x is None else _wide(x), _wide(v)
    if v.device.type == "cpu" and not is_traced(v):  # a GPU would have to be waited for
        _check_rows(where, vectors)
    y: torch.Tensor
    if kernel is None and leaves_the_process():
        y = decomposed_apply(rows, vectors, transpose)
    else:
        y = apply_op(rows, vectors, transpose, kernel=kernel, where=where)
    return y.to(v.dtype if x is None else x.dtype)


def kept_rows(x: torch.Tensor | None, y: torch.Tensor, q: torch.Tensor) -> torch.Tensor | None:
    """Return the rows the backward pass takes: `x`, or where there is no Q, `y`, which it turns back."""
    return x if q.numel() > 0 else y


def factors_shape(l: int, k: int) -> tuple[int, int]:
    """Return the shape of what the Triton kernels keep: of each reflection w, a row of T, and the reciprocal length."""
    return l, k + BLOCK + 1


def _apply_fake(
    x: torch.Tensor | None, v: torch.Tensor, transpose: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    l, k = v.shape
    n = k if x is None else x.shape[0]
    by_blocks = v.device.type == "cuda" and k <= MAX_FUSED_COLUMNS
    saved = ((0, 0), factors_shape(l, k)) if by_blocks else ((n, l), (l, l))
    return v.new_empty((n, k)), v.new_empty(saved[0]), v.new_empty(saved[1])


def _save(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[torch.Tensor, ...]) -> None:
    x, v, ctx.transpose = inputs
    y, q, s_inverse = outputs
    ctx.save_for_backward(kept_rows(x, y, q), v, q, s_inverse)


def _backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
    with_dx = ctx.needs_input_grad[0]
    dx, dv = backward_op(dy, *ctx.saved_tensors, ctx.transpose, with_dx, **ctx.options)
    return dx if with_dx else None, dv


def _backward_fake(
    dy: torch.Tensor,
    rows: torch.Tensor | None,
    v: torch.Tensor,
    q: torch.Tensor,
    s_inverse: torch.Tensor,
    transpose: bool,
    with_dx: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    return v.new_empty(dy.shape if with_dx else (0, 0)), v.new_empty(v.shape)


apply_op = declare(
    "householder_apply(Tensor? x, Tensor v, bool transpose) -> (Tensor, Tensor, Tensor)",
    KERNELS,
    _apply_fake,
    Gradient(_save, _backward),
)
backward_op = declare(
    "householder_backward(Tensor dy, Tensor? rows, Tensor v, Tensor q, Tensor s_inverse, bool transpose, bool with_dx)"
    " -> (Tensor, Tensor)",
    KERNELS,
    _backward_fake,
)
