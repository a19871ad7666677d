"""Householder products on a GPU: a program keeps some rows in registers and reflects them at vector after vector."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fasthash.ops.householder import kernel_torch
from fasthash.ops.householder.op import ONE_LAUNCH

ROWS = (4, 16)  # that a program holds at a time: few, which one warp reflects without a barrier, while programs are few
MAX_PROGRAMS = 256  # of the backward pass, each of which writes a gradient of its own in v


@triton.jit
def _vector(v_ptr, j, k, columns, row_stride, column_stride):
    """Row j of v over its largest magnitude, that magnitude, and 2 over the result's square."""
    v = tl.load(v_ptr + j.to(tl.int64) * row_stride + columns * column_stride, mask=columns < k, other=0)
    largest = tl.max(tl.abs(v), axis=0)
    w = v / largest
    return w, largest, 2 / tl.sum(w * w, axis=0)


@triton.jit
def _reflect(x, w, factor):
    product = tl.sum(x * w[None, :], axis=1)
    return x - (factor * product)[:, None] * w[None, :], product


@triton.jit
def householder_apply_kernel(
    x_ptr, v_ptr, y_ptr, n, l, k, x_row_stride, x_column_stride, v_row_stride, v_column_stride,
    TRANSPOSE: tl.constexpr, IDENTITY: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, COLUMNS).to(tl.int64)
    inside = (rows < n) & (columns[None, :] < k)
    if IDENTITY:
        x = (rows == columns[None, :]).to(v_ptr.dtype.element_ty)
    else:
        x = tl.load(x_ptr + rows * x_row_stride + columns[None, :] * x_column_stride, mask=inside, other=0)
    for step in range(l):
        j = step if TRANSPOSE else l - 1 - step
        w, _, factor = _vector(v_ptr, j, k, columns, v_row_stride, v_column_stride)
        x, _ = _reflect(x, w, factor)
    tl.store(y_ptr + rows * k + columns[None, :], x, mask=inside)


@triton.jit
def householder_backward_kernel(
    dy_ptr, y_ptr, v_ptr, dx_ptr, dv_ptr, n, l, k,
    dy_row_stride, dy_column_stride, y_row_stride, y_column_stride, v_row_stride, v_column_stride,
    TRANSPOSE: tl.constexpr, WITH_DX: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, COLUMNS).to(tl.int64)
    for first in range(program * ROWS, n, tl.num_programs(0) * ROWS):
        rows = first + tl.arange(0, ROWS)[:, None].to(tl.int64)
        inside = (rows < n) & (columns[None, :] < k)
        x = tl.load(y_ptr + rows * y_row_stride + columns[None, :] * y_column_stride, mask=inside, other=0)
        g = tl.load(dy_ptr + rows * dy_row_stride + columns[None, :] * dy_column_stride, mask=inside, other=0)
        for step in range(l):
            j = l - 1 - step if TRANSPOSE else step
            w, largest, factor = _vector(v_ptr, j, k, columns, v_row_stride, v_column_stride)
            x, after = _reflect(x, w, factor)
            g, slope = _reflect(g, w, factor)
            total = tl.sum(after[:, None] * g - slope[:, None] * x, axis=0) * (factor / largest)
            place = dv_ptr + (program * l + j) * k + columns
            if first > program * ROWS:
                total += tl.load(place, mask=columns < k, other=0)
            tl.store(place, total, mask=columns < k)
        if WITH_DX:
            tl.store(dx_ptr + rows * k + columns[None, :], g, mask=inside)


def launch(n: int, columns: int, itemsize: int) -> dict[str, int]:
    """Return how many rows a program holds, and how many warps share them, so that they stay in registers."""
    rows = ROWS[n > ROWS[0] * MAX_PROGRAMS]
    return {"ROWS": rows, "num_warps": max(1, columns * rows * itemsize**2 // 8192)}


def householder_apply(
    x: torch.Tensor | None, v: torch.Tensor, transpose: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the rotated rows [n, k] and what the backward pass needs, above ONE_LAUNCH columns in closed form."""
    l, k = v.shape
    if k > ONE_LAUNCH:
        return kernel_torch.householder_apply(x, v, transpose)
    n = k if x is None else x.shape[0]
    y = torch.empty((n, k), dtype=v.dtype, device=v.device)
    if n > 0:
        columns = max(32, triton.next_power_of_2(k))
        options = launch(n, columns, v.itemsize)
        householder_apply_kernel[(triton.cdiv(n, options["ROWS"]),)](
            x, v.detach(), y, n, l, k, *(x.stride() if x is not None else (0, 0)), *v.stride(),
            TRANSPOSE=transpose, IDENTITY=x is None, COLUMNS=columns, **options,
        )  # fmt: skip
    return y, v.new_empty((0, 0)), v.new_empty((0, 0))


def householder_backward(
    dy: torch.Tensor,
    rows: torch.Tensor | None,
    v: torch.Tensor,
    q: torch.Tensor,
    s_inverse: torch.Tensor,
    transpose: bool,
    with_dx: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients in `x`, or an empty tensor, and in `v`."""
    l, k = v.shape
    if rows is None or k > ONE_LAUNCH:
        return kernel_torch.householder_backward(dy, rows, v, q, s_inverse, transpose, with_dx)
    n = len(dy)
    dx = torch.empty((n, k) if with_dx else (0, 0), dtype=v.dtype, device=v.device)
    if n == 0:
        return dx, torch.zeros_like(v)
    columns = max(32, triton.next_power_of_2(k))
    options = launch(n, columns, v.itemsize)
    programs = min(triton.cdiv(n, options["ROWS"]), MAX_PROGRAMS)
    dv = torch.empty((programs, l, k), dtype=v.dtype, device=v.device)
    householder_backward_kernel[(programs,)](
        dy.detach(), rows.detach(), v.detach(), dx, dv, n, l, k, *dy.stride(), *rows.stride(),
        *v.stride(), TRANSPOSE=transpose, WITH_DX=with_dx, COLUMNS=columns, **options,
    )  # fmt: skip
    return dx, dv[0] if programs == 1 else dv.sum(0)
