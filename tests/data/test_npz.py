from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

from fasthash.data import load_dataset
from tests.conftest import damaged
from tests.data.conftest import assert_holds, images_of


def test_npz_with_splits(rng, tmp_path):
    train, test = images_of(rng, 4, 5, 6), images_of(rng, 2, 5, 6)
    labels = np.array([2, 0, 1, 1], np.uint8), np.array([0, 2], np.uint8)
    np.savez(
        tmp_path / "digits.npz",
        train_images=train,
        train_labels=labels[0],
        test_images=test,
        test_labels=labels[1],
        class_names=np.array(["a", "b", "c"]),
        train_exact=np.ones(4, np.bool_),
    )
    dataset = load_dataset("digits", tmp_path)
    assert_holds(dataset, np.concatenate([train, test]), np.concatenate(labels), train=range(4), test=range(4, 6))
    assert (dataset.name, dataset.class_names) == ("digits", ("a", "b", "c"))


@pytest.mark.parametrize("n", [1, 2500])
def test_npz_of_differences(rng, tmp_path, n):
    images = images_of(rng, n, 3, 4, 3)
    planes = images.transpose(3, 0, 1, 2).copy()
    planes[[0, 2]] -= planes[1]
    delta = np.diff(np.diff(planes, axis=2, prepend=np.uint8(0)), axis=3, prepend=np.uint8(0))
    labels = rng.integers(0, 3, n)
    np.savez_compressed(tmp_path / "set.npz", train_delta=delta, train_labels=labels)
    assert_holds(load_dataset(tmp_path / "set.npz"), images, labels, train=range(n))


def test_npz_of_features_with_several_labels(rng, tmp_path):
    features, labels = rng.normal(size=(5, 3)), rng.integers(0, 2, (5, 4), dtype=np.uint8)
    np.savez(tmp_path / "scene.npz", features=features, labels=labels)
    dataset = load_dataset(str(tmp_path / "scene.npz"))
    assert_holds(dataset, features.astype(np.float32), labels)
    assert dataset.class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize("n", [3, 1500])
def test_classes_without_names_are_numbered_from_0(tmp_path, n):
    path, features, largest = tmp_path / "set.npz", np.zeros((n, 2), np.float32), max(1000, n) - 1
    parts = {"train_features": features[1:], "train_labels": np.zeros(n - 1, int), "test_features": features[:1]}
    np.savez(path, **parts, test_labels=np.array([largest]))
    assert load_dataset(path).n_classes == largest + 1
    for label in (largest + 1, 1234567890, np.uint64(2**63)):
        np.savez(path, **parts, test_labels=np.array([label]))
        message = (
            f"expected labels of classes numbered from 0, to {largest} at most without class_names, got up to {label}"
        )
        with pytest.raises(ValueError, match=rf"^{path}: {message}; .*np\.unique\(labels, return_inverse=True\)$"):
            load_dataset(path)
    np.savez(path, **parts, test_labels=np.array([largest + 1]), class_names=np.arange(largest + 2).astype(str))
    assert load_dataset(path).n_classes == largest + 2


