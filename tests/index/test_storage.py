from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.index import storage
from tests.index.conftest import CLASSES, FILLED, emptied, numbered, random_codes, with_ids


@pytest.fixture
def path(tmp_path):
    return tmp_path / "codes.index"


@pytest.fixture
def saved(path):
    with_ids(fh.FlatIndex).save(path)
    return path


def parts(path):
    """What NumPy and the README of the format need: the header's JSON, and where the sections begin."""
    content = path.read_bytes()
    magic, version, json_bytes = content[:8], *np.frombuffer(content, "<u4", 2, 8)
    assert (magic, version) == (b"fasthash", 1)
    end = 32 + int(json_bytes)
    assert hashlib.blake2b(content[:16] + content[32:end], digest_size=16).digest() == content[16:32]
    return json.loads(content[32:end]), end


def rewrite(path, text):
    """Replace the JSON of the header, its checksum right."""
    sections = path.read_bytes()[parts(path)[1] :]
    text += b" " * (-(32 + len(text)) % 64)
    start = b"fasthash" + np.array([1, len(text)], "<u4").tobytes()
    path.write_bytes(start + hashlib.blake2b(start + text, digest_size=16).digest() + text + sections)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("fill", FILLED)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_loaded_index_is_the_saved_one(cls, fill, mmap, path):
    index = fill(cls)
    index.save(path)
    loaded = fh.load_index(path, mmap=mmap, verify=True)
    assert type(loaded) is type(index)
    assert repr(loaded) == repr(index)
    assert [getattr(loaded, name) for name in index.SETTINGS] == [getattr(index, name) for name in index.SETTINGS]
    queries = random_codes(5, seed=1)
    dense = np.bitwise_count(queries[:, None] ^ index.codes.numpy()).sum(-1, dtype=np.int32)
    for _ in range(2):
        distances, ids = loaded.search(queries, 7)
        order = np.argsort(dense, axis=1, kind="stable")[:, :7]
        n = order.shape[1]
        np.testing.assert_array_equal(distances[:, :n], np.take_along_axis(dense, order, axis=1))
        np.testing.assert_array_equal(ids[:, :n], index.ids.numpy()[order])
        assert (ids[:, n:] == -1).all()
        offsets, _, hits = loaded.radius_search(queries, 2)
        np.testing.assert_array_equal(np.diff(offsets), (dense <= 2).sum(1))
        assert set(hits) <= set(index.ids.tolist())
        loaded.save(path)
        loaded = fh.load_index(path, mmap=mmap, verify=True)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_index_is_loaded_where_nothing_else_was(cls, path):
    index = numbered(cls)
    index.save(path)
    script = "import sys, fasthash; print(fasthash.load_index(sys.argv[1]))"
    assert subprocess.check_output([sys.executable, "-c", script, path], text=True) == f"{index!r}\n"


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("fill", FILLED)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_loaded_index_changes_as_the_saved_one_would_and_its_file_does_not(cls, fill, mmap, path):
    index = fill(cls)
    index.save(path)
    loaded, before = fh.load_index(path, mmap=mmap), path.read_bytes()
    ids = np.array([5000, 5001]) if fill in (with_ids, emptied) else None
    for each in (index, loaded):
        each.add(random_codes(0), ids=None if ids is None else ids[:0])
        each.add(random_codes(2, seed=2), ids=ids)
        each.remove(each.ids[:1])
    assert torch.equal(loaded.codes, index.codes)
    assert torch.equal(loaded.ids, index.ids)
    assert path.read_bytes() == before
    loaded.reset()
    assert len(loaded) == 0
    assert path.read_bytes() == before


def test_an_index_saves_over_the_file_that_it_is_mapped_from(saved):
    index = fh.load_index(saved)
    other = fh.load_index(saved)
    index.add(random_codes(3, seed=2), ids=np.array([5000, 5001, 5002]))
    index.save(saved)
    other.save(saved.with_name("other"))
    assert len(fh.load_index(saved, verify=True)) == 53
    assert torch.equal(fh.load_index(saved.with_name("other"), verify=True).codes, with_ids(fh.FlatIndex).codes)


def test_the_format_needs_numpy_alone(saved):
    header, start = parts(saved)
    assert header["index"] == "FlatIndex"
    assert header["settings"] == {"n_bits": 32, "layout": "rows", "next_id": None}
    assert list(header["sections"]) == ["codes", "ids"]
    assert start % 64 == 0
    index = with_ids(fh.FlatIndex)
    for name, section in header["sections"].items():
        offset = start + section["offset"]
        x = np.memmap(saved, section["dtype"], "r", offset, tuple(section["shape"]))
        np.testing.assert_array_equal(x, getattr(index, name).numpy())
        assert offset % 64 == 0
        padded = x.tobytes() + bytes(-x.nbytes % 64)
        assert hashlib.blake2b(padded, digest_size=16).hexdigest() == section["blake2b"]


