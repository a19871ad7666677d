"""The distances on a GPU. That to a two-point law: each column is parted at an order statistic, then read once more.

In order of value, and of row among equal values, a column's elements are low up to one of them. The forward pass finds
that one's key (an integer in the order of the numbers) and row, all that the backward pass needs to write the gradient.
Columns that fit in registers are parted there, bit by bit; `kernel_triton_long` parts longer ones.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fasthash.ops.declaration import RefusedError
from fasthash.ops.wasserstein import kernel_triton_long, reference
from fasthash.ops.wasserstein.kernel_triton_keys import (
    KEY_BITS,
    cost,
    from_target,
    key_of,
    load,
    mix,
    select,
    slope,
    value_of,
)
from fasthash.ops.wasserstein.slicing import by_parts

MAX_ELEMENTS = {torch.float64: 8192, torch.float32: 16384, torch.float16: 16384, torch.bfloat16: 16384}  # of a program
TILE = 4096  # elements, of rows x columns, whose gradients a program writes
COLUMNS = 128  # of a tile, at most
MAX_ROWS = 2**31 - 2**16  # are counted in 32 bits, a tile beyond the last among them
TILE_WARPS = 8
SUM_BLOCK = 1024


@triton.jit
def _store_number(pointer, number):
    """From float64 to half precision there is no way but by float32."""
    if pointer.dtype.element_ty != tl.float64:
        number = number.to(tl.float32)
    tl.store(pointer, number)


@triton.jit
def two_point_kernel(
    x_ptr, n_low_ptr, cost_ptr, parting_ptr, n, m, row_stride, column_stride,
    split: tl.float64, low: tl.float64, high: tl.float64, p: tl.float64, scale: tl.float64,
    P: tl.constexpr, BITS: tl.constexpr, HALVES: tl.constexpr, ROW_BITS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Part columns that a program holds in registers, n // 2 rows low if HALVES; write their cost times scale."""
    rows = tl.arange(0, 2**ROW_BITS)[:, None]
    columns = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (rows < n) & (columns < m)[None, :]
    key = key_of(load(x_ptr + rows.to(tl.int64) * row_stride + columns[None, :] * column_stride, inside), inside)
    if HALVES:
        n_low = tl.zeros_like(columns).to(tl.int32) + n // 2
    else:
        n_low = tl.load(n_low_ptr + columns, mask=columns < m, other=0).to(tl.int32)
    tau, n_below, n_tied = select(key, tl.where(columns < m, n, 1), tl.minimum(n_low, n - 1), BITS)
    tied = (key == tau[None, :]) & inside
    row = tl.max(tl.where(tied, rows, 0), axis=0)
    if tl.max(n_tied, axis=0) > 1:
        row = tl.zeros_like(n_low)  # becomes the last row with so many or fewer ties before it
        bit = 2**ROW_BITS // 2
        for _ in range(ROW_BITS):
            n_before = tl.sum((tied & (rows < (row + bit)[None, :])).to(tl.int32), axis=0)
            row = tl.where(n_before <= n_low - n_below, row + bit, row)
            bit //= 2
    row = tl.where(n_low < n, row, n)
    tl.store(parting_ptr + columns, tau.to(tl.int64), mask=columns < m)
    tl.store(parting_ptr + m + columns, row.to(tl.int64), mask=columns < m)
    is_split = tied & (rows == row[None, :])
    is_low = (key < tau[None, :]) | (tied & (rows < row[None, :]))
    costs = cost(from_target(value_of(key), is_low, low, high), p, P)
    of_low = cost(from_target(value_of(tau), True, low, high), p, P)
    of_high = cost(from_target(value_of(tau), False, low, high), p, P)
    of_split = mix(tl.full([], split, of_low.dtype), of_low, of_high)
    costs = tl.where(inside, tl.where(is_split, of_split[None, :], costs), 0.0)
    _store_number(cost_ptr + tl.program_id(0), tl.sum(tl.sum(costs, axis=0).to(tl.float64), axis=0) * scale)


@triton.jit
def two_point_sum_kernel(costs_ptr, loss_ptr, n, BLOCK: tl.constexpr):
    """Add up costs, always in the same order."""
    total = tl.zeros([BLOCK], tl.float64)
    for first in range(0, n, BLOCK):
        i = first + tl.arange(0, BLOCK)
        total += tl.load(costs_ptr + i, mask=i < n, other=0.0)
    _store_number(loss_ptr, tl.sum(total, axis=0))


