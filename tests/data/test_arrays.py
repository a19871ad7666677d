"""Arrays in files."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.data.arrays import READERS, read_array
from fasthash.errors import MissingDependencyError
from tests.conftest import damaged


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


def table(path, **columns):
    arrow = pytest.importorskip("pyarrow")
    arrow.parquet = pytest.importorskip("pyarrow.parquet")
    arrow.parquet.write_table(arrow.table(columns), path)


def lists(x, kind):
    arrow = pytest.importorskip("pyarrow")
    if kind == "fixed":
        return arrow.FixedSizeListArray.from_arrays(x.ravel(), x.shape[1])
    of = {"list": arrow.list_, "large": arrow.large_list}[kind]
    return arrow.array(list(x), of(arrow.from_numpy_dtype(x.dtype)))


X = np.arange(12).reshape(4, 3)
FORMATS = {
    "x.npy": (lambda path: np.save(path, X.astype("f4")), "f4"),
    "x.npz": (lambda path: np.savez(path, X.astype("f4")), "f4"),
    "packed.npz": (lambda path: np.savez_compressed(path, a=X), "i8"),
    "lists.parquet": (lambda path: table(path, v=lists(X.astype("f4"), "list")), "f4"),
    "large.parquet": (lambda path: table(path, v=lists(X.astype("u1"), "large")), "u1"),
    "fixed.parquet": (lambda path: table(path, v=lists(X.astype("f8"), "fixed")), "f8"),
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
    assert isinstance(read, np.memmap) == (path.suffix in MAPPED)
    assert not (isinstance(read, np.memmap) and read.flags.writeable)
    assert torch.equal(fh.ops.arrays.to_tensor("here", "x", read), torch.from_numpy(X.astype(dtype)))


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
        with pytest.raises(ValueError, match=f"a.parquet: {message}"):
            read_array(place)
    table(path, v=[[1.0, 2.0], [3.0]])
    with pytest.raises(ValueError, match="expected a column 'v' of lists of one length, got several"):
        read_array(path)
    for values in ([[1.0, 2.0], None], [[1.0, None]], [1.0, None]):
        table(path, v=values)
        with pytest.raises(ValueError, match="expected a column 'v' without nulls, got some"):
            read_array(path)
    table(path, v=lists(X[:0].astype("f4"), "list"))
    assert read_array(path).shape == (0, 0)


def test_a_column_of_a_table_that_is_of_neither_numbers_nor_text_is_refused(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    table(tmp_path / "a.parquet", day=arrow.array([1, 2], arrow.date32()))
    message = "a column 'day' of numbers, of lists of them or of hexadecimal hashes, got date32"
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


def test_parquet_needs_pyarrow(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"reading Parquet files needs pyarrow, .*\[parquet\]"):
        read_array(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\n2\n\n3\n", np.array([1, 2, 3])),
        ("label\n9007199254740993\n", np.array([2**53 + 1])),
        ("\ufeffa,b\r\n1,2.5\r\n", np.array([[1, 2.5]])),
        ("1e3,nan\n-inf,2\n", np.array([[1000, np.nan], [-np.inf, 2]])),
    ],
)
def test_numbers_between_commas(tmp_path, text, expected):
    (tmp_path / "a.csv").write_bytes(text.encode())
    read = read_array(tmp_path / "a.csv")
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "a,b\n", "1,2\n3\n", "1,x\n2,3\n", "1;2\n3;4\n", "1,2\n3,\n", "1,2 # 3\n"]
)
def test_what_is_not_numbers_between_commas_is_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match="a.csv: expected rows of numbers between commas, got"):
        read_array(tmp_path / "a.csv")


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
