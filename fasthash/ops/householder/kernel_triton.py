"""Householder products on a GPU: blocks of 16 reflections in closed form, which a program applies to some rows."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fasthash.ops.householder import kernel_torch
from fasthash.ops.householder.op import BLOCK, MAX_FUSED_COLUMNS, factors_shape

ROWS = (8, 32)  # that a program rotates at a time: few while programs are few, else as many as fit
BACKWARD_ROWS = (8, 16)  # each with its gradient beside it
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
def _product(a, b):
    return tl.dot(a, b, input_precision="ieee", out_dtype=a.dtype)


@triton.jit
def _between(a, b):
    """Rows of a and b [n, k] in turns, [2 n, k]."""
    return tl.reshape(tl.permute(tl.join(a, b), (0, 2, 1)), [2 * a.shape[0], a.shape[1]])


@triton.jit
def _apart(rows):
    """The matrices whose rows stand there in turns."""
    return tl.split(tl.permute(tl.reshape(rows, [rows.shape[0] // 2, 2, rows.shape[1]]), (0, 2, 1)))


@triton.jit
def householder_factors_kernel(v_ptr, factors_ptr, l, k, stride, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0) * BLOCK
    row = first + tl.arange(0, BLOCK)
    v = _load(v_ptr, first, l, k, stride, BLOCK, COLUMNS)
    smallest: tl.constexpr = 2.0**-126 if v.dtype == tl.float32 else 2.0**-1022  # a GPU's rsqrt takes less for 0
    root = tl.rsqrt(tl.maximum(tl.max(tl.abs(v), axis=1), smallest))[:, None]
    w = v * root * root  # whose squares are in the range of the dtype
    _store(factors_ptr, w, first, l, k, k, BLOCK, COLUMNS)
    _store(factors_ptr + l * (k + BLOCK), root * root, first, l, 1, 1, BLOCK, 1)
    wide = w.to(tl.float64)
    gram = _product(wide, tl.trans(wide))
    root = tl.rsqrt(tl.where(row < l, tl.sum(wide * wide, axis=1), 1))
    halves = 2 * root * root
    i = tl.arange(0, BLOCK)[:, None]
    j = tl.arange(0, BLOCK)[None, :]
    t = tl.where((i ^ 1 == j) & (i < j), -halves[:, None] * gram * halves[None, :], 0)
    t = tl.where(i == j, halves[:, None], t)
    for level in tl.static_range(1, 4):
        corners = tl.where((i >> level + 1 == j >> level + 1) & (i >> level < j >> level), gram, 0)
        t -= _product(_product(t, corners), t)
    _store(factors_ptr + l * k, t.to(v.dtype), first, l, BLOCK, BLOCK, BLOCK, BLOCK)


@triton.jit
def householder_apply_kernel(
    x_ptr, factors_ptr, y_ptr, n, l, k,
    IDENTITY: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * ROWS
    if IDENTITY:
        x = (first + tl.arange(0, ROWS)[:, None] == tl.arange(0, COLUMNS)[None, :]).to(y_ptr.dtype.element_ty)
    else:
        x = _load(x_ptr, first, n, k, k, ROWS, COLUMNS)
    for step in range(0, l, BLOCK):
        w = _load(factors_ptr, step, l, k, k, BLOCK, COLUMNS)
        t = _load(factors_ptr + l * k, step, l, BLOCK, BLOCK, BLOCK, BLOCK)
        x -= _product(_product(_product(x, tl.trans(w)), t), w)
    _store(y_ptr, x, first, n, k, k, ROWS, COLUMNS)


@triton.jit
def householder_backward_kernel(
    dy_ptr, y_ptr, factors_ptr, dx_ptr, dv_ptr, n, l, k, stride,
    WITH_DX: tl.constexpr, IN_TURNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * ROWS
    dv_ptr += tl.program_id(0).to(tl.int64) * l * k
    below = tl.arange(0, BLOCK)[:, None] > tl.arange(0, BLOCK)[None, :]
    for turn in range(tl.cdiv(n - start, tl.num_programs(0) * ROWS) if IN_TURNS else 1):
        first = start + turn * tl.num_programs(0).to(tl.int64) * ROWS
        x = _load(y_ptr, first, n, k, k, ROWS, COLUMNS)
        g = _load(dy_ptr, first, n, k, k, ROWS, COLUMNS)
        rows = _between(x, g)
        for back in range(0, l, BLOCK):
            step = (l - 1) // BLOCK * BLOCK - back
            w = _load(factors_ptr, step, l, k, k, BLOCK, COLUMNS)
            t = _load(factors_ptr + l * k, step, l, BLOCK, BLOCK, BLOCK, BLOCK)
            multiples = _product(_product(rows, tl.trans(w)), tl.trans(t))
            rows -= _product(multiples, w)
            of_x, of_g = _apart(multiples)
            turned = tl.trans(_between(-of_g, of_x))
            dv = _product(turned, rows) + _product(tl.where(below, _product(turned, multiples), 0), w)
            dv *= _load(factors_ptr + l * (k + BLOCK), step, l, 1, 1, BLOCK, 1)
            if IN_TURNS:
                dv += _load(dv_ptr, step, l if turn > 0 else 0, k, stride, BLOCK, COLUMNS)
            _store(dv_ptr, dv, step, l, k, stride, BLOCK, COLUMNS)
        if WITH_DX:
            _, g = _apart(rows)
            _store(dx_ptr, g, first, n, k, k, ROWS, COLUMNS)


def launch(n: int, k: int, itemsize: int, backward: bool) -> dict[str, int | bool | None]:
    """Return how many rows a program takes at a time, and how many warps share them, to fit in registers."""
    few, many = BACKWARD_ROWS if backward else ROWS
    columns = max(BLOCK, triton.next_power_of_2(k))
    row_bytes, narrow = columns * itemsize, 256 if backward else 512
    are_many = n > few * MAX_PROGRAMS
    rows = max(few, many * narrow // max(narrow, row_bytes)) if are_many else few
    shape = {"COLUMNS": columns, "BLOCK": BLOCK, "ROWS": rows, "maxnreg": None if are_many else 255}
    if not backward:
        return {**shape, "num_warps": 4}
    warps = 8 if are_many else 2 if row_bytes <= narrow else 4
    return {**shape, "IN_TURNS": are_many, "num_warps": warps}


def factors_launch(k: int) -> dict[str, int]:
    """Return how a block's factors are found, with the registers without which some would spill."""
    return {"COLUMNS": max(BLOCK, triton.next_power_of_2(k)), "BLOCK": BLOCK, "num_warps": 4, "maxnreg": 255}


