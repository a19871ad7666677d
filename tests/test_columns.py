"""Columns of Arrow, Hugging Face data sets, HDF5 and pandas, wherever arrays are taken."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash import evaluate
from fasthash.data import read_array
from fasthash.hashers import LSH
from fasthash.ops.arrays import to_tensor

X = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
CODES = np.random.default_rng(0).integers(0, 256, (12, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def arrow():
    return pytest.importorskip("pyarrow")


def fixed(arrow, x):
    return arrow.FixedSizeListArray.from_arrays(arrow.array(x.ravel()), x.shape[1])


def arrow_columns(arrow, x):
    """Every way to hold a matrix in Arrow, with what lies before and behind it."""
    padded = np.concatenate([x[-1:], x, x[:1]])
    lists = arrow.array(list(padded), arrow.list_(arrow.from_numpy_dtype(x.dtype)))
    whole = fixed(arrow, padded)
    shaped = arrow.fixed_shape_tensor(whole.type.value_type, [x.shape[1]])
    return {
        "fixed": whole[1:-1],
        "lists": lists[1:-1],
        "large lists": lists.cast(arrow.large_list(whole.type.value_type))[1:-1],
        "views": arrow.array(list(padded), arrow.list_view(whole.type.value_type))[1:-1],
        "tensors": arrow.ExtensionArray.from_storage(shaped, whole)[1:-1],
        "chunks": arrow.chunked_array([whole[1:3], whole[3:3], whole[3:-1]]),
        "lists in chunks": arrow.chunked_array([lists[1:3], lists[3:3], lists[3:-1]]),
        "no chunk before": arrow.chunked_array([lists[:0], lists[1:-1]]),
        "table": arrow.table({f"c{i}": column for i, column in enumerate(x.T)}),
        "batch": arrow.record_batch({f"c{i}": column for i, column in enumerate(x.T)}),
    }


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int64", "uint16", "bool"])
def test_arrow_columns_are_matrices(arrow, dtype):
    x = (X * 3).astype(dtype)
    for kind, column in arrow_columns(arrow, x).items():
        tensor = to_tensor("here", "x", column)
        assert torch.equal(tensor, torch.from_numpy(x)), kind


def test_packed_codes_in_binary(arrow):
    rows = [row.tobytes() for row in np.concatenate([CODES[-1:], CODES])]
    for kind in (arrow.binary(4), arrow.binary(), arrow.large_binary()):
        column = arrow.array(rows, kind)[1:]
        np.testing.assert_array_equal(to_tensor("here", "x", column), CODES)
        np.testing.assert_array_equal(to_tensor("here", "x", arrow.chunked_array([column[:3], column[3:]])), CODES)
        assert to_tensor("here", "x", column[:0]).shape == (0, 4 if kind == arrow.binary(4) else 0)
    with pytest.raises(ValueError, match="^here: expected x of binary of one length, got several$"):
        to_tensor("here", "x", arrow.array([b"ab", b"c"]))


def test_more_dimensions(arrow):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(to_tensor("here", "x", arrow.array(images.tolist())), images)


def test_memory_is_shared(arrow):
    for kind, column in arrow_columns(arrow, X).items():
        if kind in ("fixed", "lists", "large lists", "tensors"):
            first, second = (to_tensor("here", "x", column) for _ in range(2))
            assert first.data_ptr() == second.data_ptr(), kind
    codes = arrow.array([row.tobytes() for row in CODES], arrow.binary(4))
    assert to_tensor("here", "x", codes).data_ptr() == codes.buffers()[1].address


def test_what_is_no_matrix_is_refused(arrow):
    for column, error, message in (
        (arrow.array([[1.0], None]), ValueError, "x without nulls, got 1"),
        (arrow.array([[1.0], [None]]), ValueError, "x without nulls, got 1"),
        (arrow.array([None, None]), ValueError, "x without nulls, got 2"),
        (arrow.chunked_array([[1.0], [2.0, None]]), ValueError, "x without nulls, got 1"),
        (arrow.array([b"ab", None], arrow.binary(2)), ValueError, "x without nulls, got 1"),
        (arrow.array([[1.0], [2.0, 3.0]]), ValueError, "x of lists of one length, got several"),
        (arrow.chunked_array([[[1.0]], [[2.0, 3.0]]]), ValueError, "x of lists of one length, got several"),
        (arrow.array(["ab"]), TypeError, "x of numbers, lists of them or binary, got string"),
        (arrow.array([["ab"]]), TypeError, "x of numbers, lists of them or binary, got string"),
        (arrow.array(["a"]).dictionary_encode(), TypeError, "x of numbers, lists of them or binary, got dictionary"),
        (arrow.array([{"a": 1}]), TypeError, "x of numbers, lists of them or binary, got struct"),
        (arrow.scalar(1), TypeError, "x to be an array, a column or a table, got Int64Scalar"),
        (arrow.table({"a": [1, None]}), ValueError, "x, column 'a', without nulls, got 1"),
        (
            arrow.table({"a": [1], "b": [[1.0]]}),
            TypeError,
            "x, column 'b', of numbers, got one of lists; pass it alone",
        ),
    ):
        with pytest.raises(error, match=f"^here: expected {re.escape(message)}"):
            to_tensor("here", "x", column)


def test_wherever_arrays_are_taken(arrow):
    """Of the dtype and the values of the matrix, so with its results; NumPy's come out."""
    x, codes = fixed(arrow, X), fixed(arrow, CODES)
    packed = arrow.array([row.tobytes() for row in CODES], arrow.binary(4))
    labels = arrow.array(np.arange(12) % 3)
    plain, given = LSH(16).fit(X), LSH(16).fit(x)
    assert given.n_features_in_ == 5
    for method in ("transform", "encode"):
        found = getattr(given, method)(x)
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, getattr(plain, method)(X))
    index = fh.FlatIndex(32)
    index.add(packed, ids=arrow.array(range(100, 112)))
    for queries in (codes, packed):
        distances, ids = index.search(queries, 1)
        assert (distances == 0).all()
        np.testing.assert_array_equal(ids[:, 0], np.arange(100, 112))
    vectors, theirs = (index.search(packed, 3, rerank=v, rerank_queries=v).ids for v in (x, X))
    np.testing.assert_array_equal(vectors, theirs)
    score = evaluate.mean_average_precision(packed, labels, packed, labels)
    assert score == evaluate.mean_average_precision(CODES, np.arange(12) % 3, CODES, np.arange(12) % 3)
    np.testing.assert_array_equal(fh.pack_bits(x), fh.pack_bits(X))
    np.testing.assert_array_equal(fh.from_hashes(packed), fh.from_hashes(CODES))
    assert fh.hswd(x) == fh.hswd(X)
    for words in (arrow.array(["0f", "f0"]), arrow.chunked_array([["0f"], ["f0"]])):
        np.testing.assert_array_equal(fh.from_hashes(words), fh.from_hashes(["0f", "f0"]))
    with pytest.raises(ValueError, match="^from_hashes: expected hashes without nulls, got 1$"):
        fh.from_hashes(arrow.array(["0f", None]))


