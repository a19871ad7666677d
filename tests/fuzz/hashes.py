"""Sound calls of what turns codes into other libraries' forms and back."""

from __future__ import annotations

from random import Random

import numpy as np
import torch

from fasthash.hashes import FORMS
from tests.fuzz.calls import Call, option, same_form, target
from tests.fuzz.values import array, at_least_one, numbers, seed
from tests.test_hashes import in_form

N_BITS = (1, 7, 8, 12, 16, 32, 60, 64, 70, 128, 130)


@target("fasthash.to_hashes")
def to_hashes(r: Random) -> Call:
    def check(result, codes, form, n_bits=None, bitorder="big"):
        n_bits = 8 * np.shape(codes)[1] if n_bits is None else int(n_bits)
        x = np.unpackbits(numbers(codes), axis=1, bitorder="little")[:, :n_bits].astype(bool)
        if len(x) == 0:
            assert len(result) == 0
            return
        expected = in_form(x, form, bitorder)
        if isinstance(expected, list):
            assert result == expected
        else:
            same_form(result, codes)
            np.testing.assert_array_equal(numbers(result), expected)

    n_bits = r.choice(N_BITS)
    arguments = {"codes": array(r, f"bits({seed(r)}, {at_least_one(r)}, {n_bits})"), "form": repr(r.choice(FORMS))}
    arguments |= {"n_bits": str(n_bits), **option(r, {"bitorder": "'little'"})}
    return Call("fh.to_hashes", "to_hashes", arguments, check, arrays=("codes",))


def number_bits(value, n_bits, order):
    bits = [value >> i & 1 for i in range(n_bits)]
    return bits[::-1] if order == "big" else bits


def bits_of(element, n_bits, order):
    """The bits of one hash in plain Python, the first first."""
    if isinstance(element, str):
        digits = element.lower().removeprefix("0x")
        n_bits = n_bits or 4 * len(digits)
        whole = int(digits, 16) if order == "big" else int.from_bytes(bytes.fromhex(digits), "little")
        return number_bits(whole, n_bits, order)
    if isinstance(element, np.ndarray) and element.dtype in (np.uint8, np.int8, bool):
        if element.dtype == bool:
            return element.tolist()
        stored = (element.astype(int) + 128 * (element.dtype == np.int8)).astype(np.uint8)
        return np.unpackbits(stored, bitorder=order)[:n_bits].tolist()
    if isinstance(element, np.ndarray | np.generic):
        words = np.atleast_1d(element)
        width, bits = 8 * words.itemsize, []
        n_bits = n_bits or width * len(words)
        for i, word in enumerate(words.tolist()):
            bits += number_bits(word % 2**width, min(width, n_bits - width * i), order)
        return bits
    return number_bits(int(element), n_bits, order)


@target("fasthash.from_hashes")
def from_hashes(r: Random) -> Call:
    def check(result, hashes, n_bits=None, bitorder="big"):
        assert isinstance(result, torch.Tensor) == isinstance(hashes, torch.Tensor)
        elements = hashes if isinstance(hashes, list | tuple) else list(numbers(hashes))
        assert len(result) == len(elements)
        if len(elements):
            bits = [bits_of(x, None if n_bits is None else int(n_bits), bitorder) for x in elements]
            expected = np.packbits(np.array(bits, bool), axis=1, bitorder="little")
            np.testing.assert_array_equal(numbers(result), expected)

    n_bits, form, order = r.choice(N_BITS), r.choice(FORMS), r.choice(("big", "little"))
    made = f"fh.to_hashes(bits({seed(r)}, {at_least_one(r)}, {n_bits}), {form!r}, {n_bits}, bitorder={order!r})"
    arguments = {"hashes": array(r, made) if form in FORMS[:3] else made, "n_bits": str(n_bits)}
    if order == "little" or r.random() < 0.5:
        arguments["bitorder"] = repr(order)
    arrays = ("hashes",) if form in FORMS[:3] else ()
    return Call("fh.from_hashes", "from_hashes", arguments, check, arrays=arrays)
