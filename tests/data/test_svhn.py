from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat

from fasthash.data import load_dataset
from tests.data.conftest import assert_holds, images_of


def write_svhn(folder, images, labels, n_train):
    classes = np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)
    for name, rows in (("train", slice(n_train)), ("test", slice(n_train, None))):
        arrays = {"X": images[rows].transpose(1, 2, 3, 0), "y": classes[rows]}
        savemat(folder / f"{name}_32x32.mat", arrays, do_compression=True)


def test_svhn(rng, tmp_path):
    images, labels = images_of(rng, 5, 32, 32, 3), np.array([0, 9, 1, 0, 5])
    write_svhn(tmp_path, images, labels, 3)
    dataset = load_dataset("svhn", tmp_path)
    assert_holds(dataset, images, labels, train=range(3), test=range(3, 5))
    assert dataset.n_classes == 10


def test_damaged_svhn(rng, tmp_path):
    images, path = images_of(rng, 5, 32, 32, 3), tmp_path / "train_32x32.mat"
    write_svhn(tmp_path, images, np.array([0, 9, 1, 11, 5]), 3)
    with pytest.raises(ValueError, match="test_32x32.mat: expected labels from 1 to 10, got 5 to 11"):
        load_dataset("svhn", tmp_path)
    whole = path.read_bytes()
    for data in (whole[:-100], whole[:140], whole[:50], b"", b"no MATLAB" * 100):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f"{path}: expected"):
            load_dataset("svhn", tmp_path)
    savemat(path, {"X": images})
    with pytest.raises(ValueError, match=r"expected X of uint8 \[32, 32, 3, n\] and y .*, got {'X': 'uint8 \[5, 32"):
        load_dataset("svhn", tmp_path)
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(FileNotFoundError, match="expected test_32x32.mat besides train_32x32.mat"):
        load_dataset("svhn", tmp_path)