def test_tables_have_names_for_their_columns(arrow):
    x = arrow.table({name: column for name, column in zip("abcde", X.T, strict=True)})
    made = LSH(3).fit(x)
    assert made.feature_names_in_.tolist() == list("abcde")
    np.testing.assert_array_equal(made.encode(x), LSH(3).fit(X).encode(X))
    with pytest.raises(ValueError, match="LSH.encode: expected X of the columns that were fitted, got others"):
        made.encode(x.select(list("bacde")))


def test_the_stored_index_of_a_pandas_frame_is_no_column(arrow, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde")).iloc[[0, 3, 4, 7]]
    for kept in (frame, frame.rename_axis("item"), pandas.DataFrame(X, columns=list("abcde"))):
        table = arrow.Table.from_pandas(kept)
        np.testing.assert_array_equal(to_tensor("here", "x", table), kept.to_numpy())
        fitted = LSH(3).fit(table)
        assert fitted.n_features_in_ == 5
        assert fitted.feature_names_in_.tolist() == list("abcde")
        np.testing.assert_array_equal(fitted.encode(table), fitted.encode(kept))
        for name, write in (("a.parquet", kept.to_parquet), ("a.feather", None)):
            if write is None:
                pytest.importorskip("pyarrow.feather").write_feather(table, tmp_path / name)
            else:
                write(tmp_path / name)
            np.testing.assert_array_equal(read_array(tmp_path / name), kept.to_numpy())
    np.testing.assert_array_equal(read_array(f"{tmp_path}/a.parquet:c"), X[:, 2])
    labels = pandas.DataFrame({"label": np.arange(12)}).sample(frac=1, random_state=0)
    labels.to_parquet(tmp_path / "labels.parquet")
    assert read_array(tmp_path / "labels.parquet").tolist() == labels.label.tolist()
    frame.rename_axis("item").to_parquet(tmp_path / "b.parquet")
    assert read_array(f"{tmp_path}/b.parquet:item").tolist() == [0, 3, 4, 7]


def test_frames_of_types_that_are_not_numpys(arrow):
    pandas = pytest.importorskip("pandas")
    whole = np.arange(6).reshape(3, 2)
    frame = pandas.DataFrame(whole, columns=["a", "b"])
    for given in (
        frame.convert_dtypes(),
        frame.astype({"a": "Int64", "b": "Float64"}),
        frame.astype("double[pyarrow]"),
        frame.astype({"a": "Int8"}),
    ):
        np.testing.assert_array_equal(to_tensor("here", "x", given), whole)
        np.testing.assert_array_equal(LSH(4).fit(given).encode(given), LSH(4).fit(frame).encode(frame))
    mixed = pandas.DataFrame({"a": [True, False], "b": [0.5, 2.0]})
    assert to_tensor("here", "x", mixed).tolist() == [[1, 0.5], [0, 2]]
    for given, error, message in (
        (pandas.DataFrame({"a": pandas.array([1, None], "Int64")}), ValueError, "x, column 'a', without nulls, got 1"),
        (
            pandas.DataFrame({"a": [1.0], "b": ["c"]}).convert_dtypes(),
            TypeError,
            "x, column 'b', of numbers, got string",
        ),
    ):
        with pytest.raises(error, match=f"^here: expected {message}"):
            to_tensor("here", "x", given)


def test_columns_of_hugging_face_data_sets():
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"x": X.tolist(), "label": list(range(12)), "word": ["a"] * 12})
    shuffled, order = made.shuffle(seed=0), np.array(made.shuffle(seed=0)["label"][:])
    assert order.tolist() != list(range(12))
    for kind in (None, "numpy", "torch", "arrow", "pandas"):
        np.testing.assert_array_equal(to_tensor("here", "x", made.with_format(kind)["x"]), X, err_msg=str(kind))
        np.testing.assert_array_equal(to_tensor("here", "x", shuffled.with_format(kind)["x"]), X[order])
        np.testing.assert_array_equal(to_tensor("here", "x", shuffled.with_format(kind)["label"]), order)
    doubled = made.with_transform(lambda batch: {"x": 2 * np.array(batch["x"])})
    np.testing.assert_array_equal(to_tensor("here", "x", doubled["x"]), 2 * X)
    nested = datasets.Dataset.from_dict({"a": [{"x": row} for row in X.tolist()]})
    np.testing.assert_array_equal(to_tensor("here", "x", nested["a"]["x"]), X)
    features = datasets.Features({"x": datasets.Array2D((2, 3), "float32")})
    images = datasets.Dataset.from_dict({"x": np.ones((4, 2, 3)).tolist()}, features)
    assert to_tensor("here", "x", images["x"]).shape == (4, 2, 3)
    np.testing.assert_array_equal(LSH(8).fit(made["x"]).encode(made["x"]), LSH(8).fit(X).encode(X))
    for given, error, message in (
        (made, TypeError, "x to be an array or a column, got a Dataset of ['x', 'label', 'word']; pass one"),
        (made["word"], TypeError, "x, column 'word', of numbers, lists of them or binary, got string"),
        (datasets.Dataset.from_dict({"x": [1.0, None]})["x"], ValueError, "x, column 'x', without nulls, got 1"),
    ):
        with pytest.raises(error, match=f"^here: expected {re.escape(message)}"):
            to_tensor("here", "x", given)


