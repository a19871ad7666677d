"""Packing on a GPU."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fasthash.ops.packing.reference import refuse_nan

ROWS, BYTES = 16, 8  # a program's share of the codes


@triton.jit
def pack_bits_kernel(
    x_ptr, codes_ptr, nan_ptr, n, n_bits, row_stride, column_stride, ROWS: tl.constexpr, BYTES: tl.constexpr
):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None, None]
    byte = tl.program_id(1).to(tl.int64) * BYTES + tl.arange(0, BYTES)[None, :, None]
    position = tl.arange(0, 8)[None, None, :]
    column = byte * 8 + position  # [1, BYTES, 8]
    inside = (rows < n) & (column < n_bits)
    x = tl.load(x_ptr + rows * row_stride + column * column_stride, mask=inside, other=0)
    if x.dtype.is_floating():
        # The interpreter's bfloat16 arithmetic is wrong, comparisons included.
        x = x.to(tl.float64) if x.dtype == tl.float64 else x.to(tl.float32)
        is_nan = tl.sum(tl.sum((x != x).to(tl.int32).reshape(ROWS * BYTES, 8), axis=1), axis=0)
        tl.atomic_or(nan_ptr, is_nan, mask=is_nan > 0)
    bits = (x > 0).to(tl.int32) << position
    n_bytes = (n_bits + 7) // 8
    codes = tl.sum(bits, axis=2).to(tl.uint8)  # [ROWS, BYTES]
    out_row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    out_byte = tl.program_id(1).to(tl.int64) * BYTES + tl.arange(0, BYTES)[None, :]
    tl.store(codes_ptr + out_row * n_bytes + out_byte, codes, mask=(out_row < n) & (out_byte < n_bytes))


def pack_bits(x: torch.Tensor) -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x` [n, b]. Waits for the device, to refuse a NaN."""
    n, n_bits = x.shape
    codes = x.new_empty((n, (n_bits + 7) // 8), dtype=torch.uint8)
    if codes.numel() == 0:
        return codes
    nan = torch.zeros((), dtype=torch.int32, device=x.device)
    words = x.view(torch.uint8) if x.dtype == torch.bool else x
    grid = (triton.cdiv(n, ROWS), triton.cdiv(codes.shape[1], BYTES))
    pack_bits_kernel[grid](words, codes, nan, n, n_bits, *words.stride(), ROWS=ROWS, BYTES=BYTES)
    if x.is_floating_point() and nan.item():
        refuse_nan(x)
    return codes
