"""Packing on a GPU."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fasthash.ops.packing.reference import refuse_nan

ROWS, BYTES = 16, 8  # a program's share of the codes


# Floating-point numbers are read as signed integers: positive when those are, NaN beyond the bits of infinity.
_WORDS = {
    torch.float16: (torch.int16, 0x7C00),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float32: (torch.int32, 0x7F800000),
    torch.float64: (torch.int64, 0x7FF0000000000000),
    torch.bool: (torch.uint8, None),
}


@triton.jit
def pack_bits_kernel(
    x_ptr, codes_ptr, nan_ptr, n, n_bits, row_stride, column_stride,
    INFINITY: tl.constexpr, MAGNITUDE: tl.constexpr, ROWS: tl.constexpr, BYTES: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None, None]
    byte = tl.program_id(1).to(tl.int64) * BYTES + tl.arange(0, BYTES)[None, :, None]
    position = tl.arange(0, 8)[None, None, :]
    column = byte * 8 + position  # [1, BYTES, 8]
    inside = (rows < n) & (column < n_bits)
    x = tl.load(x_ptr + rows * row_stride + column * column_stride, mask=inside, other=0)
    if INFINITY is not None:
        nans = tl.sum(((x & MAGNITUDE) > INFINITY).to(tl.int32).reshape(ROWS * BYTES * 8), axis=0)
        tl.atomic_or(nan_ptr, 1, mask=nans > 0)
    bits = (x > 0).to(tl.int32) << position
    n_bytes = (n_bits + 7) // 8
    codes = tl.sum(bits, axis=2).to(tl.uint8)  # [ROWS, BYTES]
    out_row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    out_byte = tl.program_id(1).to(tl.int64) * BYTES + tl.arange(0, BYTES)[None, :]
    tl.store(codes_ptr + out_row * n_bytes + out_byte, codes, mask=(out_row < n) & (out_byte < n_bytes))


def pack_bits(x: torch.Tensor) -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x` [n, b]. Waits for the device where `x` may hold a NaN."""
    n, n_bits = x.shape
    codes = x.new_empty((n, (n_bits + 7) // 8), dtype=torch.uint8)
    if codes.numel() == 0:
        return codes
    word, infinity = _WORDS.get(x.dtype, (x.dtype, None))
    nan = torch.zeros((), dtype=torch.int32, device=x.device)
    grid = (triton.cdiv(n, ROWS), triton.cdiv(codes.shape[1], BYTES))
    pack_bits_kernel[grid](
        x.detach().view(word), codes, nan, n, n_bits, *x.stride(),
        INFINITY=infinity, MAGNITUDE=torch.iinfo(word).max, ROWS=ROWS, BYTES=BYTES,
    )  # fmt: skip
    if infinity is not None and nan.item():
        refuse_nan(x)
    return codes
