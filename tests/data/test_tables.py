"""Columns of tables in files, hexadecimal hashes, and what else has names there."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import fasthash as fh
from fasthash.data.arrays import read_array
from fasthash.errors import MissingDependencyError
from tests.data.conftest import arrow_file, binary, lists, table

X = np.arange(12).reshape(4, 3)


def test_a_column_of_a_table_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    table(path, vector=lists(X.astype("f4"), "list"), label=[3, 1, 2, 0], name=["w", "x", "y", "z"], right=[True] * 4)
    assert np.array_equal(read_array(f"{path}:vector"), X)
    assert read_array(f"{path}:label").tolist() == [3, 1, 2, 0]
    assert read_array(f"{path}:right").dtype == bool
    for place, message in (
        (path, "expected one array, or a name as in a.parquet:name, got vector, label, name, right"),
        (f"{path}:labels", "expected the array 'labels', got vector, label, name, right"),
        (f"{path}:name", "expected a column 'name' of hexadecimal hashes of one length, got 'w' in row 1"),
    ):
        with pytest.raises(ValueError, match=f"^read_array: {path}: {message}"):
            read_array(place)
    table(path, v=[[1.0, 2.0], [3.0]])
    with pytest.raises(ValueError, match="expected a column 'v' of lists of one length, got several"):
        read_array(path)
    for values in ([[1.0, 2.0], None], [[1.0, None]], [1.0, None]):
        table(path, v=values)
        with pytest.raises(ValueError, match="expected a column 'v' without nulls, got 1"):
            read_array(path)
    table(path, v=lists(X[:0].astype("f4"), "list"))
    assert read_array(path).shape == (0, 0)


def test_a_column_of_a_table_that_is_of_neither_numbers_nor_text_is_refused(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    table(tmp_path / "a.parquet", day=arrow.array([1, 2], arrow.date32()))
    message = "a column 'day' of numbers, lists of them or binary, got date32"
    with pytest.raises(ValueError, match=f"a.parquet: expected {message}"):
        read_array(tmp_path / "a.parquet")


HASHES = ["d879f8f89b1bbf00", "0000000000000001", "FFFFFFFFFFFFFFFF"]


def test_hexadecimal_hashes_are_read_from_text_and_columns(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffd879f8f89b1bbf00\r\n\r\n 0x0000000000000001\nFFFFFFFFFFFFFFFF".encode())
    (tmp_path / "a.csv").write_text(
        'path, phash\n"a,\nb", d879f8f89b1bbf00\nc,0000000000000001\n\n"d",0xFFFFFFFFFFFFFFFF\n'
    )
    table(tmp_path / "a.parquet", phash=HASHES, n=[1, 2, 3])
    for place in ("a.txt", "a.csv:phash", "a.parquet:phash"):
        read = read_array(f"{tmp_path}/{place}")
        assert read.tolist() == HASHES
        np.testing.assert_array_equal(fh.from_hashes(read), fh.from_hashes(HASHES))


def test_a_column_of_digits_is_numbers_and_a_line_of_them_a_hash(tmp_path):
    (tmp_path / "a.csv").write_text("digits,mixed,whole,marked\n12,12,1,0x12\n34,3e,-2,0x34\n")
    for name, expected in (("digits", [12, 34]), ("mixed", ["12", "3e"]), ("whole", [1, -2]), ("marked", ["12", "34"])):
        assert read_array(f"{tmp_path}/a.csv:{name}").tolist() == expected
    (tmp_path / "a.csv").write_text("a,b\n1,2.5\n3,nan\n")
    np.testing.assert_array_equal(read_array(f"{tmp_path}/a.csv:b"), [2.5, np.nan])
    (tmp_path / "a.txt").write_text("12\n34\n")
    assert read_array(tmp_path / "a.txt").tolist() == ["12", "34"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "expected lines of hexadecimal digits, equally many, got none"),
        (
            "a.txt",
            "ab\n\nabc\n",
            "expected lines of hexadecimal digits, .*, got 'abc' in line 3, where 2 digits come before",
        ),
        ("a.txt", "ab\na.jpg\n", "expected lines of hexadecimal digits, equally many, got 'a.jpg' in line 2"),
        ("a.txt", "0x\n", "expected lines of hexadecimal digits, equally many, got '0x' in line 1"),
        ("a.txt", "\udcff", "expected lines of hexadecimal digits, got 'utf-8' codec can't decode"),
        ("a.csv:h", "", "expected the array 'h', got nothing"),
        ("a.csv:h", "ab\nab\n", "expected the array 'h', got ab"),
        ("a.csv:h", "h,h\n1,2\n", "expected one column 'h', got 2"),
        ("a.csv:h", "h\n", "expected a column 'h' of numbers or of hexadecimal hashes of one length, got none"),
        ("a.csv:h", "a,h\n1,2\n3\n", "expected a cell for each of 2 columns, got 1 in line 3"),
        ("a.csv:h", "a,h\n1,2\n3,\n", "expected a column 'h' of numbers or of .*, got '' in line 3"),
        ("a.csv:h", "h\n1.5\nx\n", "expected a column 'h' of numbers or of .*, got 'x' in line 3"),
        ("a.csv:h", "h\nab\n1.5\n", "expected a column 'h' of numbers or of .*, got '1.5' in line 3"),
        ("a.csv:h", "h\nab\nabc\n", "expected a column 'h' .*, got 'abc' in line 3, where 2 digits come before"),
        ("a.csv:h", "h\n99999999999999999999\n", "expected a column 'h' of numbers, got"),
        ("a.csv:h", f"h\n{'a' * 200_000}\n", "expected rows between commas, got field larger"),
    ],
    ids=lambda words: words[:16],
)
def test_what_is_neither_numbers_nor_hashes_is_told_by_its_line(tmp_path, name, text, message):
    (tmp_path / name.partition(":")[0]).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=f"^read_array: {tmp_path}/{name.partition(':')[0]}: {message}"):
        read_array(f"{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("name", "package", "message"),
    [
        ("a.parquet", "pyarrow", r"reading Parquet files needs pyarrow, .*\[parquet\]"),
        ("a.arrow", "pyarrow", r"reading Arrow files needs pyarrow, .*\[parquet\]"),
        ("a.h5", "h5py", r"reading HDF5 files needs h5py, .*\[hdf5\]"),
    ],
)
def test_formats_need_their_packages(tmp_path, monkeypatch, name, package, message):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=message):
        read_array(tmp_path / name)


def test_a_column_of_an_arrow_file_is_mapped(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    x = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)
    path = tmp_path / "a.arrow"
    arrow_file(path, vector=lists(x, "fixed"), code=binary(x[:, :2].copy().view(np.uint8)), name=["a"] * 1000)
    before = arrow.total_allocated_bytes()
    read, codes = read_array(f"{path}:vector"), read_array(f"{path}:code")
    assert arrow.total_allocated_bytes() - before < x.nbytes / 10
    assert not read.flags.writeable
    np.testing.assert_array_equal(read, x)
    np.testing.assert_array_equal(codes, x[:, :2].copy().view(np.uint8).reshape(1000, 8))
    for name, message in (
        ("", "expected one array, or a name as in a.arrow:name, got vector, code, name"),
        (":vectors", "expected the array 'vectors', got vector, code, name"),
    ):
        with pytest.raises(ValueError, match=f"^read_array: {path}: {message}"):
            read_array(f"{path}{name}")


def test_arrays_of_hdf5_are_named(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["train/x"] = X.astype("f4")
        file["train/right"] = X[:, 0] > 2
        file["hashes"] = HASHES
        file["point"] = np.zeros(2, [("a", "f4"), ("b", "i4")])
        file["nothing"] = h5py.Empty("f4")
        file["one"] = 1.0
        file["none"] = X[:0]
    assert np.array_equal(read_array(f"{path}:train/x"), X)
    assert isinstance(read_array(f"{path}:train/x"), np.memmap)
    assert read_array(f"{path}:train/right").tolist() == [False, True, True, True]
    assert read_array(f"{path}:hashes").tolist() == HASHES
    assert read_array(f"{path}:none").shape == (0, 3)
    for name, message in (
        (
            "",
            "expected one array, or a name as in a.h5:name, got hashes, none, nothing, one, point, train/right, ",
        ),
        (":x", "expected the array 'x', got hashes, "),
        (":point", "expected an array 'point' of numbers, got"),
        (":nothing", "expected an array 'nothing' of numbers, got float32"),
        (":one", "expected an array of at least one dimension, got a single float64"),
    ):
        with pytest.raises(ValueError, match=f"^read_array: {path}: {message}"):
            read_array(f"{path}{name}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\n2\n\n3\n", np.array([1, 2, 3])),
        ("label\n9007199254740993\n", np.array([2**53 + 1])),
        ("\ufeffa,b\r\n1,2.5\r\n", np.array([[1, 2.5]])),
        ("1e3,nan\n-inf,2\n", np.array([[1000, np.nan], [-np.inf, 2]])),
        ("0,1\r\n3,4\r\n1,2.5\r\n", np.array([[3, 4], [1, 2.5]])),  # pandas' names of columns
        ("0,1\n3,4\n", np.array([[0, 1], [3, 4]])),
        ("0,1.0\n3,4.5\n", np.array([[0, 1], [3, 4.5]])),
        ("1,0\n3,4.5\n", np.array([[1, 0], [3, 4.5]])),
        ("0,2\n3,4.5\n", np.array([[0, 2], [3, 4.5]])),
        ("0\n4.5\n", np.array([0, 4.5])),
    ],
)
def test_numbers_between_commas(tmp_path, text, expected):
    (tmp_path / "a.csv").write_bytes(text.encode())
    read = read_array(tmp_path / "a.csv")
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


def test_a_frame_of_pandas_is_read_as_it_was_written(tmp_path):
    pandas = pytest.importorskip("pandas")
    x = np.random.default_rng(0).standard_normal((5, 3))
    pandas.DataFrame(x).to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_array_equal(read_array(tmp_path / "a.csv"), x)
    np.testing.assert_array_equal(read_array(f"{tmp_path}/a.csv:1"), x[:, 1])


@pytest.mark.parametrize(
    "text", ["", "\n\n", "a,b\n", "1,2\n3\n", "1,x\n2,3\n", "1;2\n3;4\n", "1,2\n3,\n", "1,2 # 3\n"]
)
def test_what_is_not_numbers_between_commas_is_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match="a.csv: expected rows of numbers between commas, got"):
        read_array(tmp_path / "a.csv")
