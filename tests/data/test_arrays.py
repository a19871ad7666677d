"""Arrays in files."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.data.arrays import READERS, read_array
from tests.conftest import damaged
from tests.data.conftest import arrow_file, binary, hdf5, lists, table


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


def vecs(path, x, dtype):
    """Each row after the count of its numbers."""
    heads = np.full((len(x), 1), x.shape[1], "<i4").view(dtype)
    np.concatenate([heads, x.astype(dtype)], axis=1).tofile(path)


def counted(path, x, dtype):
    path.write_bytes(np.array(x.shape, "<u4").tobytes() + x.astype(dtype).tobytes())


X = np.arange(12).reshape(4, 3)
FORMATS = {
    "x.npy": (lambda path: np.save(path, X.astype("f4")), "f4"),
    "x.npz": (lambda path: np.savez(path, X.astype("f4")), "f4"),
    "packed.npz": (lambda path: np.savez_compressed(path, a=X), "i8"),
    "lists.parquet": (lambda path: table(path, v=lists(X.astype("f4"), "list")), "f4"),
    "large.parquet": (lambda path: table(path, v=lists(X.astype("u1"), "large")), "u1"),
    "fixed.parquet": (lambda path: table(path, v=lists(X.astype("f8"), "fixed")), "f8"),
    "binary.parquet": (lambda path: table(path, v=binary(X.astype("u1"))), "u1"),
    "mapped.arrow": (lambda path: arrow_file(path, v=lists(X.astype("f4"), "fixed")), "f4"),
    "stream.arrow": (lambda path: arrow_file(path, stream=True, v=lists(X.astype("f4"), "list")), "f4"),
    "batches.arrow": (lambda path: arrow_file(path, batches=2, v=lists(X.astype("f2"), "fixed")), "f2"),
    "columns.arrow": (lambda path: arrow_file(path, a=X[:, 0], b=X[:, 1], c=X[:, 2]), "i8"),
    "binary.feather": (lambda path: arrow_file(path, "lz4", v=binary(X.astype("u1"))), "u1"),
    "mapped.h5": (lambda path: hdf5(path, X.astype("f4")), "f4"),
    "chunks.hdf5": (lambda path: hdf5(path, X.astype(">i2"), chunks=(2, 3), compression="gzip"), ">i2"),
    "columns.parquet": (lambda path: table(path, a=X[:, 0], b=X[:, 1], c=X[:, 2]), "i8"),
    "x.csv": (lambda path: np.savetxt(path, X, delimiter=","), "f8"),
    "whole.csv": (lambda path: np.savetxt(path, X, "%d", delimiter=","), "i8"),
    "header.csv": (lambda path: np.savetxt(path, X, "%d", delimiter=", ", header="a, b, c", comments=""), "i8"),
    "x.fvecs": (lambda path: vecs(path, X, "<f4"), "f4"),
    "x.ivecs": (lambda path: vecs(path, X, "<i4"), "i4"),
    "x.bvecs": (lambda path: vecs(path, X, "u1"), "u1"),
    "x.fbin": (lambda path: counted(path, X, "<f4"), "f4"),
    "x.ibin": (lambda path: counted(path, X, "<i4"), "i4"),
    "x.u8bin": (lambda path: counted(path, X, "u1"), "u1"),
    "x.i8bin": (lambda path: counted(path, X, "i1"), "i1"),
}
MAPPED = {".npy", ".fvecs", ".ivecs", ".bvecs", ".fbin", ".ibin", ".u8bin", ".i8bin"}


def test_every_format_is_here():
    assert {f".{name.rpartition('.')[2]}" for name in FORMATS} | {".txt"} == READERS.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_read_as_its_format_says(tmp_path, name):
    write, dtype = FORMATS[name]
    path = tmp_path / name
    write(path)
    read = read_array(path)
    assert read.dtype == np.dtype(dtype)
    assert np.array_equal(read, X)
    assert isinstance(read, np.memmap) == (path.suffix in MAPPED or name == "mapped.h5")
    assert not (isinstance(read, np.memmap) and read.flags.writeable)
    assert torch.equal(
        fh.ops.arrays.to_tensor("here", "x", read), torch.from_numpy(X.astype(np.dtype(dtype).newbyteorder("=")))
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_of_any_format_is_named(tmp_path, name):
    write, _ = FORMATS[name]
    path = tmp_path / name
    write(path)
    whole, refused = path.read_bytes(), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of what looks like Python 2's
        for content in damaged(whole, 150):
            path.write_bytes(content)
            try:
                read_array(path)
            except ValueError as error:
                assert str(error).startswith(f"read_array: {path}: expected ")  # noqa: PT017
                refused += 1
    assert refused > 20
    path.write_bytes(b"")
    if path.suffix not in (".fvecs", ".ivecs", ".bvecs"):  # of no rows
        with pytest.raises(ValueError, match=f"^read_array: {path}: expected "):
            read_array(path)


def test_an_array_among_several_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=X[:, 0])
    assert np.array_equal(read_array(f"{tmp_path}/a.npz:y"), X[:, 0])
    (tmp_path / "b:x.npz").write_bytes((tmp_path / "a.npz").read_bytes())
    (tmp_path / "c.npz:x").write_bytes(b"")
    assert np.array_equal(read_array(tmp_path / "b:x.npz:x"), X)
    with pytest.raises(ValueError, match="a.npz: expected one array, or a name as in a.npz:name, got x, y"):
        read_array(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="a.npz: expected the array 'z', got x, y"):
        read_array(f"{tmp_path}/a.npz:z")
    with pytest.raises(ValueError, match=r"c.npz:x: expected a file in .npy, .*, got .npz:x"):
        read_array(tmp_path / "c.npz:x")  # a file of that very name
    with pytest.raises(FileNotFoundError, match="d.npz"):
        read_array(f"{tmp_path}/d.npz:x")
    (tmp_path / "e.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        read_array(tmp_path / "e.csv")


def test_an_hdf5_array_is_named_by_any_path_or_link(tmp_path):
    h5py = pytest.importorskip("h5py")
    hdf5(tmp_path / "other.h5", X[:2])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["inner/x"], file["padding"] = X, np.zeros(100)
        file["hard"], file["soft"] = file["inner/x"], h5py.SoftLink("/inner/x")
        file["folder"], file["beside"] = h5py.SoftLink("/inner"), h5py.ExternalLink("other.h5", "/x")
        file["dead"] = h5py.SoftLink("/nothing")
    for name in ("inner/x", "/inner/x", "hard", "/hard", "soft", "folder/x"):
        read = read_array(tmp_path / f"a.h5:{name}")
        np.testing.assert_array_equal(read, X)
        assert isinstance(read, np.memmap)
    np.testing.assert_array_equal(read_array(tmp_path / "a.h5:beside"), X[:2])
    for name in ("dead", "inner", "/x"):
        with pytest.raises(ValueError, match=f"a.h5: expected the array '{name}', got "):
            read_array(tmp_path / f"a.h5:{name}")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fvecs", np.array([3, 0, 0], "<i4"), "expected rows of 3 numbers and their count, got a file of 12 bytes"),
        ("a.fvecs", np.array([-3, 0, 0], "<i4"), "expected rows of -3 numbers and their count"),
        ("a.fvecs", np.array([0, 0], "<i4"), "expected rows of 0 numbers"),
        ("a.ivecs", np.array([1, 5, 2, 6], "<i4"), "expected rows of 1 numbers, got a last one of 2"),
        ("a.bvecs", np.array([1, 2, 3], "u1"), "expected rows of 0 numbers and their count, got a file of 3 bytes"),
        ("a.fbin", np.array([2], "<u4"), "expected the counts of rows and columns, got a file of 4 bytes"),
        ("a.fbin", np.array([2, 1, 0], "<u4"), "expected 16 bytes, as its counts 2 and 1 say, got 12"),
        (
            "a.ibin",
            np.array([2**32 - 1] * 3, "<u4"),
            "expected .* bytes, as its counts 4294967295 .* got 12",
        ),
    ],
)
def test_files_of_vectors_whose_size_is_not_what_they_say_are_refused(tmp_path, name, content, message):
    content.tofile(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        read_array(tmp_path / name)


def test_files_of_no_vectors_are_read(tmp_path):
    (tmp_path / "a.fvecs").write_bytes(b"")
    counted(tmp_path / "a.fbin", np.empty((0, 5)), "<f4")
    assert read_array(tmp_path / "a.fvecs").shape == (0, 0)
    assert read_array(tmp_path / "a.fbin").shape == (0, 5)


@pytest.mark.filterwarnings("ignore:Reading `.npy`")  # of what Python 2 wrote
def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(200.0).reshape(20, 10))
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"^read_array: {path}: expected a"):
            read_array(path)
    refused = 0
    for content in damaged(whole, 500):
        path.write_bytes(content)
        try:
            read_array(path)
        except ValueError as error:
            assert str(error).startswith(f"read_array: {path}: expected a")  # noqa: PT017
            refused += 1
    assert refused > 100  # values have no checksum