def test_arrays_of_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["words"], file["inner/x"] = X, ["0f", "f0"], X
        np.testing.assert_array_equal(to_tensor("here", "x", file["x"]), X)
        np.testing.assert_array_equal(LSH(8).fit(file["x"]).encode(file["inner/x"]), LSH(8).fit(X).encode(X))
        for given, message in (
            (file["words"], "x to be an array of numbers, got /words of object"),
            (file["inner"], "x to be an array of numbers, got a group of ['x']"),
        ):
            with pytest.raises(TypeError, match=f"^here: expected {re.escape(message)}$"):
                to_tensor("here", "x", given)
        closed = file["x"]
    with pytest.raises(ValueError, match="^here: expected x to be an array of HDF5, got one that cannot be read: "):
        to_tensor("here", "x", closed)


def test_memory_maps(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "codes.npy", CODES)
    x, codes = (np.load(tmp_path / name, mmap_mode="r") for name in ("x.npy", "codes.npy"))
    assert to_tensor("here", "x", x).data_ptr() == x.ctypes.data
    np.testing.assert_array_equal(LSH(8).fit(x).encode(x), LSH(8).fit(X).encode(X))
    index = fh.FlatIndex(32)
    index.add(codes)
    np.testing.assert_array_equal(index.search(codes, 1).ids[:, 0], np.arange(12))