def test_a_mapped_index_reads_its_codes_when_it_is_searched(saved):
    mapped, read = fh.load_index(saved), fh.load_index(saved, mmap=False)
    assert mapped.codes.data_ptr() % 64 == 0
    first = parts(saved)[1]
    with open(saved, "r+b") as file:
        file.seek(first)
        file.write(b"\xff\xff\xff\xff")
    assert mapped.codes[0].tolist() == [255] * 4
    np.testing.assert_array_equal(read.codes.numpy(), random_codes(50))
    with pytest.raises(ValueError, match="got codes that do not match their checksum"):
        fh.load_index(saved, verify=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_an_index_moves_between_devices_by_its_file(saved):
    index = fh.load_index(saved, device="cuda")
    assert index.codes.is_cuda
    queries = random_codes(5, seed=1)
    for x, y in zip(index.search(queries, 7), with_ids(fh.FlatIndex).search(queries, 7), strict=True):
        np.testing.assert_array_equal(x, y)
    index.save(saved)
    assert torch.equal(fh.load_index(saved, verify=True).ids, index.ids.cpu())


def test_an_index_that_searches_on_the_cpu_stays_there(path):
    numbered(fh.MultiIndex).save(path)
    where = "a MultiIndex at .*: it searches on the CPU, not on cuda" if torch.cuda.is_available() else "device to be"
    with pytest.raises(ValueError, match=f"load_index: expected {where}"):
        fh.load_index(path, device="cuda")


@pytest.mark.parametrize(("n_tables", "layout"), [("auto", "fast"), (3, "compact")])
def test_tables_are_built_as_before(path, n_tables, layout):
    index = fh.MultiIndex(32, n_tables, layout=layout)
    index.add(random_codes(50))
    index.build()
    index.save(path)
    loaded = fh.load_index(path)
    loaded.build()
    assert repr(loaded) == repr(index)
    assert loaded.stats() == index.stats()


@pytest.mark.parametrize("step", ["hashlib.blake2b", "os.fsync", "os.replace"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_save_that_fails_leaves_the_old_file_alone(saved, monkeypatch, step, error):
    before = saved.read_bytes()

    def fail(*arguments, **keywords):
        raise error

    monkeypatch.setattr(f"fasthash.index.storage.{step}", fail)
    with pytest.raises(error):
        numbered(fh.FlatIndex).save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_the_file_and_then_its_folder_are_forced_to_the_disk(path, monkeypatch):
    steps = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *x, name=name, real=real: (steps.append(name), real(*x)))
    numbered(fh.FlatIndex).save(path)
    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("moment", ["line", "random"])
def test_a_killed_save_leaves_the_old_index_or_the_new_one(path, moment):
    script = Path(__file__).with_name("kill_save.py")
    left = subprocess.check_output([sys.executable, script, moment, path], text=True).split()
    assert len(left) > 50
    assert set(left) <= {"old", "new"}
    if moment == "line":
        assert left == sorted(left, reverse=True)  # old until the rename, new from then on
        assert left[-1] == "new"
    unfinished = set(path.parent.iterdir()) - {path}
    assert len(unfinished) <= 1  # what one leaves, the next deletes
    assert all(re.fullmatch(r"\.codes\.index\.[0-9a-f]{16}", file.name) for file in unfinished)


def test_a_changed_bit_is_refused(saved):
    content = saved.read_bytes()
    header_bytes = parts(saved)[1]
    for position in range(len(content)):
        for bit in range(8) if position < header_bytes else [position % 8]:
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            saved.write_bytes(damaged)
            with pytest.raises(ValueError, match="load_index: expected an index file at .*, got "):
                fh.load_index(saved, verify=position >= header_bytes)


def test_any_other_length_is_refused(saved):
    content = saved.read_bytes()
    for length in range(len(content)):
        saved.write_bytes(content[:length])
        with pytest.raises(ValueError, match="load_index: expected an index file at .*, got "):
            fh.load_index(saved)
    saved.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match=f"got {len(content) + 1} bytes, where its header describes {len(content)}"):
        fh.load_index(saved)


def places(value, place=()):
    """Every place in nested lists and dictionaries."""
    yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*place, key))