def _in_order(v: torch.Tensor, forward: bool) -> tuple[torch.Tensor, int]:
    """Return a tensor that begins at the first or the last row of contiguous [..., l, k], and the stride from there."""
    return (v, v.shape[-1]) if forward else (v[..., -1:, :], -v.shape[-1])


def householder_apply(
    x: torch.Tensor | None, v: torch.Tensor, transpose: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the rotated rows [n, k], an empty tensor and the factors of blocks of reflections, as applied.

    These are, one after the other, the unit vectors [l, k], the triangle T of each block [l, BLOCK], and the reciprocal
    lengths [l]. Above MAX_FUSED_COLUMNS columns it is the closed form of all reflections.
    """
    l, k = v.shape
    if k > MAX_FUSED_COLUMNS:
        return kernel_torch.householder_apply(x, v, transpose)
    n = k if x is None else x.shape[0]
    y = torch.empty((n, k), dtype=v.dtype, device=v.device)
    factors = torch.empty(factors_shape(l, k), dtype=v.dtype, device=v.device)
    options = launch(n, k, v.itemsize, False)
    vectors, stride = _in_order(v.detach().contiguous(), transpose)
    householder_factors_kernel[(triton.cdiv(l, BLOCK),)](vectors, factors, l, k, stride, **factors_launch(k))
    if n > 0:
        householder_apply_kernel[(triton.cdiv(n, options["ROWS"]),)](
            None if x is None else x.detach().contiguous(), factors, y, n, l, k, IDENTITY=x is None, **options
        )
    return y, v.new_empty((0, 0)), factors


def householder_backward(
    dy: torch.Tensor,
    rows: torch.Tensor | None,
    v: torch.Tensor,
    q: torch.Tensor,
    s_inverse: torch.Tensor,
    transpose: bool,
    with_dx: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients in `x`, or an empty tensor, and in `v`, of what `householder_apply` returned."""
    l, k = v.shape
    if rows is None or k > MAX_FUSED_COLUMNS:
        return kernel_torch.householder_backward(dy, rows, v, q, s_inverse, transpose, with_dx)
    n = len(dy)
    dx = torch.empty((n, k) if with_dx else (0, 0), dtype=v.dtype, device=v.device)
    if n == 0:
        return dx, torch.zeros_like(v)
    options = launch(n, k, v.itemsize, True)
    programs = min(triton.cdiv(n, options["ROWS"]), MAX_PROGRAMS)
    dv = torch.empty((programs, l, k), dtype=v.dtype, device=v.device)
    gradients, stride = _in_order(dv, transpose)
    householder_backward_kernel[(programs,)](
        dy.detach().contiguous(), rows.detach().contiguous(), s_inverse, dx, gradients, n, l, k, stride,
        WITH_DX=with_dx, **options,
    )  # fmt: skip
    return dx, dv[0] if programs == 1 else dv.sum(0)
