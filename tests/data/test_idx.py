from __future__ import annotations

import gzip

import numpy as np
import pytest

from fasthash.data import load_dataset, read_idx
from tests.data.conftest import assert_holds, write_idx, write_mnist


@pytest.mark.parametrize(("dtype", "code"), [("u1", 8), ("i1", 9), ("i2", 11), ("i4", 12), ("f4", 13), ("f8", 14)])
@pytest.mark.parametrize("compress", [False, True])
def test_idx_of_every_dtype(rng, tmp_path, dtype, code, compress):
    array = (rng.normal(size=(3, 2, 4)) * 50).astype(dtype)
    write_idx(tmp_path / "array", array, code, compress)
    read = read_idx(tmp_path / "array")
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected idx .*, got the bytes b''"),
        (b"\0\0\x0a\x01\0\0\0\1\0", "expected idx"),
        (b"\0\1\x08\x01\0\0\0\1\0", "expected idx"),
        (
            b"\0\0\x08\x02\0\0\0\2\0\0\0\3" + bytes(5),
            r"expected 18 bytes, as its header of shape \[2, 3\] says, got 17",
        ),
        (b"\0\0\x08\x01\0\0\0\1" + bytes(2), "expected 9 bytes, .* got 10"),
        (b"\0\0\x08\x02\0\0", "expected 12 bytes, .* got 6"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\1\0", mtime=0)[:-3], "expected a whole gzip file"),
    ],
)
def test_damaged_idx(tmp_path, data, message):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match=f"{tmp_path / 'file'}: {message}"):
        read_idx(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "folder", "separator", "end"),
    [
        ("mnist", "mnist", "-", ""),
        ("mnist", "MNIST/raw", ".", ""),
        ("fashion_mnist", "fashion_mnist", "-", ".gz"),
        ("fashion_mnist", "FashionMNIST/raw", ".", ".gz"),
    ],
)
def test_mnist_under_every_file_name(rng, tmp_path, name, folder, separator, end):
    images, labels = write_mnist(tmp_path / folder, rng, separator, end)
    dataset = load_dataset(name, tmp_path)
    assert_holds(dataset, images, labels, train=range(3), test=range(3, 5))
    assert dataset.class_names[9] == ("9" if name == "mnist" else "Ankle boot")


def test_mnist_with_a_missing_or_short_file(rng, tmp_path):
    write_mnist(tmp_path / "short", rng, n_labels=2)
    with pytest.raises(
        ValueError, match=r"train-labels-idx1-ubyte: expected labels of shape \[3\] or \[3, c\], got \[2\]"
    ):
        load_dataset(tmp_path / "short")
    (tmp_path / "short" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="expected t10k-labels-idx1-ubyte besides"):
        load_dataset(tmp_path / "short")


@pytest.mark.parametrize(
    ("file", "array", "code", "message"),
    [
        (
            "train-images-idx3-ubyte",
            np.zeros((3, 784), np.uint8),
            8,
            "uint8 of 3 dimensions, got uint8 of 2 dimensions",
        ),
        ("train-images-idx3-ubyte", np.zeros((3, 2, 2), "i1"), 9, "uint8 of 3 dimensions, got int8 of 3 dimensions"),
        ("t10k-labels-idx1-ubyte", np.zeros((2, 1), np.uint8), 8, "uint8 of 1 dimensions, got uint8 of 2 dimensions"),
    ],
)
def test_mnist_with_another_array(rng, tmp_path, file, array, code, message):
    write_mnist(tmp_path / "mnist", rng)
    write_idx(tmp_path / "mnist" / file, array, code)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'mnist' / file}: expected {message}$"):
        load_dataset("mnist", tmp_path)
