"""What the kernels of a GPU share: keys in the order of the numbers, their order statistics, costs to two values."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

KEY_BITS = {torch.float64: 64, torch.float32: 32, torch.float16: 20, torch.bfloat16: 16}  # below these a key is zero


@triton.jit
def load(pointers, inside):
    """The values in float32 or float64."""
    x = tl.load(pointers, mask=inside, other=0.0)
    if x.dtype != tl.float64:
        x = x.to(tl.float32)
    return x


@triton.jit
def key_of(x, inside):
    """Unsigned integers in the order of the numbers, the largest outside. Zeros of both signs are one."""
    bits = x.to(tl.uint64 if x.dtype == tl.float64 else tl.uint32, bitcast=True)
    sign = tl.full([], 1, bits.dtype) << (bits.dtype.primitive_bitwidth - 1)
    largest = tl.full([], 0, bits.dtype) - 1
    return tl.where(inside, tl.where(bits >= sign, 0 - bits, bits + sign), largest)


@triton.jit
def value_of(key):
    """The number of a key."""
    sign = tl.full([], 1, key.dtype) << (key.dtype.primitive_bitwidth - 1)
    bits = tl.where(key >= sign, key - sign, 0 - key)
    return bits.to(tl.float64 if key.dtype == tl.uint64 else tl.float32, bitcast=True)


@triton.jit
def select(key, n, rank, BITS: tl.constexpr):
    """For the columns of key [rows, columns], n keys each, that of a rank, how many are below and how many equal it."""
    UNSET: tl.constexpr = key.dtype.primitive_bitwidth - BITS  # bits that are zero in every key
    tau = tl.zeros_like(rank).to(key.dtype)  # the known bits of the wanted key
    n_below = tl.zeros_like(rank)
    n_upto = n_below + n  # keys that are below or begin with these bits
    unknown = tl.full([], 0, key.dtype) - 1
    while (unknown >> UNSET != 0) & (tl.max(n_upto - n_below, axis=0) > 1):
        for _ in tl.static_range(4):
            middle = tau + (unknown - (unknown >> 1))
            n_below_middle = tl.sum((key < middle[None, :]).to(tl.int32), axis=0)
            above = n_below_middle <= rank
            tau = tl.where(above, middle, tau)
            n_below = tl.where(above, n_below_middle, n_below)
            n_upto = tl.where(above, n_upto, n_below_middle)
            unknown = unknown >> 1
    largest = tl.full([], 0, key.dtype) - 1
    tau = tl.min(tl.where(key - tau[None, :] <= unknown, key, largest), axis=0)
    return tau, n_below, n_upto - n_below


@triton.jit
def mix(share, of_low, of_high):
    """The mean by shares, in which an infinity without a share does not count."""
    return share * tl.where(share > 0, of_low, 0.0) + (1 - share) * tl.where(share < 1, of_high, 0.0)


@triton.jit
def from_target(x, is_low, low, high):
    """How far above its target each element is."""
    return x - tl.where(is_low, tl.full([], low, x.dtype), tl.full([], high, x.dtype))


@triton.jit
def cost(d, p, P: tl.constexpr):
    """|d|^p; P is p where that is known to be 1 or 2, else -1."""
    if P == 1:
        return tl.abs(d)
    elif P == 2:
        return d * d
    else:
        d = tl.abs(d)
        return tl.where(d > 0, tl.exp2(tl.full([], p, d.dtype) * tl.log2(tl.where(d > 0, d, 1.0))), d)


@triton.jit
def slope(d, p, P: tl.constexpr):
    """The derivative of |d|^p."""
    sign = tl.where(d > 0, 1.0, tl.where(d < 0, -1.0, d))
    if P == 2:
        return 2 * d
    elif P == 1:
        return sign
    else:
        return tl.full([], p, d.dtype) * cost(d, p - 1, -1) * sign
