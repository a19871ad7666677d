"""The distances on a GPU. That to a two-point law: radix selection of the order statistic that parts a column, a pass.

A program that holds a column in registers finds the key of that statistic bit by bit. Longer columns are read once for
each digit of four bits: tiles of rows and neighbouring columns are counted by digit in registers, each chunk of rows
writes its counts, and those of the last digit also tell how many ties precede each chunk.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from fasthash.ops.wasserstein import reference

# What one program holds in registers.
MAX_ROWS = {torch.float64: 8192, torch.float32: 16384, torch.float16: 16384, torch.bfloat16: 16384}
PART = 1024  # rows of those for which cost and gradient are computed at once
KEY_BITS = {torch.float64: 64, torch.float32: 32, torch.float16: 20, torch.bfloat16: 16}  # below these a key is zero
TILE = 2048  # elements, of rows x columns
COLUMNS = 32  # of a tile, at most
TILE_WARPS = 8
PROGRAMS = 4096  # above this many tiles a program takes several


@triton.jit
def _load(pointers, inside):
    """The values in float32 or float64, NaN outside."""
    x = tl.load(pointers, mask=inside, other=float("nan"))
    if x.dtype != tl.float64:
        x = x.to(tl.float32)
    return x


@triton.jit
def _key(x):
    """Unsigned integers in the order of the numbers: zeros of both signs are one, positive NaN comes last."""
    bits = x.to(tl.uint64 if x.dtype == tl.float64 else tl.uint32, bitcast=True)
    sign = tl.full([], 1, bits.dtype) << (bits.dtype.primitive_bitwidth - 1)
    return tl.where(bits >= sign, 0 - bits, bits + sign)


@triton.jit
def _power(x, p, P: tl.constexpr):
    """x^p of x >= 0; P is p where that is known to be 1 or 2, else -1."""
    if P == 1:
        return x
    elif P == 2:
        return x * x
    else:
        return tl.where(x > 0, tl.exp2(p * tl.log2(tl.where(x > 0, x, 1.0))), x * 0)


@triton.jit
def _slope(d, p, P: tl.constexpr):
    """The derivative of |d|^p."""
    sign = tl.where(d > 0, 1.0, tl.where(d < 0, -1.0, d))
    if P == 2:
        return 2 * d
    elif P == 1:
        return sign
    else:
        return p * _power(tl.abs(d), p - 1, -1) * sign


@triton.jit
def _mix(share, of_low, of_high):
    """The mean by shares, in which an infinity without a share does not count."""
    return share * tl.where(share > 0, of_low, 0.0) + (1 - share) * tl.where(share < 1, of_high, 0.0)


@triton.jit
def _write_rows(
    x_ptr, gradient_ptr, rows, columns, inside, m, row_stride, column_stride, tau, n_tied_low, n_tied_before,
    split, low, high, p, scale, P: tl.constexpr, WITH_GRADIENT: tl.constexpr,
):  # fmt: skip
    """Write the gradient; return the costs and which rows tie with tau, of which in all the first n_tied_low go low."""
    x = _load(x_ptr + rows * row_stride + columns * column_stride, inside)
    key = _key(x)
    tied = (key == tau).to(tl.int32)
    position = n_tied_before + tl.cumsum(tied, axis=0) - 1
    split = tl.full([], split, x.dtype)
    share_of_tied = tl.where(position < n_tied_low, 1.0, tl.where(position == n_tied_low, split, 0.0))
    share = tl.where(key < tau, 1.0, tl.where(tied != 0, share_of_tied, 0.0))  # of the mass that goes to low
    from_low = x - tl.full([], low, x.dtype)
    from_high = x - tl.full([], high, x.dtype)
    p = tl.full([], p, x.dtype)
    if WITH_GRADIENT:
        slope = _mix(share, _slope(from_low, p, P), _slope(from_high, p, P))
        tl.store(gradient_ptr + rows * m + columns, slope * tl.full([], scale, x.dtype), mask=inside)
    cost = _mix(share, _power(tl.abs(from_low), p, P), _power(tl.abs(from_high), p, P))
    return tl.where(inside, cost, 0.0), tied


@triton.jit
def two_point_kernel(
    x_ptr, n_low_ptr, cost_ptr, gradient_ptr, n, m, row_stride, column_stride,
    split: tl.float64, low: tl.float64, high: tl.float64, p: tl.float64, scale: tl.float64,
    P: tl.constexpr, BITS: tl.constexpr, ROWS: tl.constexpr, PART: tl.constexpr, WITH_GRADIENT: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0).to(tl.int64)
    rows = tl.arange(0, ROWS).to(tl.int64)
    key = _key(_load(x_ptr + rows * row_stride + column * column_stride, rows < n))
    n_low = tl.load(n_low_ptr + column).to(tl.int32)
    rank = tl.minimum(n_low, n - 1)
    tau = tl.zeros([], key.dtype)  # becomes the key of that rank, the largest with so many or fewer below it
    bit = tl.full([], 1, key.dtype) << (key.dtype.primitive_bitwidth - 1)
    for _ in range(BITS):
        n_below = tl.sum((key < (tau | bit)).to(tl.int32), axis=0)
        tau = tl.where(n_below <= rank, tau | bit, tau)
        bit >>= 1
    n_tied_low = n_low - tl.sum((key < tau).to(tl.int32), axis=0)
    n_tied_before = tl.zeros([], tl.int32)
    total = tl.zeros([], tl.float64)
    for start in range(0, ROWS, PART):  # parts read again, for want of registers
        part = start + tl.arange(0, PART).to(tl.int64)
        costs, tied = _write_rows(
            x_ptr, gradient_ptr, part, column, part < n, m, row_stride, column_stride, tau, n_tied_low, n_tied_before,
            split, low, high, p, scale, P, WITH_GRADIENT,
        )  # fmt: skip
        n_tied_before += tl.sum(tied, axis=0)
        total += tl.sum(costs, axis=0).to(tl.float64)
    tl.store(cost_ptr + column, total)


@triton.jit
def two_point_count_kernel(
    x_ptr, tau_ptr, counts_ptr, n, m, row_stride, column_stride, shift, n_chunks, n_steps,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Count the keys of each chunk of rows that agree with tau above a digit by that digit, int32 [16, n_chunks, m]."""
    chunk = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    tau = tl.load(tau_ptr + columns, mask=columns < m, other=0)
    # Eight counters of a byte in a word, which is why n_steps is at most 255.
    counts_to_7 = tl.zeros([ROWS, COLUMNS], tl.int64)
    counts_to_15 = tl.zeros([ROWS, COLUMNS], tl.int64)
    for step in range(n_steps):
        rows = (chunk * n_steps + step) * ROWS + tl.arange(0, ROWS)
        inside = (rows < n)[:, None] & (columns < m)[None, :]
        key = _key(_load(x_ptr + rows[:, None] * row_stride + columns[None, :] * column_stride, inside))
        digit = (key - tau.to(key.dtype)[None, :]) >> shift  # more than 15 where the key does not agree with tau
        one = tl.full([ROWS, COLUMNS], 1, tl.int64) << ((digit & 7) * 8).to(tl.int64)
        counts_to_7 += tl.where(digit < 8, one, 0)
        counts_to_15 += tl.where((digit >> 3) == 1, one, 0)
    for digit in tl.static_range(16):
        packed = counts_to_7 if digit < 8 else counts_to_15
        counts = tl.sum(((packed >> (digit % 8 * 8)) & 255).to(tl.int32), axis=0)
        tl.store(counts_ptr + (digit * n_chunks + chunk) * m + columns, counts, mask=columns < m)


