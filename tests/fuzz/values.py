"""What calls are made of: sound arrays, the same in odd forms, and values that are wrong almost everywhere.

A value is written as the expression that makes it, so that a call can be printed and pasted.
"""

from __future__ import annotations

import atexit
import shutil
import warnings
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import numpy as np
import torch


def floats(seed, *shape, dtype=np.float32):
    """Values between which no comparison is within rounding of a tie."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def integers(seed, high, *shape, dtype=np.int64):
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def packed(seed, n, n_bytes):
    """Codes, many of them near each other."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, n_bytes), dtype=np.uint8) & rng.integers(0, 2, (n, n_bytes), dtype=np.uint8) * 255


def bits(seed, n, n_bits):
    """Codes whose spare bits are 0, some of them equal."""
    return np.packbits(integers(seed, 2, n, n_bits, dtype=bool), axis=1, bitorder="little")


def ids(seed, n):
    """Ids in no order, none twice."""
    return np.random.default_rng(seed).permutation(3 * n + 5)[:n].astype(np.int64)


def tensor(x):
    return torch.from_numpy(np.ascontiguousarray(x))


def _tensor(x):
    return x if isinstance(x, torch.Tensor) else torch.as_tensor(np.array(x))


def numbers(x):
    """What a value is to NumPy, for the plain references."""
    if isinstance(x, torch.Tensor):
        x = x.detach().resolve_neg()
        return (x.float() if x.dtype.is_floating_point and x.dtype.itemsize < 4 else x).numpy()
    return np.asarray(x)


# The same numbers in other forms.


def fortran(x):
    return _tensor(x).T.contiguous().T if isinstance(x, torch.Tensor) else np.asfortranarray(x)


def read_only(x):
    x = np.array(numbers(x))
    x.setflags(write=False)
    return x


def reversed_twice(x):
    return np.array(numbers(x))[::-1].copy()[::-1]


def byte_swapped(x):
    x = numbers(x)
    return x.astype(x.dtype.newbyteorder())


def odd_strides(x):
    """An array whose strides are no multiples of its items' size."""
    x = numbers(x)
    record = np.zeros(x.shape, [("before", np.uint8), ("x", x.dtype)])
    record["x"] = x
    return record["x"]


def broadcast(x):
    x = numbers(x)
    return np.broadcast_to(x[:1], x.shape)


def negative_bit(x):
    """A tensor of the same numbers that are stored with the other sign."""
    return torch._neg_view(-_tensor(x))


def needing_gradient(x):
    return _tensor(x).clone().requires_grad_()


def parameter(x):
    return torch.nn.Parameter(_tensor(x))


# Other numbers.


def with_value(x, value):
    x = np.array(numbers(x), copy=True)
    x.flat[x.size // 2] = value
    return x


def as_dtype(x, name):
    if isinstance(x, torch.Tensor) or name.startswith(("float8", "bfloat")):
        return _tensor(x).to(getattr(torch, name))
    return np.asarray(x).astype(name)


# What holds no numbers to read, or no numbers at all.


def conjugate(x):
    return _tensor(x).to(torch.complex64).conj()


def sparse(x):
    return _tensor(x).to_sparse()


def on_meta(x):
    return _tensor(x).to("meta")


def quantized(x):
    return torch.quantize_per_tensor(_tensor(x).float(), 0.1, 0, torch.qint8)


def nested(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([_tensor(x)])


def masked(x):
    return np.ma.masked_array(numbers(x), mask=np.arange(numbers(x).size).reshape(numbers(x).shape) % 2)


def dates(x):
    return np.zeros(numbers(x).shape, "datetime64[s]")


def structured(x):
    return np.zeros(numbers(x).shape, [("a", np.int32), ("b", np.float32)])


def ragged(x):
    return [[1], *numbers(x).tolist()]


FORMS = (
    "tensor(numbers({}))",
    "numbers({})",
    "fortran({})",
    "read_only({})",
    "reversed_twice({})",
    "byte_swapped({})",
    "odd_strides({})",
    "broadcast({})",
    "negative_bit({})",
    "needing_gradient({})",
    "parameter({})",
    "({})[::2]",
    "({})[:, ::2]",
    "({})[:0]",
    "({})[:, :0]",
    "({})[None]",
    "({})[0]",
    "({})[0, 0]",
    "({})[:-1]",
    "({})[:, :-1]",
    "numbers({}).tolist()",
    "list({})",
    "tuple({})",
    "with_value({}, np.nan)",
    "with_value({}, np.inf)",
    "with_value({}, -1)",
    "with_value({}, 2)",
    "with_value({}, 0)",
    "numbers({}).astype(object)",
    "numbers({}).astype(str)",
    "numbers({}).astype(complex)",
    "conjugate({})",
    "sparse({})",
    "on_meta({})",
    "quantized({})",
    "nested({})",
    "masked({})",
    "dates({})",
    "structured({})",
    "ragged({})",
    *(f"as_dtype({{}}, {name!r})" for name in (
        *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex64", "longdouble"),
    )),
)  # fmt: skip

WRONG = (
    "None", "True", "False", "0", "1", "-1", "2**63 - 1", "2**63", "2**64", "10**30", "-2**63 - 1", "0.5", "-1.5",
    "float('nan')", "float('inf')", "-float('inf')", "10**400", "1j", "''", "'x'", "'cpu'", "'none'", "b'x'", "[]",
    "[[]]", "()", "{}", "{'a': 1}", "set()", "object()", "['cpu']", "['expected']", "[[1, 2], [3]]", "[None]",
    "lambda *_: None", "int", "range(3)", "np.float32(1)", "np.int8(3)", "np.uint64(2**64 - 1)", "np.True_",
    "np.datetime64('2020-01-01')", "np.array(3)", "np.array(2.5)", "np.array('x')", "np.array([1, 'a'], object)",
    "np.array(None)", "np.zeros(0)", "np.zeros((0, 4), np.uint8)", "np.zeros((3, 0))", "np.zeros((2, 3, 4))",
    "np.zeros((4, 3), np.float32)", "np.zeros(4, int)", "np.ones((4, 4), np.uint8)", "torch.tensor(3)",
    "torch.tensor(2.5)", "torch.tensor([])", "torch.empty(0, 4)", "torch.zeros(2, 3, device='meta')",
    "torch.tensor(3, device='meta')", "sparse(torch.eye(3))", "torch.ones(2, 3, requires_grad=True)", "Decimal(1)",
    "Fraction(1, 2)", "torch.float32", "torch.device('cpu')", "torch.device('meta')", "torch.Generator()",
    "Path('nothing')", "torch.nn.Linear(2, 2)", "fh.FlatIndex(8)",
)  # fmt: skip
SIZES = ("2**45", "2**62", "2**60 + 1")  # nothing between a thousand and what no machine has memory for
HARMLESS_ELSEWHERE = ("2**31 - 1", "2**31", "2**32 + 1")


@cache
def folder() -> Path:
    """A folder that goes when Python ends."""
    made = Path(mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def some_rows(r: Random) -> int:
    return r.choice((0, 1, 2, 3, 5, 9, 17))


def at_least_one(r: Random) -> int:
    return r.choice((1, 2, 3, 5, 9, 17))


def seed(r: Random) -> int:
    return r.randrange(1 << 16)


def array(r: Random, made: str) -> str:
    """The expression of an array, or of a tensor as often."""
    return made if r.random() < 0.5 else f"tensor({made})"
