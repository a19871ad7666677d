"""Embeddings in files to codes in files, whole or not at all, and again where they were ended."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

import fasthash as fh
from fasthash.cluster import ShardedIndex, encode_files
from fasthash.cluster.encoding import digest_of_model
from fasthash.cluster.folders import MANIFEST
from fasthash.hashers import H2Q, ITQ, LSH, SpectralHashing
from fasthash.recipes import HashingNetwork
from tests.cluster.conftest import BITS, assert_same, flat_of, near_codes, sign_hasher, write_embeddings

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

IDS = np.arange(3000)[::-1] * 3


@pytest.fixture
def source(tmp_path, codes):
    return write_embeddings(tmp_path / "source", codes, IDS)


def encode(source, out, **more):
    settings = {"column": "x", "id_column": "key", "part_rows": 500, "batch_rows": 128, **more}
    return encode_files(sign_hasher(), source, out, **settings)


def read(folder, encoded):
    """The ids and the codes of all parts."""
    tables = [parquet.read_table(folder / part.file) for part in encoded.parts]
    ids = np.concatenate([table["id"].to_numpy() for table in tables])
    return ids, np.array([list(code) for table in tables for code in table["code"].to_pylist()], np.uint8)


def test_parts_have_ids_and_codes_of_every_row(tmp_path, source, codes):
    encoded = encode(source, tmp_path / "out")
    ids, found = read(tmp_path / "out", encoded)
    assert (ids == IDS).all()
    assert (found == codes).all()
    assert len(encoded) == 3000
    assert [part.n for part in encoded.parts] == [800, 200] * 3  # of groups of 400, 400 and 200 rows
    assert [part.groups for part in encoded.parts[:2]] == [(0, 2), (2, 3)]
    assert (encoded.n_bits, encoded.numbered) == (BITS, False)
    assert encoded.parts[1].ids == (int(IDS[999]), int(IDS[800]))
    assert encoded.model == digest_of_model(sign_hasher())


def test_rows_are_numbered_in_the_order_of_paths(tmp_path, source, codes):
    encoded = encode(source / "*.parquet", tmp_path / "out", id_column=None)
    assert (read(tmp_path / "out", encoded)[0] == np.arange(3000)).all()
    index = ShardedIndex.build(tmp_path / "out", tmp_path / "index", n_shards=4)
    assert index.manifest.next_id == 3000
    assert_same(index.search(near_codes(3), 20), flat_of(codes).search(near_codes(3), 20))


def test_arrays_are_encoded_too(tmp_path, codes):
    (tmp_path / "source").mkdir()
    for i, part in enumerate(np.array_split(fh.unpack_bits(codes, BITS), 2)):
        np.save(tmp_path / "source" / f"{i}.npy", part)
    encoded = encode(tmp_path / "source", tmp_path / "out", column=None, id_column=None)
    assert [part.n for part in encoded.parts] == [500] * 6
    ids, found = read(tmp_path / "out", encoded)
    assert (ids == np.arange(3000)).all()
    assert (found == codes).all()


@pytest.mark.parametrize("kind", [LSH, ITQ, SpectralHashing, H2Q])
def test_every_hasher_encodes(tmp_path, source, codes, kind):
    x = np.random.default_rng(0).normal(size=(300, BITS)).astype(np.float32)
    hasher = kind(16).fit(x)
    encoded = encode_files(hasher, source, tmp_path / "out", column="x", id_column="key")
    assert (read(tmp_path / "out", encoded)[1] == hasher.encode(fh.unpack_bits(codes, BITS))).all()


def test_a_network_encodes_and_is_rotated(tmp_path, source, codes):
    torch.manual_seed(0)
    network = HashingNetwork("mlp", [BITS], BITS)
    rotation = LSH(BITS).fit(np.eye(BITS, dtype=np.float32))
    x = torch.from_numpy(fh.unpack_bits(codes, BITS))
    with torch.inference_mode():
        u = network.eval()(x)
    for rotated, expected in ((None, fh.pack_bits(u)), (rotation, fh.pack_bits(rotation.transform(u)))):
        out = tmp_path / str(rotated is None)
        encoded = encode_files(network, source, out, column="x", rotation=rotated, part_rows=10**6)
        agree = (read(out, encoded)[1] == expected.numpy()).all(1)
        assert agree.mean() > 0.99  # batches of other sizes may round otherwise
    assert digest_of_model(network) != digest_of_model(network, rotation)


def test_a_run_that_was_ended_goes_on(tmp_path, source, codes, monkeypatch):
    from fasthash.cluster import encoding

    part, n = encoding.encode_part, 0

    def interrupted(*arguments):
        nonlocal n
        n += 1
        if n == 4:
            raise KeyboardInterrupt
        return part(*arguments)

    out = tmp_path / "out"
    monkeypatch.setattr(encoding, "encode_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode(source, out, workers=1)
    assert not (out / MANIFEST).exists()
    with pytest.raises(FileNotFoundError, match="expected a folder with manifest.json, which encode_files writes last"):
        ShardedIndex.build(out, tmp_path / "index", n_shards=1)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert {f"part-0000{i}.parquet" for i in range(3)} <= {path.name for path in finished}
    assert out / "part-00003.parquet" not in finished
    (out / "part-00003.parquet").write_bytes(b"half")
    encoded = encode(source, out, workers=1)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert (read(out, encoded)[1] == codes).all()
    n_before = n
    assert encode(source, out) == encoded
    assert n == n_before


KILLED = """
import os, signal, sys
from pyarrow import parquet
from fasthash.cluster import encode_files
from tests.cluster.conftest import sign_hasher