@triton.jit
def two_point_backward_kernel(
    upstream_ptr, x_ptr, parting_ptr, gradient_ptr, n, m, row_stride, column_stride,
    split: tl.float64, low: tl.float64, high: tl.float64, p: tl.float64, scale: tl.float64,
    P: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(m, COLUMNS)
    rows = (tl.program_id(0) // tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = (tl.program_id(0) % tiles).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (rows < n) & (columns < m)
    x = load(x_ptr + rows * row_stride + columns * column_stride, inside)
    tau = value_of(
        tl.load(parting_ptr + columns, mask=columns < m, other=0).to(tl.uint64 if x.dtype == tl.float64 else tl.uint32)
    )
    row = tl.load(parting_ptr + m + columns, mask=columns < m, other=0).to(tl.int32)
    slopes = slope(from_target(x, (x < tau) | ((x == tau) & (rows < row)), low, high), p, P)
    of_low = slope(from_target(tau, True, low, high), p, P)
    of_high = slope(from_target(tau, False, low, high), p, P)
    slopes = tl.where((x == tau) & (rows == row), mix(tl.full([], split, x.dtype), of_low, of_high), slopes)
    unit = tl.load(upstream_ptr).to(x.dtype) * tl.full([], scale, x.dtype)
    tl.store(gradient_ptr + rows * m + columns, slopes * unit, mask=inside)


def registers(n: int, m: int, dtype: torch.dtype) -> dict[str, int]:
    """Return how a program of `two_point_kernel` holds its columns: all of them where they fit, else one."""
    row_bits = max(4, (n - 1).bit_length())
    columns = triton.next_power_of_2(m)
    if columns << row_bits > MAX_ELEMENTS[dtype]:
        columns = 1
    n_warps = (columns << row_bits) // (128 if dtype == torch.float64 else 256)
    return {"ROW_BITS": row_bits, "COLUMNS": columns, "num_warps": min(32, max(1, n_warps))}


def two_point_wasserstein(
    x: torch.Tensor, n_low: torch.Tensor | None, split: float, low: float, high: float, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and where each column is parted, keys and rows, int64 [2, m], or an empty tensor.

    Without `n_low`, n // 2 rows of each column are low.
    """
    n, m = x.shape
    if n > MAX_ROWS:
        raise RefusedError(f"expected x of at most {MAX_ROWS:,} rows on a GPU, got {n:,}")
    loss = torch.empty((), dtype=x.dtype, device=x.device)
    parting = torch.empty((2, m), dtype=torch.int64, device=x.device)
    law = (split, low, high, p, 1 / (n * m), exponent(p))
    if n <= MAX_ELEMENTS[x.dtype]:
        options = registers(n, m, x.dtype)
        programs = triton.cdiv(m, options["COLUMNS"])
        costs = loss if programs == 1 else torch.empty(programs, dtype=torch.float64, device=x.device)
        two_point_kernel[(programs,)](
            x.detach(), n_low, costs, parting, n, m, *x.stride(), *law, KEY_BITS[x.dtype], n_low is None, **options
        )
    else:
        costs = kernel_triton_long.part_columns(x.detach(), n_low, parting, law)
    if costs is not loss:
        two_point_sum_kernel[(1,)](costs, loss, len(costs), BLOCK=SUM_BLOCK)
    return loss, parting if with_gradient else x.new_empty((0, 0))


def exponent(p: float) -> int:
    """Return the constant P of the kernels."""
    return int(p) if p in (1, 2) else -1


def two_point_backward(
    upstream: torch.Tensor, x: torch.Tensor, parting: torch.Tensor, split: float, low: float, high: float, p: float
) -> torch.Tensor:
    """Return the gradient in `x` of `upstream` times the cost of columns that are parted at these keys and rows."""
    n, m = x.shape
    gradient = torch.empty((n, m), dtype=x.dtype, device=x.device)
    columns = min(COLUMNS, triton.next_power_of_2(m))
    rows = TILE // columns
    two_point_backward_kernel[(triton.cdiv(n, rows) * triton.cdiv(m, columns),)](
        upstream, x.detach(), parting, gradient, n, m, *x.stride(), split, low, high, p, 1 / (n * m), exponent(p),
        ROWS=rows, COLUMNS=columns, num_warps=TILE_WARPS,
    )  # fmt: skip
    return gradient


def sorted_wasserstein(
    x: torch.Tensor, y: torch.Tensor, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradients [n, m] and [k, m], or empty tensors, by torch's sort."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    parts = reference.sorted_wasserstein(x.to(wide), y.to(wide), p, with_gradient)
    return parts[0].to(x.dtype), parts[1].to(x.dtype), parts[2].to(x.dtype)


sliced_wasserstein = by_parts(sorted_wasserstein)
