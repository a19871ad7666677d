"""What shards, actors and files cost: searches beside one index, the merge of hits, encoding beside reading."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fasthash as fh
from fasthash.cluster import ShardedIndex, encode_files
from fasthash.cluster.merging import nearest_of
from fasthash.hashers import LSH

N, QUERIES, K, THREADS = 10**7, 100, 100, 2


@pytest.fixture
def codes(rng, scale):
    return rng.integers(0, 256, (scale(N, 3000), 8), dtype=np.uint8)


@pytest.fixture
def queries(rng):
    return rng.integers(0, 256, (QUERIES, 8), dtype=np.uint8)


@pytest.fixture
def folder(codes, tmp_path):
    (tmp_path / "codes").mkdir()
    np.save(tmp_path / "codes" / "0.npy", codes)
    return tmp_path / "codes"


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray")
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False)
    yield ray
    ray.shutdown()
    cluster.shutdown()


def measure(benchmark, row, run, rounds=7):
    benchmark.extra_info.update(row=row, threads=THREADS)
    return benchmark.pedantic(run, rounds=rounds, warmup_rounds=2)


def as_one(benchmark, row, codes, queries, index):
    benchmark.group = "search of 10^7 codes of 64 bits, 100 queries, k=100"
    benchmark.extra_info.update(comparisons=len(codes) * QUERIES, bytes=codes.nbytes)
    found = measure(benchmark, row, lambda: index.search(queries, K))
    expected = fh.hamming_topk(queries, codes, K)
    assert (found.ids == expected.ids).all()
    assert (found.distances == expected.distances).all()


def bench_one_index(benchmark, codes, queries, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTHASH_THREADS", str(THREADS))
    index = fh.FlatIndex(64)
    index.add(codes)
    index.save(tmp_path / "index")
    as_one(benchmark, "fasthash one FlatIndex", codes, queries, fh.load_index(tmp_path / "index"))


@pytest.mark.parametrize("n_shards", [1, 2, 10, 100])
def bench_shards(benchmark, codes, queries, folder, tmp_path, n_shards):
    index = ShardedIndex.build(folder, tmp_path / "index", n_shards=n_shards)
    index = ShardedIndex.open(index.folder, threads=THREADS)
    as_one(benchmark, f"fasthash {n_shards} shards, one process", codes, queries, index)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_shards", [2, 10, 100])
def bench_actors(benchmark, codes, queries, folder, tmp_path, n_shards, ray):
    ShardedIndex.build(folder, tmp_path / "index", n_shards=n_shards)
    with ShardedIndex.open(tmp_path / "index", engine="ray", timeout=600) as index:  # where other work starts beside it
        as_one(benchmark, f"fasthash {n_shards} shards, two actors of one thread", codes, queries, index)


@pytest.mark.parametrize(("n_shards", "n_queries"), [(1000, 1000), (1000, 1), (50, 1000), (2, 100)])
@pytest.mark.parametrize("name", ["fasthash", "merge_hits"])
def bench_merge(benchmark, rng, scale, n_shards, n_queries, name):
    """Hits as random codes have them: the nearest of 10^6 codes of 64 bits in each shard."""
    n_shards = scale(n_shards, 20)
    parts = []
    for shard in range(n_shards):
        nearest = np.sort(rng.binomial(64, 0.21, (n_queries, K)).astype(np.int32), axis=1)
        ids = np.sort(rng.integers(0, 10**6, (n_queries, K)), axis=1) + shard * 10**6
        parts.append((nearest, ids))
    benchmark.group = f"merge of {n_shards} shards, {n_queries} queries, k=100"
    hits = [fh.Hits(*part) for part in parts]
    run = {"fasthash": lambda: nearest_of(parts, K), "merge_hits": lambda: fh.merge_hits(hits, K)}[name]
    if name == "merge_hits" and n_shards * n_queries > 10**5:
        pytest.skip("sorts all, in minutes and 10 GB")
    distances, _ = measure(benchmark, f"fasthash {name}", run, rounds=3)
    everything = np.concatenate([nearest for nearest, _ in parts], axis=1)
    assert (distances == np.sort(everything, axis=1)[:, :K]).all()


FILES, ROWS, WIDTH = 8, 2**17, 256


@pytest.fixture
def embeddings(rng, scale, tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "source").mkdir()
    for i in range(FILES):
        x = rng.normal(size=(scale(ROWS, 50), WIDTH)).astype(np.float32)
        table = arrow.table({"x": arrow.FixedSizeListArray.from_arrays(x.ravel(), WIDTH)})
        parquet.write_table(table, tmp_path / "source" / f"{i}.parquet", row_group_size=2**15)
    return tmp_path / "source"


@pytest.mark.parametrize("name", ["pyarrow reads", "fasthash encode_files"])
def bench_encode(benchmark, rng, embeddings, tmp_path, name):
    from pyarrow import parquet

    files = sorted(embeddings.iterdir())
    benchmark.group = f"from Parquet, {FILES} x {ROWS} x {WIDTH} float32, two threads"
    n_bytes = sum(parquet.read_metadata(path).num_rows for path in files) * WIDTH * 4
    benchmark.extra_info.update(bytes=n_bytes)
    hasher = LSH(64).fit(rng.normal(size=(1000, WIDTH)).astype(np.float32))

    def read(path):
        return sum(len(batch) for batch in parquet.ParquetFile(path, pre_buffer=True).iter_batches(2**14))

    def reads():
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(pool.map(read, files))

    runs = 0

    def encodes():
        nonlocal runs
        runs += 1
        return len(encode_files(hasher, embeddings, tmp_path / f"codes-{runs}", workers=THREADS))

    n = measure(benchmark, name, reads if name == "pyarrow reads" else encodes, rounds=5)
    assert n * WIDTH * 4 == n_bytes
