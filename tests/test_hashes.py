"""Codes from and to the forms of other libraries, beside NumPy's packbits and plain Python."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.evaluate import bit_entropy
from fasthash.hashes import FORMS

ORDERS = ("big", "little")
N_BITS = st.one_of(st.integers(1, 70), st.sampled_from((128, 130, 256)))


@st.composite
def bits(draw):
    shape = draw(st.integers(1, 4)), draw(N_BITS)
    return np.random.default_rng(draw(st.integers(0, 1 << 16))).integers(0, 2, shape).astype(bool)


def number(row, order):
    """The number of bits: in "big" order the first is the most significant."""
    return sum(int(bit) << i for i, bit in enumerate(row[::-1] if order == "big" else row))


def in_form(x, form, order):
    """The hashes of bits, bool [n, b], in plain Python."""
    numbers = [number(row, order) for row in x]
    if form == "int":
        return numbers
    if form == "hex":
        n_digits = -(-x.shape[1] // 4) if order == "big" else 2 * -(-x.shape[1] // 8)
        if order == "big":
            return [f"{each:0{n_digits}x}" for each in numbers]
        return [each.to_bytes(n_digits // 2, "little").hex() for each in numbers]
    if form == "uint64":
        words = [[number(row[i : i + 64], order) for i in range(0, len(row), 64)] for row in x]
        words = np.array(words, np.uint64)
        return words[:, 0] if words.shape[1] == 1 else words
    stored = np.packbits(x, axis=1, bitorder=order)
    return stored if form == "uint8" else (stored.astype(int) - 128).astype(np.int8)


@given(bits())
def test_every_form_there_and_back(x):
    codes, n_bits = fh.pack_bits(x), x.shape[1]
    for form in FORMS:
        for order in ORDERS:
            expected = in_form(x, form, order)
            found = fh.to_hashes(codes, form, n_bits, bitorder=order)
            if isinstance(expected, list):
                assert found == expected
            else:
                assert found.dtype == expected.dtype
                np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(fh.from_hashes(found, n_bits, bitorder=order), codes)
    if n_bits % 8 == 0:
        for form in ("uint8", "int8", "hex"):
            np.testing.assert_array_equal(fh.from_hashes(fh.to_hashes(codes, form)), codes)
    if n_bits % 64 == 0:
        np.testing.assert_array_equal(fh.from_hashes(fh.to_hashes(codes, "uint64")), codes)
        np.testing.assert_array_equal(fh.from_hashes(fh.to_hashes(codes, "uint64").view(np.int64)), codes)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy])
def test_what_comes_is_the_caller_s_to_write_to(rng, as_given, order):
    stored = rng.integers(0, 256, (5, 8), dtype=np.uint8)
    codes = fh.from_hashes(stored, bitorder=order)
    forms = {"uint8": stored, "int8": (stored ^ 0x80).view(np.int8), "uint64": stored.view(np.int64)}
    found = {form: fh.to_hashes(as_given(codes), form, bitorder=order) for form in ("uint8", "int8", "uint64")}
    read = [fh.from_hashes(as_given(x), bitorder=order) for x in forms.values()]
    for array in (*found.values(), *read):
        assert not np.shares_memory(array, codes)
        assert not any(np.shares_memory(array, x) for x in forms.values())
    frozen = codes.copy()
    frozen.flags.writeable = False
    assert fh.to_hashes(frozen, "uint8", bitorder=order).flags.writeable


@given(bits())
def test_bits_are_those_of_sentence_transformers(x):
    """By the formulas of its `quantize_embeddings`; a last byte that is not full ends in zeros."""
    embeddings = np.where(x, 0.5, -0.5)
    ubinary = np.packbits(embeddings > 0, axis=-1)
    binary = (np.packbits(embeddings > 0, axis=-1) - 128).astype(np.int8)
    codes, d = fh.pack_bits(embeddings), x.shape[1]
    for quantized, form in ((ubinary, "uint8"), (binary, "int8")):
        np.testing.assert_array_equal(fh.from_hashes(quantized, d), codes)
        found = fh.to_hashes(codes, form, d)
        assert found.dtype == quantized.dtype
        np.testing.assert_array_equal(found, quantized)


@given(bits())
def test_forms_of_bits(x):
    codes = fh.pack_bits(x)
    objects = [SimpleNamespace(hash=row.reshape(1, -1)) for row in x]
    for order in ORDERS:
        np.testing.assert_array_equal(fh.from_hashes(x, bitorder=order), codes)
        np.testing.assert_array_equal(fh.from_hashes(objects, bitorder=order), codes)
        stored = [bytes(row) for row in np.packbits(x, axis=1, bitorder=order)]
        np.testing.assert_array_equal(fh.from_hashes(stored, x.shape[1], bitorder=order), codes)


@given(bits())
def test_bits_are_read_and_made_in_either_order(x):
    for order in ORDERS:
        stored = np.packbits(x, axis=1, bitorder=order)
        np.testing.assert_array_equal(fh.pack_bits(x, bitorder=order), stored)
        np.testing.assert_array_equal(fh.unpack_bits(stored, x.shape[1], bitorder=order) > 0, x)
        projected = fh.pack_projections(x * 2.0 - 1, np.eye(x.shape[1]), bitorder=order)
        np.testing.assert_array_equal(projected, stored)
        entropies = bit_entropy(stored, x.shape[1], bitorder=order)
        np.testing.assert_array_equal(entropies, bit_entropy(fh.pack_bits(x), x.shape[1]))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "int64"])
def test_arrays_of_numbers(dtype):
    numbers = [0, 1, 0x0A3F, 0x7FFF]
    for order in ORDERS:
        codes = fh.from_hashes(np.array(numbers, dtype), 15, bitorder=order)
        np.testing.assert_array_equal(codes, fh.from_hashes(numbers, 15, bitorder=order))
        np.testing.assert_array_equal(fh.from_hashes(np.array(numbers, dtype)[::-1], 15, bitorder=order), codes[::-1])
    assert fh.from_hashes(np.array([], dtype), 15).shape == (0, 2)


def test_two_to_the_64_less_one_is_minus_one_of_int64():
    np.testing.assert_array_equal(fh.from_hashes(np.array([-1, -2])), fh.from_hashes([2**64 - 1, 2**64 - 2], 64))


def test_hexadecimal_digits_of_either_case_with_a_prefix_or_without():
    digits = ["0xFF0a", "0Xff0A", "ff0a", "FF0A"]
    assert np.unique(fh.from_hashes(digits), axis=0).tolist() == [[0xFF, 0x50]]
    np.testing.assert_array_equal(fh.from_hashes(np.array(["ff0a", "0001"])), fh.from_hashes(["ff0a", "0001"]))
    assert fh.from_hashes([], 12).shape == (0, 2)


@pytest.mark.parametrize("form", ["uint8", "int8", "uint64"])
def test_tensors_give_tensors(form):
    x = np.random.default_rng(0).integers(0, 2, (5, 70)).astype(bool)
    codes = fh.pack_bits(torch.from_numpy(x))
    found = fh.to_hashes(codes, form, 70)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), in_form(x, form, "big"))
    assert torch.equal(fh.from_hashes(found, 70), codes)


def test_the_guide_says_what_comes():
    """Its lines are calls, with the result first in the comment."""
    text = (Path(__file__).parents[1] / "docs" / "guides" / "embeddings.md").read_text()
    block = next(x for x in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "to_hashes" in x)
    names = {"fh": fh}
    for line in block.splitlines():
        call, _, comment = line.partition("  # ")
        name, _, value = call.rpartition(" = ")
        found = names[name] = eval(value, names)
        assert not comment or comment.split("  ")[0] == str(found if isinstance(found, list) else found.tolist())
    assert block.count("  # [") == 5


CODES = np.zeros((3, 2), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fh.from_hashes(None), TypeError, "from_hashes: expected hashes to be a numeric array, got NoneType"),
        (lambda: fh.from_hashes(CODES.astype(float)), TypeError, "from_hashes: expected hashes of dtype uint8 or int8"),
        (
            lambda: fh.from_hashes(CODES, 24),
            ValueError,
            "from_hashes: expected hashes with room for n_bits = 24 and no",
        ),
        (lambda: fh.from_hashes(CODES, 5), ValueError, "from_hashes: expected hashes with room for n_bits = 5 and no"),
        (
            lambda: fh.from_hashes(CODES + 1, 9),
            ValueError,
            "from_hashes: expected hashes with 0 beyond their 9 n_bits,",
        ),
        (
            lambda: fh.from_hashes(CODES, bitorder="<"),
            ValueError,
            "from_hashes: expected bitorder to be one of 'little'",
        ),
        (lambda: fh.from_hashes(CODES[0]), ValueError, "from_hashes: expected hashes of shape [n, bytes], got [2]"),
        (lambda: fh.from_hashes([]), ValueError, "from_hashes: expected n_bits for an empty list of hashes, got none"),
        (lambda: fh.from_hashes([1, 2]), ValueError, "from_hashes: expected n_bits, which a list of integers does not"),
        (
            lambda: fh.from_hashes([1, 4], 2),
            ValueError,
            "from_hashes: expected hashes from 0 to 2^2 - 1 for n_bits, got 4",
        ),
        (
            lambda: fh.from_hashes([1, -4], 2),
            ValueError,
            "from_hashes: expected hashes from 0 to 2^2 - 1 for n_bits, got -4",
        ),
        (
            lambda: fh.from_hashes([1, "a"], 2),
            TypeError,
            "from_hashes: expected hashes[1] to be an integer, as hashes[0]",
        ),
        (
            lambda: fh.from_hashes([1.5], 2),
            TypeError,
            "from_hashes: expected hashes to be an array or a list of hexadec",
        ),
        (
            lambda: fh.from_hashes(["ab", "a"]),
            ValueError,
            "from_hashes: expected hashes of 2 hexadecimal digits each, got 1",
        ),
        (
            lambda: fh.from_hashes(["ab", "a "]),
            ValueError,
            "from_hashes: expected hashes of hexadecimal digits, got 'a '",
        ),
        (lambda: fh.from_hashes(["abcd"], 20), ValueError, "from_hashes: expected hashes of 5 hexadecimal digits each"),
        (
            lambda: fh.from_hashes(["8"], 3),
            ValueError,
            "from_hashes: expected hashes with 0 beyond their 3 n_bits, got a 1",
        ),
        (
            lambda: fh.from_hashes(["abc"], bitorder="little"),
            ValueError,
            "from_hashes: expected hashes of whole bytes in",
        ),
        (
            lambda: fh.from_hashes([b"ab", b"a"]),
            ValueError,
            "from_hashes: expected hashes of 2 bytes each, got 1 in hashes[1]",
        ),
        (
            lambda: fh.from_hashes(np.uint16([1, 8]), 3),
            ValueError,
            "from_hashes: expected hashes with 0 beyond their 3 n_",
        ),
        (
            lambda: fh.from_hashes(CODES > 0, 15),
            ValueError,
            "from_hashes: expected hashes with room for n_bits = 15 and no more, got 2 bits",
        ),
        (lambda: fh.to_hashes(CODES, "base64"), ValueError, "to_hashes: expected form to be one of 'uint8', 'int8',"),
        (
            lambda: fh.to_hashes(CODES, "hex", 20),
            ValueError,
            "to_hashes: expected codes of 3 bytes a row for 20 bits, got 2",
        ),
        (
            lambda: fh.to_hashes(CODES + 128, "hex", 12),
            ValueError,
            "to_hashes: expected codes with 0 beyond their 12 n_bits",
        ),
        (lambda: fh.to_hashes(CODES.astype(int), "hex"), TypeError, "to_hashes: expected codes of dtype uint8"),
        (
            lambda: fh.pack_bits(CODES, bitorder="Big"),
            ValueError,
            "pack_bits: expected bitorder to be one of 'little', 'big'",
        ),
        (
            lambda: fh.unpack_bits(CODES, 16, bitorder=1),
            ValueError,
            "unpack_bits: expected bitorder to be one of 'little'",
        ),
    ],
)
def test_bad_hashes(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()
