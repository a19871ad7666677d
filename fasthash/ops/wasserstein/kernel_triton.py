"""The distance to a two-point law on a GPU: a program partitions a column by bisection over representable numbers."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fasthash.ops.wasserstein import reference

MAX_ROWS = {4: 8192, 8: 4096}  # what one program holds in registers, by the bytes of an element in it


@triton.jit
def _power(x, p, P: tl.constexpr):
    """x^p of x >= 0; P is p where that is known to be 0, 1 or 2, else -1."""
    if P == 0:
        return x * 0 + 1
    elif P == 1:
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
        return sign.to(d.dtype)
    else:
        return (p * _power(tl.abs(d), p - 1, -1) * sign).to(d.dtype)


@triton.jit
def two_point_kernel(
    x_ptr, n_low_ptr, cost_ptr, gradient_ptr, n, m, row_stride, column_stride, split, low, high, p, scale,
    P: tl.constexpr, ROWS: tl.constexpr, WITH_GRADIENT: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0).to(tl.int64)
    rows = tl.arange(0, ROWS).to(tl.int64)
    inside = rows < n
    x = tl.load(x_ptr + rows * row_stride + column * column_stride, mask=inside, other=0)
    if x.dtype != tl.float64:
        x = x.to(tl.float32)
    ordinary = tl.where(x == 0, tl.zeros_like(x), x)  # -0.0 ties with 0.0
    if x.dtype == tl.float64:
        bits = ordinary.to(tl.int64, bitcast=True)
        key = bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)  # integers in the order of the numbers
        lowest = tl.full([], -0x8000000000000000, tl.int64)
        highest = tl.full([], 0x7FFFFFFFFFFFFFFF, tl.int64)
    else:
        bits = ordinary.to(tl.int32, bitcast=True)
        key = bits ^ ((bits >> 31) & 0x7FFFFFFF)
        lowest = tl.full([], -0x80000000, tl.int32)
        highest = tl.full([], 0x7FFFFFFF, tl.int32)
    largest = highest
    n_low = tl.load(n_low_ptr + column).to(tl.int32)
    for _ in range(x.dtype.primitive_bitwidth):
        middle = (lowest & highest) + ((lowest ^ highest) >> 1)
        enough = tl.sum((inside & (key <= middle)).to(tl.int32), axis=0) >= n_low
        highest = tl.where(enough, middle, highest)
        lowest = tl.where(enough, lowest, middle + 1)
    below = inside & (key < lowest)
    tied = inside & (key == lowest)
    n_ties = n_low - tl.sum(below.to(tl.int32), axis=0)
    is_low = below | (tied & (tl.cumsum(tied.to(tl.int32), axis=0) <= n_ties))
    rest = inside & (is_low == 0)
    nearest = tl.min(tl.where(rest, key, largest), axis=0)
    candidate = rest & (key == nearest)
    is_next = candidate & (tl.cumsum(candidate.to(tl.int32), axis=0) == 1)
    share = tl.where(is_low, 1.0, tl.where(is_next, split, 0.0)).to(x.dtype)  # of the mass that goes to `low`
    from_low = (x - low).to(x.dtype)
    from_high = (x - high).to(x.dtype)
    to_low = share * tl.where(share > 0, _power(tl.abs(from_low), p, P), 0.0)
    to_high = (1 - share) * tl.where(share < 1, _power(tl.abs(from_high), p, P), 0.0)
    tl.store(cost_ptr + column, tl.sum(tl.where(inside, to_low + to_high, 0.0), axis=0))
    if WITH_GRADIENT:
        slope = share * tl.where(share > 0, _slope(from_low, p, P), 0.0)
        slope += (1 - share) * tl.where(share < 1, _slope(from_high, p, P), 0.0)
        tl.store(gradient_ptr + rows * m + column, slope * scale, mask=inside)


def warps(rows: int) -> int:
    """Return how many warps share a column."""
    return min(16, max(1, rows // 256))


def two_point_wasserstein(
    x: torch.Tensor, n_low: torch.Tensor, split: float, low: float, high: float, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradient [n, m], or an empty tensor. Above MAX_ROWS rows it sorts."""
    n, m = x.shape
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    if n > MAX_ROWS[wide.itemsize]:
        return reference.two_point_wasserstein(x, n_low, split, low, high, p, with_gradient)
    x = x.detach()
    costs = torch.empty(m, dtype=wide, device=x.device)
    gradient = torch.empty((n, m) if with_gradient else (0, 0), dtype=x.dtype, device=x.device)
    rows = max(16, triton.next_power_of_2(n))
    two_point_kernel[(m,)](
        x, n_low, costs, gradient, n, m, *x.stride(), split, low, high, p, 1 / (n * m),
        P=int(p) if p in (1, 2) else -1, ROWS=rows, WITH_GRADIENT=with_gradient, num_warps=warps(rows),
    )  # fmt: skip
    return costs.sum().div(n * m).to(x.dtype), gradient


def sorted_wasserstein(
    x: torch.Tensor, y: torch.Tensor, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the cost, a scalar, and its gradients [n, m] and [k, m], or empty tensors, by torch's sort."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    parts = reference.sorted_wasserstein(x.to(wide), y.to(wide), p, with_gradient)
    return parts[0].to(x.dtype), parts[1].to(x.dtype), parts[2].to(x.dtype)
