"""Parts and the files that are made of them."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from fasthash.data import Dataset, load_dataset, read_array
from fasthash.errors import MissingDependencyError
from fasthash.features.files import Parts, check_format, write


def filled(path, features, settings=None):
    parts = Parts(path, {"network": "x"} if settings is None else settings, len(features), 4)
    for rows in parts.missing():
        parts.write(rows, features[rows.start : rows.stop])
    return parts


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_npz_is_the_data_set_with_its_splits(gray, rng, tmp_path, dtype):
    features = rng.normal(size=(10, 3)).astype(dtype)
    parts = filled(tmp_path / "x.npz", features)
    assert [list(rows) for rows in parts.ranges] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert write(tmp_path / "x.npz", gray, parts) == (10, 3)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert arrays["features"].dtype == dtype
    dataset = load_dataset(tmp_path / "x.npz")
    assert dataset.items.dtype == np.float32
    assert np.array_equal(dataset.items, features.astype(np.float32))
    assert np.array_equal(dataset.labels, gray.labels)
    assert dataset.class_names == ("a", "b")
    assert {name: list(x) for name, x in dataset.splits.items()} == {name: list(x) for name, x in gray.splits.items()}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_parquet_has_a_row_an_item(gray, rng, tmp_path, dtype):
    parquet = pytest.importorskip("pyarrow.parquet")
    features = rng.normal(size=(10, 3)).astype(dtype)
    several = Dataset("d", gray.items, rng.random((10, 2)) < 0.5, gray.splits, gray.class_names)
    for name, dataset in {"one": gray, "several": several}.items():
        path = tmp_path / f"{name}.parquet"
        assert write(path, dataset, filled(path, features)) == (10, 3)
        array = read_array(f"{path}:features")
        assert array.dtype == dtype
        assert np.array_equal(array, features)
        assert np.array_equal(read_array(f"{path}:labels"), dataset.labels)
        table = parquet.read_table(path)
        assert table.column_names == ["features", "labels", "train", "test", "database"]
        assert np.flatnonzero(table["database"].to_numpy()).tolist() == [0, 3, 4, 5, 7, 8]
        read = load_dataset(path)
        assert np.array_equal(read.items, features.astype(np.float32))
        assert np.array_equal(read.labels, dataset.labels)
        assert read.splits["train"].tolist() == [0, 3, 7]
        assert json.loads(table.schema.metadata[b"class_names"]) == ["a", "b"]


def test_parts_of_other_settings_are_refused(tmp_path):
    features = np.zeros((6, 2), np.float32)
    parts = filled(tmp_path / "x.npz", features)
    assert list(Parts(tmp_path / "x.npz", {"network": "x"}, 6, 4).missing()) == []
    for changed, size, message in (
        ({"network": "y"}, 4, "network: 'x' there, 'y' now"),
        ({"network": "x"}, 3, "size: 4"),
    ):
        with pytest.raises(ValueError, match=rf"settings of the parts in .*x.npz.parts to go on, .*{message}"):
            Parts(tmp_path / "x.npz", changed, 6, size)
    parts.remove()
    assert list(tmp_path.iterdir()) == []


def test_settings_without_a_finished_part_are_no_reason_to_refuse_others(tmp_path):
    features = np.zeros((6, 2), np.float32)
    Parts(tmp_path / "x.npz", {"network": "x"}, 6, 4)  # of a process that was killed
    parts = filled(tmp_path / "x.npz", features, {"network": "y"})
    parts.leave()
    assert list(Parts(tmp_path / "x.npz", {"network": "y"}, 6, 4).missing()) == []
    with pytest.raises(ValueError, match="network: 'y' there, 'x' now"):
        Parts(tmp_path / "x.npz", {"network": "x"}, 6, 4)
    other = Parts(tmp_path / "other.npz", {"network": "x"}, 6, 4)
    (other.folder / "notes.txt").write_text("mine")
    other.leave()
    assert [path.name for path in other.folder.iterdir()] == ["notes.txt"]


def test_formats_are_known_before_any_work(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"extract: expected out in \.npz, \.parquet, got \.npy"):
        check_format(tmp_path / "x.npy")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'torch-fasthash\[parquet\]'"):
        check_format(tmp_path / "x.parquet")
