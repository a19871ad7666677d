"""What codes look like, without labels: how far outputs are from their signs, and how evenly bits are used."""

from __future__ import annotations

import torch

from fasthash.errors import (
    MAX_BITS,
    check_choice,
    check_codes,
    check_floating,
    check_integer,
    check_matrix,
    check_values,
)
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.packing.op import BIT_ORDERS, reversed_bits


def quantization_angle(u: Array) -> float:
    """Return the mean angle between real outputs and their signs, in radians.

    Args:
        u: [n, m] of any floating-point dtype, n and m at least 1; a row of zeros has no angle, and the result is NaN.

    Raises:
        TypeError: if `u` is not floating-point.
        ValueError: if `u` is not a matrix with at least one row and one column.

    Source: Doan, Yang, Li, "One Loss for Quantization", 2022, figure 5.
    """
    x = to_tensor("quantization_angle", "u", u)
    check_floating("quantization_angle", "u", x, minimum_bytes=1)
    check_values("quantization_angle", "u", x)
    check_matrix("quantization_angle", "u", x, "m")
    if 0 in x.shape:
        raise ValueError(f"quantization_angle: expected u with at least one row and one column, got {list(x.shape)}")
    x = x.detach().double()
    cosines = x.abs().sum(dim=1) / (x.norm(dim=1) * x.shape[1] ** 0.5)
    return float(cosines.clamp(max=1).arccos().mean())


def bit_entropy(codes: Array, n_bits: int | None = None, *, bitorder: str = "little") -> Array:
    """Return the entropy of each bit over the codes: 1 where it is 0 and 1 as often, 0 where it is constant.

    Args:
        codes: packed codes, uint8 [n, n_bits / 8], n at least 1.
        n_bits: how many bits a code has, where they do not fill the last byte.
        bitorder: of the codes, as in `fasthash.pack_bits`.

    Returns:
        float64 [n_bits], in bits.

    Raises:
        TypeError: if `codes` is not uint8.
        ValueError: if `codes` has no row, or not room for `n_bits`.

    Source: Doan, Yang, Li, "One Loss for Quantization", 2022, figure 5.
    """
    x = to_tensor("bit_entropy", "codes", codes)
    check_codes("bit_entropy", "codes", x)
    check_values("bit_entropy", "codes", x)
    room = 8 * x.shape[1]
    n_bits = room if n_bits is None else check_integer("bit_entropy", "n_bits", n_bits, 1, min(room, MAX_BITS))
    if x.shape[0] == 0:
        raise ValueError("bit_entropy: expected codes with at least one row, got none")
    check_choice("bit_entropy", "bitorder", bitorder, BIT_ORDERS)
    x = x if bitorder == "little" else reversed_bits(x)
    ones = torch.stack([(x >> i & 1).sum(dim=0) for i in range(8)], dim=1).flatten()[:n_bits]
    share = ones.double() / x.shape[0]
    return as_given(
        torch.special.entr(torch.stack([share, 1 - share])).sum(dim=0) / torch.log(share.new_tensor(2)), codes
    )
