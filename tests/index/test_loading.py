from __future__ import annotations

import errno
import gzip
import io
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.index import storage
from tests.index.conftest import FILLED, numbered, random_codes


class Named(fh.FlatIndex):
    """An index with a setting of its own."""

    SETTINGS = ("n_bits", "name")

    def __init__(self, n_bits, name):
        super().__init__(n_bits)
        self.name = name


class Deeper(Named):
    pass


class Unmakeable(fh.FlatIndex):
    def __init__(self, n_bits, *, name):
        super().__init__(n_bits)


def assert_equal(loaded, index):
    assert type(loaded) is type(index)
    assert torch.equal(loaded.codes, index.codes)
    assert torch.equal(loaded.ids, index.ids)
    assert loaded._contents.next_id == index._contents.next_id


@pytest.mark.parametrize("fill", FILLED)
def test_bytes_and_open_files_hold_what_a_file_does(make, fill, tmp_path):
    index = fill(make)
    index.save(tmp_path / "index")
    content = (tmp_path / "index").read_bytes()
    assert index.to_bytes() == content
    file = io.BytesIO(b"before")
    file.seek(6)
    index.save(file)
    assert file.getvalue() == b"before" + content
    file.seek(6)
    for data in (content, bytearray(content), memoryview(content)):
        assert_equal(fh.index.from_bytes(data, verify=True), index)
    assert_equal(fh.load_index(file), index)
    with gzip.open(tmp_path / "index.gz", "wb") as packed:
        index.save(packed)
    with gzip.open(tmp_path / "index.gz") as packed:
        assert_equal(fh.load_index(packed, mmap=False), index)


def test_an_index_goes_through_a_pipe(make):
    index = numbered(make)
    read, write = os.pipe()

    def save():
        with open(write, "wb") as sink:
            index.save(sink)

    with ThreadPoolExecutor(1) as pool, open(read, "rb") as source:
        saved = pool.submit(save)  # a pipe holds less than a block of planes
        assert_equal(fh.load_index(source), index)
        saved.result()


def test_codes_from_bytes_lie_where_the_bytes_are_until_more_are_added(make):
    index = numbered(make)
    data = bytearray(index.to_bytes())
    loaded = fh.index.from_bytes(data)
    begin = np.frombuffer(data, np.uint8).ctypes.data
    assert begin < loaded._contents.codes.memory.data_ptr() < begin + len(data)
    loaded.add(random_codes(1))
    assert not begin <= loaded._contents.codes.memory.data_ptr() < begin + len(data)
    assert data == index.to_bytes()


@pytest.mark.parametrize("cls", [Named, Deeper])
def test_a_subclass_is_read_where_it_is_imported(cls, tmp_path):
    index = cls(32, "mine")
    index.add(random_codes(5), [3, 1, 2, 9, 8])
    index.save(tmp_path / "index")
    loaded = fh.load_index(tmp_path / "index")
    assert_equal(loaded, index)
    assert loaded.name == "mine"
    script = f"import fasthash as fh; fh.load_index({str(tmp_path / 'index')!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "ValueError: load_index: expected a file of FlatIndex or MultiIndex at "
        f"{tmp_path / 'index'}, got one of {__name__}:{cls.__name__}; import {__name__} first"
    )


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    (tmp_path / "index").write_bytes(b"the old file")
    unmakeable = Unmakeable(32, name="x")
    mutable = Named(32, name={1: 2})
    long = Named(32, name="x" * 70_000)
    for index, error, message in (
        (
            unmakeable,
            TypeError,
            "Unmakeable.save: expected a class that can be made from its SETTINGS, n_bits, layout, got Unm",
        ),
        (mutable, TypeError, "Named.save: expected settings that JSON can hold, got {'n_bits': 32, 'name': {1: 2}"),
        (long, ValueError, "Named.save: expected a header of at most 65536 bytes, got 70"),
    ):
        with pytest.raises(error, match=message):
            index.save(tmp_path / "index")
    assert (tmp_path / "index").read_bytes() == b"the old file"
    with pytest.raises(TypeError, match="Unmakeable.to_bytes: expected a class that"):
        unmakeable.to_bytes()


def test_ids_that_are_not_distinct_are_told(tmp_path):
    arrays = {"codes": random_codes(3), "ids": np.array([5, 9, 5])}
    storage.write("", tmp_path / "index", "FlatIndex", {"n_bits": 32, "next_id": None}, arrays)
    with pytest.raises(ValueError, match="load_index: .* got one that cannot be: its ids are not distinct"):
        fh.load_index(tmp_path / "index", verify=True)
    index = fh.load_index(tmp_path / "index")
    with pytest.raises(ValueError, match="FlatIndex.add: expected an index whose ids are distinct, got 5 twice"):
        index.add(random_codes(1), [4])