def test_series_of_rows():
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(to_tensor("here", "x", pandas.Series(list(X))), X)
    np.testing.assert_array_equal(to_tensor("here", "x", pandas.Series(X.tolist())), X)
    np.testing.assert_array_equal(LSH(8).fit(pandas.Series(list(X))).encode(X), LSH(8).fit(X).encode(X))
    codes = pandas.Series([row.tobytes() for row in CODES])
    np.testing.assert_array_equal(to_tensor("here", "x", codes), CODES)
    np.testing.assert_array_equal(fh.from_hashes(pandas.Series(["0f", "f0"])), fh.from_hashes(["0f", "f0"]))
    for rows, error, message in (
        ([X[0], X[1, :3]], ValueError, "x of rows of one length, 5, got 3 in row 1"),
        ([X[0], None], TypeError, "x of rows alike, got NoneType in row 1"),
        ([b"ab", b"c"], ValueError, "x of rows of one length, 2, got 1 in row 1"),
        ([[[1], [2]], [[1], [2, 3]]], ValueError, "x of rows of one shape, got several"),
        (["ab", "cd"], TypeError, "x to be a numeric array"),
    ):
        with pytest.raises(error, match=f"^here: expected {message}"):
            to_tensor("here", "x", pandas.Series(rows))


def test_series_of_arrow(arrow):
    pandas = pytest.importorskip("pandas")
    column = arrow.array(list(X))
    series = pandas.Series(pandas.arrays.ArrowExtensionArray(column), name="x")
    np.testing.assert_array_equal(to_tensor("here", "x", series), X)
    with pytest.raises(ValueError, match="^here: expected x, column 'y', without nulls, got 1$"):
        to_tensor("here", "x", pandas.Series([1, None], dtype="int64[pyarrow]", name="y"))


def test_no_package_is_imported_for_what_is_not_its_own():
    script = (
        "import sys, numpy as np, fasthash as fh; fh.FlatIndex(8).add(np.ones((1, 1), np.uint8)); "
        "fh.pack_bits(np.ones((2, 8))); fh.from_hashes(['0f']); "
        "print({'pyarrow', 'pandas', 'h5py', 'datasets'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "set()"
