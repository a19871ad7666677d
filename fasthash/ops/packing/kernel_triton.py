"""Packing on a GPU."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fasthash.ops.packing.reference import nan_projection, refuse_nan

TILE = 128  # bytes of codes that a program packs: of one row, as a mask has, or of up to 16
PROJECTED_ROWS, PROJECTED_BITS, DEPTH = 64, 64, 32  # its share of a product, and the columns of x at a time


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
    n_bytes = (tl.full([], n_bits, tl.int64) + 7) // 8
    tiles = tl.cdiv(n_bytes, BYTES)
    first_row = tl.program_id(0).to(tl.int64) // tiles * ROWS
    first_byte = tl.program_id(0).to(tl.int64) % tiles * BYTES
    rows = first_row + tl.arange(0, ROWS)[:, None, None]
    byte = first_byte + tl.arange(0, BYTES)[None, :, None]
    position = tl.arange(0, 8)[None, None, :]
    column = byte * 8 + position  # [1, BYTES, 8]
    inside = (rows < n) & (column < n_bits)
    x = tl.load(x_ptr + rows * row_stride + column * column_stride, mask=inside, other=0)
    if INFINITY is not None:
        nans = tl.sum(((x & MAGNITUDE) > INFINITY).to(tl.int32).reshape(ROWS * BYTES * 8), axis=0)
        tl.atomic_or(nan_ptr, 1, mask=nans > 0)
    bits = (x > 0).to(tl.int32) << position
    codes = tl.sum(bits, axis=2).to(tl.uint8)  # [ROWS, BYTES]
    out_row = first_row + tl.arange(0, ROWS)[:, None]
    out_byte = first_byte + tl.arange(0, BYTES)[None, :]
    tl.store(codes_ptr + out_row * n_bytes + out_byte, codes, mask=(out_row < n) & (out_byte < n_bytes))


def tile_shape(n: int) -> dict[str, int]:
    """Return the codes and bytes of a program of `pack_bits_kernel` for n codes."""
    rows = min(16, triton.next_power_of_2(n))
    return {"ROWS": rows, "BYTES": TILE // rows}


def pack_bits(x: torch.Tensor) -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x` [n, b]. Waits for the device where `x` may hold a NaN."""
    n, n_bits = x.shape
    codes = x.new_empty((n, (n_bits + 7) // 8), dtype=torch.uint8)
    if codes.numel() == 0:
        return codes
    word, infinity = _WORDS.get(x.dtype, (x.dtype, None))
    nan = torch.zeros((), dtype=torch.int32, device=x.device)
    tile = tile_shape(n)
    pack_bits_kernel[(triton.cdiv(n, tile["ROWS"]) * triton.cdiv(codes.shape[1], tile["BYTES"]),)](
        x.detach().view(word), codes, nan, n, n_bits, *x.stride(),
        INFINITY=infinity, MAGNITUDE=torch.iinfo(word).max, **tile,
    )  # fmt: skip
    if infinity is not None and nan.item():
        refuse_nan(x)
    return codes


@triton.jit
def pack_projections_kernel(
    x_ptr, projection_ptr, offset_ptr, codes_ptr, place_ptr, n, d, n_bits, row_stride, column_stride,
    ROWS: tl.constexpr, BITS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(n_bits, BITS)
    rows = (tl.program_id(0) // tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    tile = tl.program_id(0) % tiles
    bits = tile * BITS + tl.arange(0, BITS)
    is_row, is_bit = rows < n, bits < n_bits
    element = projection_ptr.dtype.element_ty
    projections = tl.zeros((ROWS, BITS), dtype=element)
    for first in range(0, d, DEPTH):
        columns = first + tl.arange(0, DEPTH)
        is_column = columns < d
        x_places = rows[:, None] * row_stride + columns[None, :].to(tl.int64) * column_stride
        x = tl.load(x_ptr + x_places, mask=is_row[:, None] & is_column[None, :], other=0).to(element)
        places = columns[:, None].to(tl.int64) * n_bits + bits[None, :]
        hyperplanes = tl.load(projection_ptr + places, mask=is_column[:, None] & is_bit[None, :], other=0)
        # TensorFloat32 would round the factors to 10 bits, and signs would change.
        projections = tl.dot(x, hyperplanes, projections, input_precision="ieee", out_dtype=element)
    values = projections - tl.load(offset_ptr + bits, mask=is_bit, other=0)[None, :]
    inside = is_row[:, None] & is_bit[None, :]
    places = rows[:, None] * n_bits + bits[None, :]
    beyond = tl.full([], n, tl.int64) * n_bits
    first_nan = tl.min(tl.where(inside & (values != values), places, beyond).reshape(ROWS * BITS), axis=0)
    tl.atomic_min(place_ptr, first_nan, mask=first_nan < beyond)
    ones = (inside & (values > 0)).to(tl.int32).reshape(ROWS, BITS // 8, 8)
    codes = tl.sum(ones << tl.arange(0, 8)[None, None, :], axis=2).to(tl.uint8)
    n_bytes = (n_bits + 7) // 8
    byte = tile * (BITS // 8) + tl.arange(0, BITS // 8)
    tl.store(
        codes_ptr + rows[:, None] * n_bytes + byte[None, :], codes, mask=is_row[:, None] & (byte < n_bytes)[None, :]
    )


def pack_projections(x: torch.Tensor, projection: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
    """Return uint8 [n, ceil(b / 8)] of the signs of `x @ projection - offset` in the dtype of `projection`.

    Waits for the device, because a projection may be NaN.
    """
    (n, d), n_bits = x.shape, projection.shape[1]
    codes = x.new_empty((n, (n_bits + 7) // 8), dtype=torch.uint8)
    if n == 0:
        return codes
    beyond = n * n_bits
    place = torch.full((), beyond, dtype=torch.int64, device=x.device)
    thresholds = projection.new_zeros(n_bits) if offset is None else offset.detach().contiguous()
    pack_projections_kernel[(triton.cdiv(n, PROJECTED_ROWS) * triton.cdiv(n_bits, PROJECTED_BITS),)](
        x.detach(), projection.detach().contiguous(), thresholds, codes, place, n, d, n_bits, *x.stride(),
        ROWS=PROJECTED_ROWS, BITS=PROJECTED_BITS, DEPTH=DEPTH,
    )  # fmt: skip
    first_nan = int(place.item())
    if first_nan < beyond:
        raise nan_projection(first_nan, n_bits)
    return codes