@pytest.mark.slow
def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path):
    values = [None, -1, 2**31, 2**40, 2**63, 2**70, 10**400, 1.5, float("nan"), True, "x", "|O", "<f2", [], {}]
    values += [[2**40, 4], [2**32, 2**32], [0, 2**62], [0, 10**30], [1] * 40, [[1], 4], [-50, -4], [2**61]]
    lies = 0
    for fill in (numbered, with_ids):
        saved = tmp_path / f"{fill.__name__}.index"
        fill(fh.FlatIndex).save(saved)
        header = parts(saved)[0]
        for place in places(header):
            for value in values:
                lie = value
                if place:
                    lie = copy.deepcopy(header)
                    inner = lie
                    for key in place[:-1]:
                        inner = inner[key]
                    inner[place[-1]] = value
                if place[-2:] == ("settings", "next_id") and fill is with_ids and value in (None, 2**31, 2**40):
                    continue  # any larger number may be the next
                lies += 1
                (tmp_path / f"{lies}.lie").write_bytes(saved.read_bytes())
                rewrite(tmp_path / f"{lies}.lie", json.dumps(lie).encode())
    assert lies > 500
    for text in (b"", b"{", b"\xff", b"[" * 50_000, b"9" * 50_000, b"[]," * 20_000):
        lies += 1
        (tmp_path / f"{lies}.lie").write_bytes(saved.read_bytes())
        rewrite(tmp_path / f"{lies}.lie", text)
    script = """
import resource, sys
from pathlib import Path
from fasthash.index import load_index
pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
if pages:
    limit = pages * resource.getpagesize() + 2**24
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in Path(sys.argv[1]).glob("*.lie"):
    try:
        index = load_index(path, verify=True)
        print("none", path)
    except Exception as error:
        print(type(error).__name__)
"""
    raised = subprocess.check_output([sys.executable, "-c", script, tmp_path], text=True).splitlines()
    assert raised == ["ValueError"] * lies


class Trap:
    def __reduce__(self):
        return os.abort, ()


FOREIGN = {
    "empty": (b"", "got a file that begins with b''"),
    "magic": (b"fasthash", "got a file that ends after 8 bytes"),
    "pickle": (pickle.dumps(Trap()), r"got a file that begins with b'\\x80"),
    "npy": (b"\x93NUMPY" + bytes(200), r"got a file that begins with b'\\x93NUMPY"),
    "newer": (
        b"fasthash" + np.array([2, 100], "<u4").tobytes() + bytes(300),
        "got one of format 2, where this fasthash reads format 1",
    ),
    "giant": (b"fasthash" + np.array([1, 2**30], "<u4").tobytes() + bytes(300), "got a header of 1073741824 bytes"),
    "cut": (
        b"fasthash" + np.array([1, 400], "<u4").tobytes() + bytes(300),
        "got a file that ends after 316 bytes, in its header",
    ),
}


@pytest.mark.parametrize(("content", "message"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_is_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"load_index: expected an index file at .*codes.index, {message}"):
        fh.load_index(path)


def test_a_class_of_another_kind_is_refused(saved):
    header = parts(saved)[0]
    rewrite(saved, json.dumps(header | {"index": "TreeIndex"}).encode())
    with pytest.raises(ValueError, match="expected a file of FlatIndex.* at .*, got one of TreeIndex"):
        fh.load_index(saved)
    rewrite(saved, json.dumps(header | {"settings": {"n_bits": 40, "next_id": None}}).encode())
    with pytest.raises(ValueError, match=r"expected a FlatIndex at .*: codes are uint8 \[50, 4\]"):
        fh.load_index(saved)
    rewrite(saved, json.dumps(header | {"settings": header["settings"] | {"device": "nowhere"}}).encode())
    with pytest.raises(ValueError, match="expected a FlatIndex at .*: its settings are n_bits, layout, .*, device"):
        fh.load_index(saved)


def test_a_missing_file_or_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        fh.load_index(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        numbered(fh.FlatIndex).save(tmp_path / "nowhere" / "codes.index")
    assert list(tmp_path.iterdir()) == []


def test_large_sections_are_written_in_pieces(path, monkeypatch):
    monkeypatch.setattr(storage, "_PIECE_BYTES", 100)
    with_ids(fh.FlatIndex).save(path)
    pieces = path.read_bytes()
    monkeypatch.undo()
    with_ids(fh.FlatIndex).save(path)
    assert path.read_bytes() == pieces
    fh.load_index(path, verify=True)