@triton.jit
def two_point_digit_kernel(counts_ptr, tau_ptr, rank_ptr, m, shift, COLUMNS: tl.constexpr):
    """Append to each column's tau the digit of the wanted rank by counts int64 [16, m]; rank becomes that below it."""
    columns = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < m
    rank = tl.load(rank_ptr + columns, mask=inside, other=0)
    counts = tl.load(counts_ptr + tl.arange(0, 16)[:, None] * m + columns[None, :], mask=inside[None, :], other=0)
    passed = tl.cumsum(counts, axis=0) <= rank[None, :]
    digit = tl.sum(passed.to(tl.int64), axis=0)
    tau = tl.load(tau_ptr + columns, mask=inside, other=0)
    tl.store(tau_ptr + columns, tau | (digit << shift), mask=inside)
    tl.store(rank_ptr + columns, rank - tl.sum(tl.where(passed, counts, 0), axis=0), mask=inside)


@triton.jit
def two_point_write_kernel(
    x_ptr, tau_ptr, n_tied_low_ptr, n_tied_before_ptr, cost_ptr, gradient_ptr, n, m, row_stride, column_stride, n_steps,
    split: tl.float64, low: tl.float64, high: tl.float64, p: tl.float64, scale: tl.float64,
    P: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, WITH_GRADIENT: tl.constexpr,
):  # fmt: skip
    """Write the gradient and each program's cost; n_tied_before [n_chunks, m] rows tied with tau precede each chunk."""
    chunk = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    tau = tl.load(tau_ptr + columns, mask=columns < m, other=0)[None, :]
    tau = tau.to(tl.uint64 if x_ptr.dtype.element_ty == tl.float64 else tl.uint32)
    n_tied_low = tl.load(n_tied_low_ptr + columns, mask=columns < m, other=0)[None, :]
    n_tied_before = tl.load(n_tied_before_ptr + chunk * m + columns, mask=columns < m, other=0)
    total = tl.zeros([], tl.float64)
    for step in range(n_steps):
        rows = (chunk * n_steps + step) * ROWS + tl.arange(0, ROWS)
        inside = (rows < n)[:, None] & (columns < m)[None, :]
        costs, tied = _write_rows(
            x_ptr, gradient_ptr, rows[:, None], columns[None, :], inside, m, row_stride, column_stride,
            tau, n_tied_low, n_tied_before[None, :], split, low, high, p, scale, P, WITH_GRADIENT,
        )  # fmt: skip
        n_tied_before += tl.sum(tied, axis=0)
        total += tl.sum(tl.sum(costs, axis=0), axis=0).to(tl.float64)
    tl.store(cost_ptr + chunk * tl.num_programs(1) + tl.program_id(1), total)


