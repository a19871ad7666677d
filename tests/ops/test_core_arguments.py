"""The compiled core refuses arrays that it would read or write beyond."""

from __future__ import annotations

import numpy as np
import pytest

from fasthash import _core


def codes(n, n_bytes=4):
    return np.zeros((n, n_bytes), np.uint8)


def out(*shape, dtype=np.int32):
    return np.zeros(shape, dtype)


def ids(n):
    return out(n, 3, dtype=np.int64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (codes(2, 5), codes(9), 3, None, out(2, 3), ids(2)),
            r"queries of shape \[2, 4\], got \[2, 5\]",
        ),
        ((codes(2), codes(9), 3, out(1, dtype=np.uint8), out(2, 3), ids(2)), r"mask of shape \[2\]"),
        (
            (codes(2), codes(9), 3, None, out(2, 2), ids(2)),
            r"distances of shape \[2, 3\], got \[2, 2\]",
        ),
        ((codes(2), codes(9), 3, None, out(2, 3), ids(1)), r"ids of shape \[2, 3\], got \[1, 3\]"),
        (
            (codes(2, 600), codes(9, 600), 3, None, out(2, 3), ids(2)),
            "codes of 1 to 512 bytes, got 600",
        ),
    ],
)
def test_a_search_refuses_arrays_of_other_shapes(arguments, message):
    with pytest.raises(ValueError, match=f"hamming_topk: expected {message}"):
        _core.hamming_topk(*arguments, 1, "")


def test_tables_refuse_codes_that_they_were_not_built_of():
    tables = _core.MultiIndexTables(codes(50), 32, 0, True, 1)
    arguments = (codes(2), codes(49), 3, None, 0, out(2, 3), ids(2), None, 1, "")
    with pytest.raises(ValueError, match="expected|missing"):
        tables.topk(*arguments)
