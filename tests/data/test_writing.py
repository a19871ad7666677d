"""Arrays in the files of the benchmarks of nearest neighbours, byte for byte and read back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.data import read_array, write_array
from fasthash.data.writing import WRITERS

X = np.arange(12).reshape(4, 3)


@pytest.mark.parametrize("extension", WRITERS)
def test_what_is_written_is_read(tmp_path, extension, monkeypatch):
    dtype, _ = WRITERS[extension]
    x = X.astype(dtype)
    for i, array in enumerate((x, x[::-1], x[:, ::2], torch.from_numpy(x), x.astype(x.dtype.newbyteorder(">")))):
        path = tmp_path / f"{i}{extension}"
        for block in (1, 2**24):
            monkeypatch.setattr("fasthash.data.writing._BLOCK_BYTES", block)
            write_array(path, array)
            read = read_array(path)
            assert read.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(read, np.asarray(array))
    write_array(str(path), x[:0])
    assert len(read_array(path)) == 0


@pytest.mark.parametrize(
    ("extension", "content"),
    [
        (".ivecs", [2, 7, -1, 2, 0, 3]),  # each row behind how many numbers it has
        (".ibin", [2, 2, 7, -1, 0, 3]),  # behind how many rows and columns there are
    ],
)
def test_files_are_those_of_others_byte_for_byte(tmp_path, extension, content):
    write_array(tmp_path / f"x{extension}", np.array([[7, -1], [0, 3]], np.int32))
    assert (tmp_path / f"x{extension}").read_bytes() == np.array(content, "<i4").tobytes()


def test_rows_of_bytes_begin_with_four_bytes_of_their_count(tmp_path):
    write_array(tmp_path / "x.bvecs", np.array([[9], [8]], np.uint8))
    assert (tmp_path / "x.bvecs").read_bytes() == bytes([1, 0, 0, 0, 9, 1, 0, 0, 0, 8])


def test_an_array_in_a_file_is_written_over_itself(tmp_path):
    write_array(tmp_path / "x.fbin", X.astype(np.float32))
    write_array(tmp_path / "x.fbin", read_array(tmp_path / "x.fbin")[1:])
    np.testing.assert_array_equal(read_array(tmp_path / "x.fbin"), X[1:])


@pytest.mark.parametrize(
    ("name", "array", "error", "message"),
    [
        ("x.npy", X, ValueError, "write_array: expected path to end in .fvecs, .*, got .npy"),
        ("x", X, ValueError, "write_array: expected path to end in .*, got no extension"),
        ("x.fbin", X, TypeError, "write_array: expected array of dtype float32 for .fbin, got int64"),
        ("x.u8bin", X[0].astype("u1"), ValueError, r"write_array: expected array of shape \[n, d\], got \[3\]"),
        ("x.bvecs", X[:, :0].astype("u1"), ValueError, "write_array: expected array with 1 to .* columns for .bvecs"),
        ("x.fbin", torch.empty(2, 3, device="meta"), ValueError, "write_array: expected array on a CPU"),
        ("x.fbin", "x", TypeError, "write_array: expected array to be a numeric array, got"),
    ],
)
def test_what_a_format_does_not_hold_is_refused(tmp_path, name, array, error, message):
    with pytest.raises(error, match=f"^{message}"):
        write_array(tmp_path / name, array)
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_asked_for():
    with pytest.raises(TypeError, match="^write_array: expected path to be a string or a path, got int"):
        write_array(3, X)
