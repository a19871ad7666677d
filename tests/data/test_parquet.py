from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from fasthash.data import load_dataset
from fasthash.errors import MissingDependencyError
from tests.data.conftest import assert_holds, lists, table

pytest.importorskip("pyarrow.parquet")

from pyarrow import parquet


def test_features_with_splits(rng, tmp_path):
    features, train = rng.normal(size=(4, 3)).astype(np.float32), np.array([True, False, True, False])
    path = tmp_path / "set.parquet"
    table(path, features=lists(features, "fixed"), labels=np.array([1, 0, 2, 1]), train=train)
    for name in (path, str(path)):
        dataset = load_dataset(name)
        assert_holds(dataset, features, np.array([1, 0, 2, 1]), train=[0, 2])
        assert (dataset.name, dataset.class_names) == ("set", ("0", "1", "2"))
    assert_holds(load_dataset("set.parquet", tmp_path), features, np.array([1, 0, 2, 1]), train=[0, 2])
    named = parquet.read_table(path).replace_schema_metadata({"class_names": json.dumps(["a", "b", "c", "d"])})
    parquet.write_table(named, path)
    assert load_dataset(path).class_names == ("a", "b", "c", "d")


def test_features_of_several_labels_in_half_precision(rng, tmp_path):
    features, labels = rng.normal(size=(4, 3)).astype(np.float16), rng.random((4, 2)) < 0.5
    table(tmp_path / "set.parquet", features=lists(features, "fixed"), labels=lists(labels, "fixed"))
    assert_holds(load_dataset(tmp_path / "set.parquet"), features.astype(np.float32), labels)


FEATURES = np.zeros((3, 2), np.float32)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"features": FEATURES}, "expected the columns features and labels, got features"),
        ({"features": FEATURES, "labels": np.array([0, -1, 1])}, "expected labels of at least 0, got -1 to 1"),
        (
            {"features": FEATURES, "labels": np.array([0, 1234567890, 1])},
            "expected labels of classes numbered from 0, to 999 at most without class_names, got up to 1234567890",
        ),
        ({"features": FEATURES, "labels": np.zeros(3)}, "expected labels to be integers"),
        ({"features": FEATURES * np.nan, "labels": np.zeros(3, int)}, "expected items to be finite, got NaN"),
        ({"features": np.zeros((3, 2), int), "labels": np.array(["a", "b", "zz"])}, "set.parquet: expected a column"),
    ],
)
def test_columns_that_do_not_fit(tmp_path, columns, message):
    made = {name: lists(x, "fixed") if x.ndim == 2 else x for name, x in columns.items()}
    table(tmp_path / "set.parquet", **made)
    with pytest.raises(ValueError, match=rf"set\.parquet: .*{message}|{message}") as error:
        load_dataset(tmp_path / "set.parquet")
    assert str(error.value).count("set.parquet") == 1


def test_damaged_files_and_a_lack_of_pyarrow(tmp_path, monkeypatch):
    path = tmp_path / "set.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"set\.parquet: expected a whole Parquet file, got"):
        load_dataset(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'torch-fasthash\[parquet\]'"):
        load_dataset(path)
    with pytest.raises(FileNotFoundError, match=r"none\.parquet"):
        load_dataset(tmp_path / "none.parquet")
