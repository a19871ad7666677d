"""Real embeddings to packed bits and back."""

from __future__ import annotations

import torch

from fasthash.errors import (
    MAX_BITS,
    check_choice,
    check_codes,
    check_device,
    check_integer,
    check_matrix,
    check_values,
    dtype_name,
)
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.declaration import declare
from fasthash.ops.registry import Kernel, cpu_kernels

KERNELS = {
    "reference": Kernel("fasthash.ops.packing.reference", ("cpu", "cuda")),
    **cpu_kernels("fasthash.ops.packing.kernel_cpu"),
    "numba": Kernel("fasthash.ops.packing.kernel_numba", ("cpu",), package="numba"),
    "triton": Kernel("fasthash.ops.packing.kernel_triton", ("cuda",), package="triton"),
}

BIT_ORDERS = ("little", "big")
FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
DTYPES = (*FLOATING, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def pack_bits(x: Array, *, bitorder: str = "little", kernel: str | None = None) -> Array:
    """Pack the signs of real embeddings into bits.

    Bit i of a row is 1 where `x[:, i] > 0`, stored in byte `i // 8` at position `i % 8`, as NumPy's "little" order and
    FAISS have it. The spare bits of the last byte are 0. Everything that reads bits takes this order; codes of the
    other are for other libraries (see `fasthash.to_hashes`, which has more forms).

    Args:
        x: [n, b] of any floating-point dtype, bool, uint8 or signed integers, on a CPU or CUDA device.
        bitorder: "little", or "big", where bit i is at position `7 - i % 8`, the default of NumPy's `packbits`.
        kernel: a name from `fasthash.ops.packing.KERNELS`; by default the best one for the device.

    Returns:
        uint8 [n, ceil(b / 8)], a tensor if `x` is one, else a NumPy array.

    Raises:
        TypeError: if the dtype of `x` cannot be packed.
        ValueError: if `x` is not two-dimensional or holds a NaN.
    """
    tensor = to_tensor("pack_bits", "x", x)
    if tensor.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"pack_bits: expected x of dtype {names}, got {dtype_name(tensor)}")
    check_matrix("pack_bits", "x", tensor, "b")
    check_choice("pack_bits", "bitorder", bitorder, BIT_ORDERS)
    codes = pack_bits_op(tensor, kernel=kernel)
    return as_given(codes if bitorder == "little" else reversed_bits(codes), x)


def pack_projections(
    x: Array,
    projection: Array,
    offset: Array | None = None,
    *,
    bitorder: str = "little",
    kernel: str | None = None,
) -> Array:
    """Pack which side of each of b hyperplanes real embeddings lie on, without storing the projections.

    Bit i of a row is 1 where `(x @ projection)[:, i] > offset[i]`, in the order of `pack_bits`. The product is computed
    in float64 where `x` is float64, else in float32, on a GPU too. Kernels and processor levels round differently, so
    a projection within rounding of its offset may get either bit.

    Args:
        x: [n, d] of float32, float64, float16 or bfloat16, any strides, on a CPU or CUDA device.
        projection: [d, b] of any floating-point dtype, b from 1 to 4,096, on the device of `x`; converted to the dtype
            of the product.
        offset: [b], as `projection`; zeros by default.
        bitorder: of the codes, as in `pack_bits`.
        kernel: a name from `fasthash.ops.packing.KERNELS`; by default the best one for the device.

    Returns:
        uint8 [n, ceil(b / 8)], a tensor if `x` is one, else a NumPy array.

    Raises:
        TypeError: if an argument is not floating-point.
        ValueError: if shapes or devices do not fit, or `x @ projection - offset` holds a NaN.
    """
    tensor = _floating("x", x)
    check_matrix("pack_projections", "x", tensor, "d")
    d = tensor.shape[1]
    hyperplanes = _floating("projection", projection)
    if hyperplanes.ndim != 2 or hyperplanes.shape[0] != d or not 1 <= hyperplanes.shape[1] <= MAX_BITS:
        raise ValueError(
            f"pack_projections: expected projection of shape [{d}, b], as x has {d} columns, b from 1 to {MAX_BITS}, "
            f"got {list(hyperplanes.shape)}"
        )
    check_device("pack_projections", "projection", hyperplanes, tensor.device)
    thresholds = None
    if offset is not None:
        thresholds = _floating("offset", offset)
        if list(thresholds.shape) != [hyperplanes.shape[1]]:
            raise ValueError(
                f"pack_projections: expected offset of shape [{hyperplanes.shape[1]}], one for each column of "
                f"projection, got {list(thresholds.shape)}"
            )
        check_device("pack_projections", "offset", thresholds, tensor.device)
    check_choice("pack_projections", "bitorder", bitorder, BIT_ORDERS)
    codes = sides("pack_projections", tensor, hyperplanes, thresholds, kernel)
    return as_given(codes if bitorder == "little" else reversed_bits(codes), x)


