"""All pairs over shards are those of one index."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cluster.conftest import flat_of, near_codes

pytest.importorskip("pyarrow")


def read(files):
    from pyarrow import parquet

    tables = [parquet.read_table(path) for path in files]
    columns = [np.concatenate([table[name].to_numpy() for table in tables]) for name in ("i", "j", "distance")]
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def pairs_of(index, radius):
    found = index.hamming_pairs(radius)
    low, high = np.minimum(found.i, found.j), np.maximum(found.i, found.j)
    return sorted(zip(low.tolist(), high.tolist(), found.distances.tolist(), strict=True))


@pytest.mark.parametrize("layout", ["rows", "planes"])
@pytest.mark.parametrize("n_shards", [1, 4])
@pytest.mark.parametrize("radius", [0, 1, 3])
def test_pairs_are_those_of_one_index(build, tmp_path, codes, n_shards, radius, layout):
    found = build(n_shards, layout=layout).pairs(radius, tmp_path / "pairs", part_pairs=1000)
    assert read(found.files) == pairs_of(flat_of(codes), radius)
    assert found.n_pairs == len(read(found.files))
    assert len(found.files) == n_shards * (n_shards + 1) // 2


def test_equals_across_shards_are_paired_with_the_lowest_id(build, tmp_path):
    """Codes of which most are equal, in shards whose ranges of ids overlap, some of them removed."""
    rng = np.random.default_rng(0)
    ids = rng.permutation(10**5)[:3000]
    few = near_codes(3000)[:40][rng.integers(0, 40, 3000)]
    index = build(5, ids, codes=few)
    index.remove(ids[:300])
    found = index.pairs(2, tmp_path / "pairs")
    assert read(found.files) == pairs_of(flat_of(few[300:], ids[300:]), 2)


def test_an_ended_run_goes_on(build, tmp_path, codes, monkeypatch):
    from fasthash.cluster import pairs

    compare, n = pairs._compared, 0

    def interrupted(*arguments):
        nonlocal n
        n += 1
        if n == 4:
            raise KeyboardInterrupt
        return compare(*arguments)

    index, folder = build(3), tmp_path / "pairs"
    monkeypatch.setattr(pairs, "_compared", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.pairs(2, folder)
    assert len(list(folder.glob("*.parquet"))) == 3
    assert not list(folder.glob(".*"))
    found = index.pairs(2, folder)
    assert n == 7
    assert read(found.files) == pairs_of(flat_of(codes), 2)
    with pytest.raises(ValueError, match="ShardedIndex.pairs: expected pairs of the same search at .*, got those of"):
        index.pairs(1, folder)
    index.remove([1])
    with pytest.raises(ValueError, match="expected pairs of the same search"):
        index.pairs(2, folder)
    (folder / "pairs.json").unlink()
    with pytest.raises(ValueError, match="ShardedIndex.pairs: expected a folder without Parquet files, got some at"):
        index.pairs(2, folder)
    with pytest.raises(ValueError, match="ShardedIndex.pairs: expected radius at least 0, got -1"):
        index.pairs(-1, folder)


def test_damaged_pairs_are_named(build, tmp_path):
    index, folder = build(2), tmp_path / "pairs"
    path = index.pairs(1, folder).files[1]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=f"^ShardedIndex.pairs: expected a whole Parquet file at .*{path.name}, got"):
        index.pairs(1, folder)
    (folder / "pairs.json").write_text("{")
    with pytest.raises(
        ValueError, match="^ShardedIndex.pairs: expected what was searched at .*pairs.json, got no JSON"
    ):
        index.pairs(1, folder)