@pytest.mark.parametrize(
    ("n_bits", "next_id", "ids", "message"),
    [
        (32, None, [5, -1, 7], "its ids have a -1, which stands for no hit"),
        (32, 6, [1, 6, 2], "its ids are from 1 to 6, where the next is 6"),
        (32, 3, [-5, 1, 2], "its ids are from -5 to 2, where the next is 3"),
        (29, 3, None, "its codes have bits beyond the first 29"),
        (25, None, [3, 2, 1], "its codes have bits beyond the first 25"),
    ],
)
@pytest.mark.parametrize("kind", ["FlatIndex", "MultiIndex"])
def test_what_add_would_refuse_is_told(tmp_path, kind, n_bits, next_id, ids, message):
    arrays = {"codes": np.full((3, 4), 255, np.uint8)} | ({} if ids is None else {"ids": np.array(ids)})
    settings = {"n_bits": n_bits, "next_id": next_id}
    settings |= {"n_tables": 2, "layout": "fast"} if kind == "MultiIndex" else {}
    storage.write("", tmp_path / "index", kind, settings, arrays)
    expected = f"{re.escape(str(tmp_path / 'index'))}, got one that cannot be: {message}"
    with pytest.raises(ValueError, match=f"^load_index: expected a {kind} at {expected}$"):
        fh.load_index(tmp_path / "index", verify=True)
    with pytest.raises(ValueError, match=f"^from_bytes: expected a {kind} in data, got one that cannot be: {message}$"):
        fh.index.from_bytes((tmp_path / "index").read_bytes(), verify=True)


def test_a_mapped_index_copies_its_codes_when_more_are_added_or_an_eighth_is_removed(make, tmp_path):
    index = make(32)
    index.add(random_codes(80))
    index.save(tmp_path / "index")
    for change, copies in (
        (lambda loaded: loaded.remove(range(10)), False),
        (lambda loaded: loaded.remove(range(11)), True),
        (lambda loaded: loaded.add(random_codes(1)), True),
    ):
        loaded = fh.load_index(tmp_path / "index")
        there = loaded._contents.codes.memory.data_ptr()
        change(loaded)
        assert (loaded._contents.codes.memory.data_ptr() != there) == copies


def test_damaged_bytes_are_refused(make):
    data = numbered(make).to_bytes()
    for i, j in pairwise(range(0, len(data), 97)):
        with pytest.raises(ValueError, match="^from_bytes: expected an index file in data, got"):
            fh.index.from_bytes(data[:i] + data[j:])
    for wrong in ("text", 3, None, random_codes(4)[:, ::2]):
        with pytest.raises(TypeError, match="^from_bytes: expected data to be contiguous bytes, got"):
            fh.index.from_bytes(wrong)
    with pytest.raises(
        ValueError, match="^load_index: expected an index file in the open file .*, got a file that begins"
    ):
        fh.load_index(io.BytesIO(b"no index"))


class Unbuffered(io.RawIOBase):
    """A file that takes some bytes at a time, and at last none."""

    def __init__(self, room):
        self.content, self.room = bytearray(), room

    def writable(self):
        return True

    def write(self, data):
        if len(self.content) >= self.room:
            return None
        self.content += bytes(data[:7])
        return min(7, len(data))


def test_a_file_that_takes_few_bytes_at_a_time_gets_all_or_an_error(make):
    index = numbered(make)
    file = Unbuffered(10**9)
    index.save(file)
    assert bytes(file.content) == index.to_bytes()
    with pytest.raises(BlockingIOError, match="takes no more bytes"):
        index.save(Unbuffered(100))


def test_a_file_that_cannot_be_mapped_is_named(make, tmp_path, monkeypatch):
    numbered(make).save(tmp_path / "index")

    def refuse(*_):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(np, "memmap", refuse)
    with pytest.raises(OSError, match=f"Cannot allocate memory: '{tmp_path / 'index'}'"):
        fh.load_index(tmp_path / "index")


def test_a_folder_is_no_index(tmp_path):
    with pytest.raises(
        IsADirectoryError, match=r"load_index: expected a file, got the folder .*ShardedIndex\.open opens"
    ):
        fh.load_index(tmp_path)
