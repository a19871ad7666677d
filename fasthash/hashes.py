"""Packed codes from and to the forms in which other libraries hold them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fasthash.columns import listed_texts
from fasthash.errors import (
    MAX_BITS,
    check_choice,
    check_codes,
    check_integer,
    check_matrix,
    check_values,
    dtype_name,
    naming_memory,
)
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.packing.op import BIT_ORDERS, pack_bits_op, reversed_bits

Bytes = NDArray[np.uint8]

FORMS = ("uint8", "int8", "uint64", "hex", "int")


@naming_memory("from_hashes")
def from_hashes(hashes: Array | Sequence[Any], n_bits: int | None = None, *, bitorder: str = "big") -> Array:
    """Return the packed codes, as `pack_bits` makes them, of hashes that other libraries made.

    Distances do not depend on the order of bits, as long as it is one; what reads bits does. The order is that of the
    bits of a number or a byte: in "big" the first bit is the most significant one, in "little" the least.

    Args:
        hashes: arrays or tensors
            - uint8 [n, bytes]: NumPy's `packbits`, of which "big" is the default order, and sentence-transformers'
              "ubinary";
            - int8 [n, bytes]: sentence-transformers' "binary", which is "ubinary" less 128;
            - uint16, uint32, uint64 [n], numbers, or [n, words], the last word being the number of the bits that are
              left; int64 as the two's complement of uint64, as databases have it;
            - bool [n, bits], bit by bit;
            or lists
            - of hexadecimal strings, equally long, of either case, with 0x or without. In "big" order they are numbers,
              as imagehash's `str` and PDQ's 64 digits; in "little" order bytes from left to right (`code.tobytes()
              .hex()`, and imagehash's before version 4);
            - of Python's integers, which need `n_bits`;
            - of bytes, equally long;
            - of `imagehash.ImageHash`, or anything else with a boolean array `hash`.
        n_bits: how many bits a hash has, 1 to 4,096; by default as many as there is room for. Room beyond must be 0:
            in numbers the most significant bits, in bytes the end of the last.
        bitorder: "big" or "little".

    Returns:
        uint8 [n, ceil(n_bits / 8)], a tensor if `hashes` is one, else a NumPy array. Tensors on a GPU go by the CPU.

    Raises:
        TypeError: if `hashes` is none of these; the message names the element.
        ValueError: if an element is not as long as the others or as `n_bits`, or an argument not as described.

    Source: `quantize_embeddings` of sentence-transformers: `np.packbits(x > 0)`, less 128 for "binary"; imagehash's
    `_binary_array_to_hex`: `int(bits, 2)` in ceil(n_bits / 4) digits; ThreatExchange's `pdq_utils.hex_to_binary_str`.
    """
    where = "from_hashes"
    check_choice(where, "bitorder", bitorder, BIT_ORDERS)
    if n_bits is not None:
        n_bits = check_integer(where, "n_bits", n_bits, 1, MAX_BITS)
    hashes = listed_texts(f"{where}: expected hashes", hashes)
    if isinstance(hashes, np.ndarray) and hashes.dtype.kind in "OU" and hashes.ndim == 1:
        hashes = hashes.tolist()
    if isinstance(hashes, (list, tuple)):
        return _of_list(where, hashes, n_bits, bitorder)
    x = to_tensor(where, "hashes", hashes)
    check_values(where, "hashes", x)
    return as_given(torch.from_numpy(_of_array(where, x.cpu(), n_bits, bitorder)).to(x.device), hashes)


@naming_memory("to_hashes")
def to_hashes(codes: Array, form: str, n_bits: int | None = None, *, bitorder: str = "big") -> Array | list[Any]:
    """Return packed codes in a form that other libraries read; `from_hashes` is the way back.

    Args:
        codes: uint8 [n, ceil(n_bits / 8)], as `pack_bits` makes them.
        form: "uint8", NumPy's `packbits` and sentence-transformers' "ubinary", [n, ceil(n_bits / 8)]; "int8", its
            "binary", the same less 128; "uint64", numbers [n] for up to 64 bits, else words [n, ceil(n_bits / 64)];
            "hex", a list of strings; "int", a list of Python's integers.
        n_bits: how many bits a code has, by default 8 a byte.
        bitorder: "big", the first bit being the most significant one of its number or byte, or "little".

    Returns:
        A new array of the form, a tensor if `codes` is one, or a list. Tensors on a GPU go by the CPU.

    Raises:
        TypeError: if `codes` is not uint8.
        ValueError: if `codes` is not as wide as `n_bits` asks, has a bit beyond, or an argument is not as described.
    """
    where = "to_hashes"
    x = to_tensor(where, "codes", codes)
    check_codes(where, "codes", x)
    check_values(where, "codes", x)
    check_choice(where, "form", form, FORMS)
    check_choice(where, "bitorder", bitorder, BIT_ORDERS)
    width = x.shape[1]
    n_bits = 8 * width if n_bits is None else check_integer(where, "n_bits", n_bits, 1, MAX_BITS)
    if width != (n_bits + 7) // 8:
        raise ValueError(f"{where}: expected codes of {(n_bits + 7) // 8} bytes a row for {n_bits} bits, got {width}")
    _check_room(where, "codes", x.cpu().numpy()[:, -1] >> (n_bits - 8 * (width - 1)) if n_bits % 8 else None, n_bits)
    ordered = reversed_bits(x).cpu().numpy() if bitorder == "big" else np.array(x.cpu().numpy())
    if form in ("uint8", "int8"):
        found = ordered if form == "uint8" else (ordered ^ 0x80).view(np.int8)
        return as_given(torch.from_numpy(found).to(x.device), codes)
    if form == "uint64":
        words = [
            _numbers(ordered[:, start // 8 : (start + 64) // 8], min(64, n_bits - start), bitorder)
            for start in range(0, n_bits, 64)
        ]
        found = np.stack(words, axis=1) if len(words) > 1 else words[0]
        return as_given(torch.from_numpy(found).to(x.device), codes)
    rows = _moved_right(ordered, -n_bits % 8) if bitorder == "big" else ordered
    if form == "int":
        return [int.from_bytes(row, bitorder) for row in map(bytes, rows)]  # type: ignore[arg-type]
    n_digits = (n_bits + 3) // 4 if bitorder == "big" else 2 * width
    return [row.hex()[-n_digits:] for row in map(bytes, rows)]


def _of_array(where: str, x: torch.Tensor, n_bits: int | None, bitorder: str) -> Bytes:
    dtype = dtype_name(x)
    if dtype in ("uint8", "int8", "bool"):
        check_matrix(where, "hashes", x, "bits" if dtype == "bool" else "bytes")
        if dtype == "bool":
            _room(where, "hashes", x.shape[1], n_bits, "bits")
            codes: Bytes = pack_bits_op(x, where=where).numpy()
            return codes
        stored = x if dtype == "uint8" else x.view(torch.uint8) ^ 0x80
        return _of_bytes(where, stored.numpy(), n_bits, bitorder)
    if dtype == "int64":
        x, dtype = x.view(torch.uint64), "uint64"
    if dtype not in ("uint16", "uint32", "uint64"):
        raise TypeError(
            f"{where}: expected hashes of dtype uint8 or int8 [n, bytes], uint16, uint32, uint64 or int64 [n] or "
            f"[n, words], or bool [n, bits], got {dtype}"
        )
    if x.ndim not in (1, 2):
        raise ValueError(f"{where}: expected hashes of shape [n] or [n, words], got {list(x.shape)}")
    words: NDArray[Any] = (x[:, None] if x.ndim == 1 else x).contiguous().numpy()
    size, n_words = words.itemsize, words.shape[1]
    n_bits = _room(where, "hashes", 8 * size * n_words, n_bits, "bits", at_least=8 * size)
    content = words.astype(words.dtype.newbyteorder("<" if bitorder == "little" else ">")).view(np.uint8)
    last = _aligned(where, content[:, -size:], n_bits - 8 * size * (n_words - 1), bitorder)
    begun: Bytes = np.hstack([content[:, :-size], last])
    return _reversed(begun) if bitorder == "big" else begun


def _of_list(where: str, hashes: Sequence[Any], n_bits: int | None, bitorder: str) -> Bytes:
    if len(hashes) == 0:
        if n_bits is None:
            raise ValueError(f"{where}: expected n_bits for an empty list of hashes, got none")
        return np.empty((0, (n_bits + 7) // 8), np.uint8)
    first = hashes[0]
    for kind, is_one, read in _ELEMENTS:
        if is_one(first):
            for i, each in enumerate(hashes):
                if not is_one(each):
                    got = type(each).__name__
                    raise TypeError(f"{where}: expected hashes[{i}] to be {kind}, as hashes[0] is, got {got}")
            return read(where, hashes, n_bits, bitorder)
    raise TypeError(
        f"{where}: expected hashes to be an array or a list of hexadecimal strings, bytes, integers or objects with a "
        f"boolean array hash, got {type(first).__name__} as hashes[0]"
    )


def _is_string(x: Any) -> bool:
    return isinstance(x, str)


def _is_bytes(x: Any) -> bool:
    return isinstance(x, (bytes, bytearray))


def _has_bits(x: Any) -> bool:
    bits = getattr(x, "hash", None)
    return isinstance(bits, np.ndarray) and bits.dtype == np.bool_


def _is_integer(x: Any) -> bool:
    try:
        operator.index(x)
    except (TypeError, RuntimeError):
        return False
    return True


def _of_hex(where: str, hashes: Sequence[str], n_bits: int | None, bitorder: str) -> Bytes:
    digits = [x[2:] if x[:2] in ("0x", "0X") else x for x in hashes]
    n_digits = len(digits[0])
    if n_bits is not None:
        n_digits = (n_bits + 3) // 4 if bitorder == "big" else (n_bits + 7) // 8 * 2
    _check_lengths(where, digits, n_digits, "hexadecimal digits")
    if n_digits % 2 and bitorder == "little":
        raise ValueError(f"{where}: expected hashes of whole bytes in little bitorder, got {n_digits} digits")
    n_bits = _room(where, "hashes", 4 * n_digits, n_bits, "bits", at_least=8)
    whole = digits if n_digits % 2 == 0 else [f"0{x}" for x in digits]
    try:
        content = bytes.fromhex("".join(whole))
        complete = 2 * len(content) == sum(map(len, whole))
    except ValueError:
        complete = False
    if not complete:
        i = next(i for i, x in enumerate(digits) if not set(x) <= set("0123456789abcdefABCDEF"))
        raise ValueError(f"{where}: expected hashes of hexadecimal digits, got {hashes[i]!r} as hashes[{i}]")
    stored = np.frombuffer(content, np.uint8).reshape(len(hashes), -1)
    return _of_bytes(where, stored, n_bits, bitorder) if bitorder == "little" else _of_number(where, stored, n_bits)


def _of_bytes_list(where: str, hashes: Sequence[bytes], n_bits: int | None, bitorder: str) -> Bytes:
    _check_lengths(where, hashes, len(hashes[0]) if n_bits is None else (n_bits + 7) // 8, "bytes")
    return _of_bytes(where, np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), -1), n_bits, bitorder)


def _of_objects(where: str, hashes: Sequence[Any], n_bits: int | None, bitorder: str) -> Bytes:
    rows = [x.hash.reshape(-1) for x in hashes]
    _check_lengths(where, rows, len(rows[0]) if n_bits is None else n_bits, "bits")
    return _of_array(where, torch.from_numpy(np.stack(rows)), n_bits, bitorder)


def _of_integers(where: str, hashes: Sequence[Any], n_bits: int | None, bitorder: str) -> Bytes:
    if n_bits is None:
        raise ValueError(f"{where}: expected n_bits, which a list of integers does not tell, got none")
    numbers = list(map(operator.index, hashes))
    if min(numbers) < 0 or max(numbers) >> n_bits:
        i = next(i for i, x in enumerate(numbers) if x < 0 or x >> n_bits)
        raise ValueError(
            f"{where}: expected hashes from 0 to 2^{n_bits} - 1 for n_bits, got {numbers[i]} as hashes[{i}]"
        )
    n_bytes = (n_bits + 7) // 8
    order: Any = bitorder
    content = b"".join([x.to_bytes(n_bytes, order) for x in numbers])
    stored = np.frombuffer(content, np.uint8).reshape(len(numbers), n_bytes)
    return stored.copy() if bitorder == "little" else _of_number(where, stored, n_bits)


_Reader = Callable[[str, Sequence[Any], int | None, str], Bytes]
_ELEMENTS: tuple[tuple[str, Callable[[Any], bool], _Reader], ...] = (
    ("a string", _is_string, _of_hex),
    ("bytes", _is_bytes, _of_bytes_list),
    ("an object with a boolean array hash", _has_bits, _of_objects),
    ("an integer", _is_integer, _of_integers),
)


def _of_number(where: str, stored: Bytes, n_bits: int) -> Bytes:
    """Return the codes of numbers of `n_bits` bits, whose bytes begin with the most significant."""
    return _reversed(_aligned(where, stored, n_bits, "big"))


def _of_bytes(where: str, stored: Bytes, n_bits: int | None, bitorder: str) -> Bytes:
    """Return the codes of bytes [n, bytes] that begin with the first bit."""
    n_bits = _room(where, "hashes", 8 * stored.shape[1], n_bits, "bits", at_least=8)
    spare = -n_bits % 8
    last = stored[:, -1]
    beyond = last & ((1 << spare) - 1) if bitorder == "big" else last >> (8 - spare) if spare else None
    _check_room(where, "hashes", beyond, n_bits)
    return _reversed(stored) if bitorder == "big" else np.array(stored)


def _aligned(where: str, stored: Bytes, n_bits: int, bitorder: str) -> Bytes:
    """Return the bytes of numbers without their spare most significant bits, so that they begin with the first bit."""
    n_bytes = (n_bits + 7) // 8
    cut = stored.shape[1] - n_bytes
    kept, dropped = (
        (stored[:, cut:], stored[:, :cut]) if bitorder == "big" else (stored[:, :n_bytes], stored[:, n_bytes:])
    )
    spare = 8 * n_bytes - n_bits
    top = kept[:, 0 if bitorder == "big" else -1] >> (8 - spare) if spare else np.zeros(len(kept), np.uint8)
    _check_room(where, "hashes", top | dropped.any(axis=1), n_bits)
    if spare == 0 or bitorder == "little":
        return kept
    moved: Bytes = kept << np.uint8(spare)
    moved[:, :-1] |= kept[:, 1:] >> (8 - spare)
    return moved


def _moved_right(stored: Bytes, spare: int) -> Bytes:
    """Return bytes that begin with the first bit as those of a number, the spare bits before it."""
    if spare == 0:
        return stored
    moved: Bytes = stored >> np.uint8(spare)
    moved[:, 1:] |= stored[:, :-1] << (8 - spare)
    return moved


def _numbers(ordered: Bytes, n_bits: int, bitorder: str) -> NDArray[np.uint64]:
    """Return the numbers of up to 64 bits that are in bytes."""
    stored = np.zeros((len(ordered), 8), np.uint8)
    if bitorder == "big":
        stored[:, 8 - ordered.shape[1] :] = _moved_right(ordered, -n_bits % 8)
        return stored.view(">u8")[:, 0].astype(np.uint64)
    stored[:, : ordered.shape[1]] = ordered
    return stored.view("<u8")[:, 0].astype(np.uint64)


def _reversed(stored: Bytes) -> Bytes:
    """Return each byte with its bits in the other order."""
    codes: Bytes = reversed_bits(torch.from_numpy(np.array(stored))).numpy()
    return codes


def _room(where: str, name: str, room: int, n_bits: int | None, what: str, at_least: int = 1) -> int:
    """Return how many bits hashes have, or raise unless that is how many there is room for, but for `at_least` - 1."""
    if n_bits is None:
        if not 1 <= room <= MAX_BITS:
            raise ValueError(f"{where}: expected {name} of 1 to {MAX_BITS} {what}, got {room}")
        return room
    if not 0 <= room - n_bits < at_least:
        raise ValueError(f"{where}: expected {name} with room for n_bits = {n_bits} and no more, got {room} {what}")
    return n_bits


def _check_lengths(where: str, elements: Sequence[Any], length: int, what: str) -> None:
    if set(map(len, elements)) != {length}:
        i = next(i for i, x in enumerate(elements) if len(x) != length)
        raise ValueError(f"{where}: expected hashes of {length} {what} each, got {len(elements[i])} in hashes[{i}]")


def _check_room(where: str, name: str, beyond: NDArray[Any] | None, n_bits: int) -> None:
    """Raise if a row has something beyond its bits."""
    if beyond is not None and beyond.any():
        i = int(beyond.nonzero()[0][0])
        raise ValueError(f"{where}: expected {name} with 0 beyond their {n_bits} n_bits, got a 1 in {name}[{i}]")
