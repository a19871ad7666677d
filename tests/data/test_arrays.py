"""Arrays in files."""

from __future__ import annotations

import numpy as np
import pytest

from fasthash.data.arrays import read_array
from tests.conftest import damaged


def test_an_array_is_mapped_from_its_file(tmp_path):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "x.npy", x)
    mapped = read_array(tmp_path / "x.npy")
    assert np.array_equal(mapped, x)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.save(tmp_path / "none.npy", x[:0])
    assert read_array(str(tmp_path / "none.npy")).shape == (0, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.float32(3), "expected an array of at least one dimension, got a single float32"),
        (np.array([None, "a"]), "expected a whole array written by numpy.save, got .*Python objects"),
    ],
)
def test_what_is_no_array_of_rows_is_refused(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=f"x.npy: {message}"):
        read_array(tmp_path / "x.npy")


@pytest.mark.filterwarnings("ignore:Reading `.npy`")  # of what Python 2 wrote
def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(200.0).reshape(20, 10))
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"^{path}: expected a"):
            read_array(path)
    refused = 0
    for content in damaged(whole, 500):
        path.write_bytes(content)
        try:
            read_array(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: expected a")  # noqa: PT017
            refused += 1
    assert refused > 100  # values have no checksum