def sides(
    where: str, x: torch.Tensor, projection: torch.Tensor, offset: torch.Tensor | None, kernel: str | None = None
) -> torch.Tensor:
    """Return what `pack_projections` does for tensors that are checked; errors begin with `where`."""
    product = torch.float64 if x.dtype == torch.float64 else torch.float32
    thresholds = None if offset is None else offset.to(product)
    codes: torch.Tensor = pack_projections_op(x, projection.to(product), thresholds, kernel=kernel, where=where)
    return codes


def _floating(name: str, x: Array) -> torch.Tensor:
    tensor = to_tensor("pack_projections", name, x)
    if tensor.dtype not in FLOATING:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in FLOATING)
        raise TypeError(f"pack_projections: expected {name} of dtype {names}, got {dtype_name(tensor)}")
    return tensor


def unpack_bits(codes: Array, n_bits: int, *, bitorder: str = "little") -> Array:
    """Unpack codes to -1 and +1.

    Args:
        codes: uint8 [n, ceil(n_bits / 8)], as `pack_bits` makes them.
        n_bits: the number of bits a code has, 1 to 4,096.
        bitorder: of the codes, as in `pack_bits`.

    Returns:
        float32 [n, n_bits] of -1 and +1, a tensor if `codes` is one, else a NumPy array.

    Raises:
        TypeError: if `codes` is not uint8.
        ValueError: if `codes` is not as wide as `n_bits` asks.
    """
    tensor = to_tensor("unpack_bits", "codes", codes)
    check_codes("unpack_bits", "codes", tensor)
    check_values("unpack_bits", "codes", tensor)
    n_bits = check_integer("unpack_bits", "n_bits", n_bits, 1, MAX_BITS)
    if tensor.shape[1] != (n_bits + 7) // 8:
        raise ValueError(
            f"unpack_bits: expected codes of {(n_bits + 7) // 8} bytes a row for {n_bits} bits, got {tensor.shape[1]}"
        )
    check_choice("unpack_bits", "bitorder", bitorder, BIT_ORDERS)
    return as_given(unpacked(tensor if bitorder == "little" else reversed_bits(tensor), n_bits), codes)


def reversed_bits(codes: torch.Tensor) -> torch.Tensor:
    """Return uint8 codes with the bits of each byte in the other order."""
    for shift, mask in ((4, 0x0F), (2, 0x33), (1, 0x55)):
        codes = ((codes >> shift) & mask) | ((codes & mask) << shift)
    return codes


def unpacked(codes: torch.Tensor, n_bits: int) -> torch.Tensor:
    """Return what `unpack_bits` does for codes that are checked."""
    positions = torch.arange(8, device=codes.device)
    of_byte = (torch.arange(256, device=codes.device)[:, None] >> positions & 1).to(torch.float32) * 2 - 1  # [256, 8]
    return torch.nn.functional.embedding(codes.int(), of_byte).flatten(1)[:, :n_bits].contiguous()


def _pack_bits_fake(x: torch.Tensor) -> torch.Tensor:
    return x.new_empty((x.shape[0], (x.shape[1] + 7) // 8), dtype=torch.uint8)


def _pack_projections_fake(x: torch.Tensor, projection: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
    return x.new_empty((x.shape[0], (projection.shape[1] + 7) // 8), dtype=torch.uint8)


pack_bits_op = declare("pack_bits(Tensor x) -> Tensor", KERNELS, _pack_bits_fake)
pack_projections_op = declare(
    "pack_projections(Tensor x, Tensor projection, Tensor? offset) -> Tensor", KERNELS, _pack_projections_fake
)
