"""Householder products on a GPU: a program keeps some rows in registers and reflects them at several vectors a step."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fasthash.ops.householder import kernel_torch
from fasthash.ops.householder.op import ONE_LAUNCH

ROWS = (4, 16)  # that a program holds at a time: few, which one warp reflects without a barrier, while programs are few
MAX_PROGRAMS = 256  # of the backward pass, each of which writes a gradient of its own in v


@triton.jit
def _load(ptr, first, n, k, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Rows of a matrix [n, k] from one of them on, and zeros beyond it."""
    rows = first + tl.arange(0, ROWS)[:, None].to(tl.int64)
    columns = tl.arange(0, COLUMNS)[None, :]
    return tl.load(ptr + rows * stride + columns, mask=(rows < n) & (columns < k), other=0)


@triton.jit
def _store(ptr, tile, first, n, k, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    rows = first + tl.arange(0, ROWS)[:, None].to(tl.int64)
    columns = tl.arange(0, COLUMNS)[None, :]
    tl.store(ptr + rows * stride + columns, tile, mask=(rows < n) & (columns < k))


@triton.jit
def _unit_rows(v, n, ROWS: tl.constexpr):
    """The first n rows at length 1, then zeros, one by one, and the reciprocals of the lengths."""
    smallest: tl.constexpr = 2.0**-126 if v.dtype == tl.float32 else 2.0**-1022  # a GPU's rsqrt takes less for 0
    row = tl.arange(0, ROWS)
    root = tl.rsqrt(tl.maximum(tl.max(tl.abs(v), axis=1), smallest))[:, None]
    v = v * root * root  # whose squares are in the range of the dtype
    reciprocal = tl.rsqrt(tl.where(row < n, tl.sum(v * v, axis=1), 1))[:, None]
    v *= reciprocal
    w = ()
    for i in tl.static_range(ROWS):
        w += (tl.sum(tl.where(row[:, None] == i, v, 0), axis=0)[None, :],)  # type: ignore[assignment]
    return w, reciprocal * root * root


@triton.jit
def _multiples(x, w, REFLECTIONS: tl.constexpr):
    """What multiples of unit vectors the reflections at one after the other take from x."""
    multiples = ()
    for i in tl.static_range(REFLECTIONS):
        product = tl.sum(x * w[i], axis=1)[:, None]
        for j in tl.static_range(i):
            product -= multiples[j] * tl.sum(w[j] * w[i], axis=1)[:, None]
        multiples += (2 * product,)  # type: ignore[assignment]
    return multiples


@triton.jit
def householder_apply_kernel(
    x_ptr, v_ptr, y_ptr, n, l, k, stride,
    IDENTITY: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, REFLECTIONS: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * ROWS
    if IDENTITY:
        x = (first + tl.arange(0, ROWS)[:, None] == tl.arange(0, COLUMNS)[None, :]).to(v_ptr.dtype.element_ty)
    else:
        x = _load(x_ptr, first, n, k, k, ROWS, COLUMNS)
    v = _load(v_ptr, 0, l, k, stride, REFLECTIONS, COLUMNS)
    for step in range(0, l, REFLECTIONS):
        w, _ = _unit_rows(v, l - step, REFLECTIONS)
        v = _load(v_ptr, step + REFLECTIONS, l, k, stride, REFLECTIONS, COLUMNS)  # early, for the next step
        multiples = _multiples(x, w, REFLECTIONS)
        for i in tl.static_range(REFLECTIONS):
            x -= multiples[i] * w[i]
    _store(y_ptr, x, first, n, k, k, ROWS, COLUMNS)


@triton.jit
def householder_backward_kernel(
    dy_ptr, y_ptr, v_ptr, dx_ptr, dv_ptr, n, l, k, stride,
    WITH_DX: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, REFLECTIONS: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * ROWS
    dv_ptr += tl.program_id(0).to(tl.int64) * l * k
    for first in range(start, n, tl.num_programs(0) * ROWS):
        x = _load(y_ptr, first, n, k, k, ROWS, COLUMNS)
        g = _load(dy_ptr, first, n, k, k, ROWS, COLUMNS)
        v = _load(v_ptr, 0, l, k, stride, REFLECTIONS, COLUMNS)
        for step in range(0, l, REFLECTIONS):
            dv = _load(dv_ptr, step, l if first > start else 0, k, stride, REFLECTIONS, COLUMNS)
            w, reciprocal = _unit_rows(v, l - step, REFLECTIONS)
            v = _load(v_ptr, step + REFLECTIONS, l, k, stride, REFLECTIONS, COLUMNS)  # early, for the next step
            of_x, of_g = _multiples(x, w, REFLECTIONS), _multiples(g, w, REFLECTIONS)
            dw = tl.zeros_like(dv)
            for i in tl.static_range(REFLECTIONS):
                x -= of_x[i] * w[i]
                g -= of_g[i] * w[i]
                total = tl.sum(of_x[i] * g - of_g[i] * x, axis=0)[None, :]
                dw = tl.where(tl.arange(0, REFLECTIONS)[:, None] == i, total, dw)
            _store(dv_ptr, dv + dw * reciprocal, step, l, k, stride, REFLECTIONS, COLUMNS)
        if WITH_DX:
            _store(dx_ptr, g, first, n, k, k, ROWS, COLUMNS)


def launch(n: int, k: int, itemsize: int) -> dict[str, int]:
    """Return how many rows a program holds, at how many vectors, and how many warps share them, to fit in registers."""
    rows = ROWS[n > ROWS[0] * MAX_PROGRAMS]
    columns = max(32, triton.next_power_of_2(k))
    size = rows * columns * itemsize
    reflections = 4 if size <= 2048 else 2
    shape = {"ROWS": rows, "COLUMNS": columns, "REFLECTIONS": reflections}
    return shape | {"num_warps": max(1, size // 4096), "maxnreg": 255}  # fewer would let sums wait for each other


def _in_order(v: torch.Tensor, forward: bool) -> tuple[torch.Tensor, int]:
    """Return a tensor that begins at the first or the last row of contiguous [..., l, k], and the stride from there."""
    return (v, v.shape[-1]) if forward else (v[..., -1:, :], -v.shape[-1])


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
        options = launch(n, k, v.itemsize)
        vectors, stride = _in_order(v.detach().contiguous(), transpose)
        householder_apply_kernel[(triton.cdiv(n, options["ROWS"]),)](
            None if x is None else x.detach().contiguous(), vectors, y, n, l, k, stride, IDENTITY=x is None, **options
        )
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
    options = launch(n, k, v.itemsize)
    programs = min(triton.cdiv(n, options["ROWS"]), MAX_PROGRAMS)
    dv = torch.empty((programs, l, k), dtype=v.dtype, device=v.device)
    vectors, stride = _in_order(v.detach().contiguous(), not transpose)
    gradients, _ = _in_order(dv, not transpose)
    householder_backward_kernel[(programs,)](
        dy.detach().contiguous(), rows.detach().contiguous(), vectors, dx, gradients, n, l, k, stride,
        WITH_DX=with_dx, **options,
    )  # fmt: skip
    return dx, dv[0] if programs == 1 else dv.sum(0)
