from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.cluster import ShardedIndex, encode_files
from fasthash.hashers import LSH

BITS = 32
KINDS = [("flat", "rows"), ("flat", "planes"), ("multi", "fast"), ("multi", "compact")]


def near_codes(n, seed=0):
    """Codes of `BITS` bits of which many are equal or at one distance from a query."""
    return np.random.default_rng(seed).integers(0, 4, (n, BITS // 8), dtype=np.uint8)


def save_codes(folder, codes, n_files=3):
    folder.mkdir()
    for i, part in enumerate(np.array_split(codes, n_files)):
        np.save(folder / f"{i}.npy", part)
    return folder


def flat_of(codes, ids=None):
    """One index of codes in the order of their ids."""
    index = fh.FlatIndex(BITS)
    order = np.arange(len(codes)) if ids is None else np.argsort(ids)
    index.add(codes[order], None if ids is None else np.asarray(ids)[order])
    return index


def assert_same(found, expected):
    """Fields are equal, in dtypes and shapes too."""
    for name, x in expected._asdict().items():
        y = getattr(found, name)
        assert (type(y), y.dtype, y.shape) == (type(x), x.dtype, x.shape)
        assert (y == x).all()


@pytest.fixture
def codes():
    return near_codes(3000)


@pytest.fixture
def queries():
    return near_codes(20, seed=1)


@pytest.fixture
def build(tmp_path, codes):
    """Builds an index of codes in `n_shards`."""

    def build(n_shards, ids=None, kind="flat", layout=None, codes=codes):
        if ids is None:
            source = tmp_path / "codes"
            if not source.exists():
                save_codes(source, codes)
            folder = tmp_path / f"{kind}-{layout}-{n_shards}"
            return ShardedIndex.build(source, folder, n_shards=n_shards, kind=kind, layout=layout)
        source = encoded_folder(tmp_path / "encoded", codes, ids)
        return ShardedIndex.build(source, tmp_path / "index", n_shards=n_shards, kind=kind, layout=layout)

    return build


def sign_hasher():
    """A hasher whose codes are the signs of embeddings."""
    hasher = LSH(BITS).fit(np.eye(BITS, dtype=np.float32))
    hasher.mean_, hasher.projection_, hasher.offset_ = torch.zeros(BITS), torch.eye(BITS), torch.zeros(BITS).double()
    return hasher


def write_embeddings(folder, codes, ids, n_files=3, rows_of_group=400):
    """Parquet files of embeddings whose signs are codes, in a column x, and of ids, in a column key."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder.mkdir(exist_ok=True)
    parts = zip(np.array_split(fh.unpack_bits(codes, BITS), n_files), np.array_split(ids, n_files), strict=True)
    for i, (x, key) in enumerate(parts):
        table = pyarrow.table({"x": pyarrow.FixedSizeListArray.from_arrays(x.ravel(), BITS), "key": key})
        parquet.write_table(table, folder / f"{i}.parquet", row_group_size=rows_of_group)
    return folder


def encoded_folder(folder, codes, ids):
    """What `encode_files` makes of embeddings whose codes are these."""
    source = write_embeddings(folder.with_name(f"{folder.name}-source"), codes, ids)
    encode_files(sign_hasher(), source, folder, column="x", id_column="key", part_rows=500)
    return folder