def test_npz_whose_splits_share_items(rng, tmp_path):
    features, labels = rng.normal(size=(5, 3)), rng.integers(0, 2, 5)
    positions = {"train_positions": np.array([4, 1]), "database_positions": np.arange(1, 5)}
    np.savez(tmp_path / "set.npz", features=features, labels=labels, **positions)
    dataset = load_dataset(tmp_path / "set.npz")
    assert_holds(dataset, features.astype(np.float32), labels, train=[4, 1], database=range(1, 5))
    np.savez(tmp_path / "set.npz", features=features, labels=labels, train_positions=np.array([5]))
    with pytest.raises(ValueError, match=r"set\.npz: .* expected positions from 0 to 4 in the split 'train', got 5 to"):
        load_dataset(tmp_path / "set.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_labels": None}, "expected the array 'train_labels', got train_images"),
        ({"train_images": None}, "expected the arrays train_images"),
        ({"images": np.zeros((2, 3, 3), np.uint8), "labels": np.zeros(2, int)}, "expected the arrays train_images"),
        ({"train_features": np.zeros((3, 3))}, "expected one array of items for each split, got 'train_features'"),
        ({"train_labels": np.zeros(2, int)}, "expected labels of shape \\[3\\] or \\[3, c\\], got \\[2\\]"),
        ({"train_labels": np.array([0, 1, 2])}, "expected labels from 0 to 1, got 0 to 2"),
        ({"train_labels": np.zeros((3, 3), np.bool_)}, "expected labels of 2 columns, got 3"),
        ({"train_labels": np.array([0, None, 1])}, "expected a readable array 'train_labels', got Object arrays"),
        ({"train_images": np.zeros((3, 2, 2))}, "expected items to be uint8 .*, got float64"),
        ({"train_images": np.zeros((3, 4), np.float32)}, r"expected items of the shape \[4\] each, .*, got \[4, 4\]"),
        (
            {"train_labels": np.zeros(3)},
            r"expected labels to be integers \[n\] or indicators \[n, c\], got float64 \[3\]",
        ),
        ({"train_labels": np.zeros(3, bool)}, r"expected labels to be integers .*, got bool \[3\]"),
        ({"train_labels": np.zeros((3, 1, 1), int)}, r"expected labels of shape .*, got \[3, 1, 1\]"),
        ({"class_names": None, "train_labels": np.array([0, -1, 2])}, "expected labels of at least 0, got -1 to 2"),
        (
            {"train_labels": np.array([[0, 2], [1, 0], [0, 0]]), "test_labels": np.array([[1, 0]])},
            "expected labels from 0 to 1, got 0 to 2",
        ),
        (
            {"test_images": np.zeros((1, 4, 5), np.uint8)},
            "expected items of the shape \\[4, 4\\] each, as in .*, got \\[4, 5\\]",
        ),
        ({"test_labels": np.array([[1, 0]])}, "expected labels of the shape \\[\\] each, as in .*, got \\[2\\]"),
    ],
)
def test_npz_that_does_not_fit(tmp_path, change, message):
    arrays = {
        "train_images": np.zeros((3, 4, 4), np.uint8),
        "train_labels": np.array([0, 1, 0]),
        "test_images": np.zeros((1, 4, 4), np.uint8),
        "test_labels": np.array([1]),
        "class_names": np.array(["a", "b"]),
    } | change
    if "train_images" in change and change["train_images"] is None:
        arrays = {"train_labels": arrays["train_labels"]}
    path = tmp_path / "set.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        load_dataset(path)


def test_npz_of_features_in_other_dtypes(tmp_path):
    features = np.array([[0.5, 1.5], [2.5, -3.5]])
    for dtype in (np.float16, np.float32, np.float64):
        np.savez(tmp_path / "set.npz", features=features.astype(dtype), labels=np.array([3, 0]))
        dataset = load_dataset(tmp_path / "set.npz")
        assert_holds(dataset, features.astype(np.float32), np.array([3, 0]))
        assert dataset.class_names == ("0", "1", "2", "3")  # as many as the largest label asks for
    np.savez(tmp_path / "set.npz", features=features.astype(int), labels=np.array([3, 0]))
    with pytest.raises(ValueError, match=r"expected items to be uint8 .* or float32 \[n, d\], got int64 \[2, 2\]$"):
        load_dataset(tmp_path / "set.npz")
    np.savez(tmp_path / "set.npz", features=np.array([[np.inf]]), labels=np.array([0]))
    with pytest.raises(ValueError, match="expected items to be finite, got NaN or infinity$"):
        load_dataset(tmp_path / "set.npz")


def test_npz_of_differences_in_another_shape(tmp_path):
    np.savez(tmp_path / "set.npz", train_delta=np.zeros((2, 3, 4, 3), np.uint8), train_labels=np.zeros(2, int))
    with pytest.raises(ValueError, match="expected train_delta of uint8 \\[3, n, h, w\\], got uint8 \\[2, 3, 4, 3\\]"):
        load_dataset(tmp_path / "set.npz")
    np.savez(tmp_path / "set.npz", train_delta=np.zeros((3, 2, 4, 3)), train_labels=np.zeros(2, int))
    with pytest.raises(ValueError, match=r"^.*set.npz: expected train_delta of uint8 .*, got float64 \[3, 2, 4, 3\]$"):
        load_dataset(tmp_path / "set.npz")


def test_damaged_npz(rng, tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, images=images_of(rng, 9, 8, 8), labels=np.zeros(9, int))
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(ValueError, match=f"{path}: expected an .npz archive"):
        load_dataset(path)
    path.write_bytes(whole[:300] + bytes(64) + whole[364:])
    with pytest.raises(ValueError, match=f"{path}: expected a readable array 'images', got Bad CRC-32"):
        load_dataset(path)
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match=f"{path}: expected an .npz archive"):
        load_dataset(path)


def test_a_damaged_archive_is_named(tmp_path):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=np.zeros((4, 3, 3), np.uint8), labels=np.arange(4))
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of what looks like Python 2's
        for content in damaged(path.read_bytes(), 400):
            path.write_bytes(content)
            try:
                load_dataset(path)
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017
                refused += 1
    assert refused > 200