def warps(rows: int) -> int:
    """Return how many warps share a column."""
    return min(32, max(1, rows // 256))


def _one_launch(
    x: torch.Tensor, n_low: torch.Tensor, gradient: torch.Tensor, law: tuple[float, ...], options: dict[str, Any]
) -> torch.Tensor:
    n, m = x.shape
    rows = max(16, triton.next_power_of_2(n))
    costs = torch.empty(m, dtype=torch.float64, device=x.device)
    two_point_kernel[(m,)](
        x, n_low, costs, gradient, n, m, *x.stride(), *law,
        BITS=KEY_BITS[x.dtype], ROWS=rows, PART=min(PART, rows), num_warps=warps(rows), **options,
    )  # fmt: skip
    return costs


def _many_launches(
    x: torch.Tensor, n_low: torch.Tensor, gradient: torch.Tensor, law: tuple[float, ...], options: dict[str, Any]
) -> torch.Tensor:
    n, m = x.shape
    columns = min(COLUMNS, triton.next_power_of_2(m))
    rows = TILE // columns
    n_steps = min(255, triton.cdiv(n * m, TILE * PROGRAMS))
    n_chunks = triton.cdiv(n, rows * n_steps)
    grid = (n_chunks, triton.cdiv(m, columns))
    tile = {"ROWS": rows, "COLUMNS": columns, "num_warps": TILE_WARPS}
    counts = torch.empty((16, n_chunks, m), dtype=torch.int32, device=x.device)
    wanted = n_low.clamp(max=n - 1)
    tau, rank = torch.zeros_like(wanted), wanted.clone()
    width = 64 if x.dtype == torch.float64 else 32
    for shift in range(width - 4, width - KEY_BITS[x.dtype] - 1, -4):
        two_point_count_kernel[grid](x, tau, counts, n, m, *x.stride(), shift, n_chunks, n_steps, **tile)
        two_point_digit_kernel[(grid[1],)](counts.sum(1), tau, rank, m, shift, COLUMNS=columns)
    n_tied = counts.gather(0, (tau >> shift & 15).expand(1, n_chunks, m))[0]
    costs = torch.empty(grid, dtype=torch.float64, device=x.device)
    two_point_write_kernel[grid](
        x, tau, n_low - wanted + rank, n_tied.cumsum(0) - n_tied, costs, gradient, n, m, *x.stride(), n_steps, *law,
        **tile, **options,
    )  # fmt: skip
    return costs


def two_point_wasserstein(
    x: torch.Tensor, n_low: torch.Tensor, split: float, low: float, high: float, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradient [n, m], or an empty tensor."""
    n, m = x.shape
    gradient = torch.empty((n, m) if with_gradient else (0, 0), dtype=x.dtype, device=x.device)
    law = (split, low, high, p, 1 / (n * m))
    options = {"P": int(p) if p in (1, 2) else -1, "WITH_GRADIENT": with_gradient}
    launch = _one_launch if n <= MAX_ROWS[x.dtype] else _many_launches
    return launch(x.detach(), n_low, gradient, law, options).sum().div(n * m).to(x.dtype), gradient


def sorted_wasserstein(
    x: torch.Tensor, y: torch.Tensor, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradients [n, m] and [k, m], or empty tensors, by torch's sort."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    parts = reference.sorted_wasserstein(x.to(wide), y.to(wide), p, with_gradient)
    return parts[0].to(x.dtype), parts[1].to(x.dtype), parts[2].to(x.dtype)
