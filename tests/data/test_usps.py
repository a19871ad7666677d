from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest

from fasthash.data import load_dataset
from tests.data.conftest import assert_holds


def usps(rng):
    values = rng.choice([-1.0, -0.5, 0.0, 0.999, 1.0], (5, 256))
    gray = {-1.0: 0, -0.5: 64, 0.0: 128, 0.999: 255, 1.0: 255}
    images = np.vectorize(gray.get)(values).astype(np.uint8).reshape(-1, 16, 16)
    return values, images, np.array([6, 0, 9, 1, 2])


def svmlight(values, labels):
    """LIBSVM's lines, which leave zeros out."""
    lines = (
        " ".join([str(label + 1), *(f"{i}:{value:g}" for i, value in enumerate(row, 1) if value)])
        for row, label in zip(values, labels, strict=True)
    )
    return bz2.compress("\n".join([*lines, ""]).encode())


def zip_lines(values, labels):
    lines = (
        " ".join([f"{label:.4f}", *(f"{value:.4f}" for value in row)]) + " "
        for row, label in zip(values, labels, strict=True)
    )
    return gzip.compress("\n".join([*lines, ""]).encode(), mtime=0)


@pytest.mark.parametrize("folder", ["usps", "."])
@pytest.mark.parametrize(
    ("write", "train", "test"), [(svmlight, "usps.bz2", "usps.t.bz2"), (zip_lines, "zip.train.gz", "zip.test.gz")]
)
def test_usps(rng, tmp_path, write, train, test, folder):
    values, images, labels = usps(rng)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / train).write_bytes(write(values[:3], labels[:3]))
    with pytest.raises(FileNotFoundError, match=f"expected {test} besides {train}"):
        load_dataset("usps", tmp_path)
    (tmp_path / folder / test).write_bytes(write(values[3:], labels[3:]))
    dataset = load_dataset("usps", tmp_path)
    assert_holds(dataset, images, labels, train=range(3), test=range(3, 5))
    assert dataset.n_classes == 10


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("usps.bz2", svmlight(np.zeros((1, 256)), [10]), "expected labels from 0 to 9, got 10 to 10"),
        ("usps.bz2", svmlight(np.ones((1, 257)), [1]), "expected LIBSVM's format with 256 features"),
        ("usps.bz2", svmlight(np.full((1, 256), 2), [1]), "expected pixels from -1 to 1, got 2.0 to 2.0"),
        ("usps.bz2", bz2.compress(b"1 word\n"), "expected LIBSVM's format"),
        ("usps.bz2", svmlight(np.ones((9, 256)), [1] * 9)[:-9], "expected LIBSVM's format"),
        ("usps.bz2", b"1 1:1\n", "expected LIBSVM's format"),
        ("zip.train.gz", zip_lines(np.zeros((2, 255)), [1, 1]), "expected 257 numbers a line, got 256"),
        ("zip.train.gz", zip_lines(np.zeros((2, 256)), [1, 0.5]), "expected whole numbers as labels, got 0.5"),
        ("zip.train.gz", gzip.compress(b"1 word\n", mtime=0), "expected lines of numbers"),
        ("zip.train.gz", zip_lines(np.zeros((2, 256)), [1, 1])[:-9], "expected lines of numbers"),
        ("zip.train.gz", b"1 0\n", "expected lines of numbers"),
    ],
)
def test_damaged_usps(tmp_path, file, data, message):
    test = {"usps.bz2": "usps.t.bz2", "zip.train.gz": "zip.test.gz"}[file]
    (tmp_path / file).write_bytes(data)
    (tmp_path / test).write_bytes((svmlight if test.endswith("bz2") else zip_lines)(np.zeros((1, 256)), [1]))
    with pytest.raises(ValueError, match=f"{tmp_path / file}: {message}"):
        load_dataset("usps", tmp_path)