write, n = parquet.ParquetWriter.write_table, 0

def killed(*arguments, **settings):
    global n
    n += 1
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*arguments, **settings)

parquet.ParquetWriter.write_table = killed
encode_files(sign_hasher(), *sys.argv[1:], column="x", id_column="key", part_rows=500, batch_rows=128, workers=1)
"""


def test_what_a_killed_run_left_is_deleted_by_the_next(tmp_path, source, codes):
    out = tmp_path / "out"
    assert subprocess.run([sys.executable, "-c", KILLED, source, out]).returncode < 0
    left = {path.name for path in out.iterdir()}
    assert {"part-00000.parquet", "part-00001.parquet"} < left
    assert [name.rpartition(".")[0] for name in left if name.startswith(".")] == [".part-00002.parquet"]
    assert (read(out, encode(source, out))[1] == codes).all()
    assert {path.name for path in out.iterdir()} == {MANIFEST, *(f"part-0000{i}.parquet" for i in range(6))}


def test_parts_of_a_file_that_was_changed_are_made_again(tmp_path, source, codes):
    out = tmp_path / "out"
    encode(source, out)
    (out / MANIFEST).unlink()
    others = near_codes(3000, seed=9)
    write_embeddings(tmp_path / "others", others, IDS)
    (source / "1.parquet").write_bytes((tmp_path / "others" / "1.parquet").read_bytes())
    before = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
    found = read(out, encode(source, out))[1]
    assert (found == np.concatenate([codes[:1000], others[1000:2000], codes[2000:]])).all()
    after = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
    assert [name for name in before if before[name] != after[name]] == ["part-00002.parquet", "part-00003.parquet"]
    with pytest.raises(ValueError, match="encode_files: expected a folder without other codes at .*, got some"):
        encode_files(LSH(16).fit(np.eye(BITS, dtype=np.float32)), source, out, column="x", id_column="key")


def test_storage_of_fsspec_is_as_this_machines(tmp_path, source, codes):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in source.iterdir():
        memory.pipe(f"/cluster-source/{path.name}", path.read_bytes())
    encoded = encode("memory://cluster-source/*.parquet", "memory://cluster-out")
    assert [p.blake2b for p in encoded.parts] == [p.blake2b for p in encode(source, tmp_path / "out").parts]
    assert encode("/cluster-source", "/cluster-out", filesystem=memory).parts == encoded.parts
    assert not [name for name in memory.ls("/cluster-out", detail=False) if "unfinished" in name]
    index = ShardedIndex.build("memory://cluster-out", tmp_path / "index", n_shards=2)
    assert_same(index.search(near_codes(3), 20), flat_of(codes, IDS).search(near_codes(3), 20))
    memory.rm("/cluster-source", recursive=True)
    memory.rm("/cluster-out", recursive=True)


def write(path, **columns):
    parquet.write_table(pyarrow.table(columns), path)


def lists(n, width, dtype="f4"):
    return pyarrow.FixedSizeListArray.from_arrays(np.zeros(n * width, dtype), width)


WRONG = [
    ({}, "expected a column 'x' at .*1.parquet, got key", lambda p: write(p, key=[1, 2])),
    ({}, "expected a column 'key' at .*1.parquet, got x", lambda p: write(p, x=lists(2, BITS))),
    (
        {},
        r"expected a column 'x' of fixed_size_list<.*float.*>\[32\] and a column 'key' of int64 at .*1.parquet, as at "
        r".*0.parquet, got a column 'x' of fixed_size_list<.*double.*>",
        lambda p: write(p, x=lists(2, BITS, "f8"), key=[1, 2]),
    ),
    ({}, "expected a whole Parquet file at .*1.parquet, got", lambda p: p.write_bytes(p.read_bytes()[:-40])),
    ({"column": None}, "expected column, as there are several at .*0.parquet: x, a, b", None),
    ({"id_column": "x"}, "expected a column 'x' at .*0.parquet of integers, got float32", None),
]


@pytest.mark.parametrize(("settings", "message", "spoil"), WRONG)
def test_files_that_do_not_fit_are_named_before_any_work(tmp_path, source, settings, message, spoil):
    if spoil is not None:
        spoil(source / "1.parquet")
    if settings.get("column", "x") is None:
        for path in source.iterdir():
            write(path, x=lists(2, BITS), a=[1, 2], b=[1, 2], key=[1, 2])
    with pytest.raises(ValueError, match=f"^encode_files: {message}"):
        encode(source, tmp_path / "out", **settings)
    assert not list((tmp_path / "out").glob("*"))


def test_a_part_that_is_damaged_is_named_and_the_others_stay(tmp_path, source, codes):
    path, out = source / "1.parquet", tmp_path / "out"
    whole = path.read_bytes()
    path.write_bytes(whole[:10] + bytes(300) + whole[310:])
    with pytest.raises(ValueError, match="^encode_files: expected .* at .*1.parquet"):
        encode(source, out)
    assert {each.name for each in out.glob("part-*")} == {f"part-0000{i}.parquet" for i in (0, 1, 3, 4, 5)}
    assert not (out / MANIFEST).exists()
    path.write_bytes(whole)
    assert (read(out, encode(source, out))[1] == codes).all()


def test_wrong_embeddings_are_named(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    nan = np.zeros(2 * BITS, np.float32)
    nan[3] = np.nan
    for columns, message in (
        ({"x": lists(2, 5), "key": [1, 2]}, "expected embeddings that the model takes at .*a.parquet, got others: LSH"),
        ({"x": lists(2, BITS), "key": [1, -1]}, "expected a column 'key' at .*a.parquet without -1"),
        ({"x": lists(2, BITS), "key": pyarrow.array([1, None])}, "expected a column 'key' at .* without nulls, got 1"),
        (
            {"x": pyarrow.array([[1.0], [1.0, 2.0]]), "key": [1, 2]},
            "expected a column 'x' at .* of lists of one length",
        ),
        ({"x": pyarrow.FixedSizeListArray.from_arrays(nan, BITS), "key": [1, 2]}, "expected embeddings .* NaN"),
    ):
        write(source / "a.parquet", **columns)
        with pytest.raises(ValueError, match=f"^encode_files: {message}"):
            encode(source, out)
    big = pyarrow.array(np.array([1, 2**64 - 5], np.uint64))
    write(source / "a.parquet", x=lists(2, BITS), key=big)
    with pytest.raises(ValueError, match=r"of less than 2\^63, got 18446744073709551611"):
        encode(source, out)


def test_wrong_calls_are_refused(tmp_path, source):
    out = tmp_path / "out"
    for arguments, error, message in (
        ((object(), source, out), TypeError, "expected model to be a hasher or an nn.Module, got object"),
        ((torch.nn.Linear(2, 3), source, out), TypeError, "expected model.n_bits to be an integer, got NoneType"),
        ((sign_hasher(), 3, out), TypeError, "expected source to be a path or a URI, got int"),
        (
            (sign_hasher(), "nothing://x", out),
            ValueError,
            "expected source on a storage that is known, got nothing://x",
        ),
        ((sign_hasher(), tmp_path / "no" / "*.parquet", out), FileNotFoundError, "expected files in .parquet or .npy"),
    ):
        with pytest.raises(error, match=f"^encode_files: {message}"):
            encode_files(*arguments)
    with pytest.raises(NotFittedError, match="This LSH instance is not fitted yet"):
        encode_files(LSH(BITS), source, out)
    with pytest.raises(ValueError, match="^encode_files: expected folder to be another than source, got"):
        encode(source, f"{source}/")
    for x, message in (
        (np.float32(1), r"expected embeddings \[n, d\] at .*a.npy, got an array of shape \[\]"),
        (np.array([None]), "expected an array of numpy.save at .*a.npy, got one of objects"),
        (np.zeros((BITS, 2)).T, "expected an array of numpy.save at .*a.npy, got one whose rows do not follow each"),
    ):
        np.save(tmp_path / "a.npy", x)
        with pytest.raises(ValueError, match=f"^encode_files: {message}"):
            encode_files(sign_hasher(), tmp_path / "a.npy", out)
    assert not out.exists()
    np.save(tmp_path / "a.npy", np.zeros((2, BITS), np.float32))
    with pytest.raises(ValueError, match="encode_files: expected Parquet files for columns by name, got .*a.npy"):
        encode(tmp_path / "a.npy", out)
    with pytest.raises(TypeError, match="encode_files: expected filesystem to be one of pyarrow or fsspec, got int"):
        encode(source, out, filesystem=3)


def test_a_manifest_is_json_with_a_checksum(tmp_path, source):
    encode(source, tmp_path / "out")
    path = tmp_path / "out" / MANIFEST
    described = json.loads(path.read_text())
    assert described["format"] == "fasthash codes 1"
    assert described["parts"][0]["source"] == str(source / "0.parquet")
    path.write_text(json.dumps({**described, "n_bits": 64}))
    with pytest.raises(ValueError, match="ShardedIndex.build: expected codes at .*, got a manifest.json that does not"):
        ShardedIndex.build(tmp_path / "out", tmp_path / "index", n_shards=1)
