"""On Ray, two nodes of one processor on this machine: the answers of one index, whatever is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fasthash.cluster import ShardedIndex, encode_files
from fasthash.cluster.folders import MANIFEST
from tests.cluster.conftest import (
    KINDS,
    assert_same,
    encoded_folder,
    flat_of,
    near_codes,
    sign_hasher,
    write_embeddings,
)
from tests.cluster.test_pairs import pairs_of, read

pytest.importorskip("ray")
pytest.importorskip("pyarrow")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # what Ray and its packages warn of

PATIENCE = 600  # seconds for processes that start beside other tests
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def nodes():
    """A cluster of Ray that can be asked for more nodes."""
    patient = {"RAY_health_check_timeout_ms": "60000"}  # a node that is only slow is not dead
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", **patient}
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def opened(nodes, build, codes):
    """Opens an index of five shards in actors; they end with the test."""
    made = []

    def opened(kind="flat", layout=None, **settings):
        folder = build(5, kind=kind, layout=layout).folder
        made.append(ShardedIndex.open(folder, engine="ray", **{"timeout": PATIENCE, **settings}))
        return made[-1]

    yield opened
    for index in made:
        index.close()


def processes_of(index):
    """By group and replica the process of each actor that is not known to be dead and answers."""
    import ray

    processes = {}
    for place, actor in list(index._engine._actors.items()):
        with contextlib.suppress(ray.exceptions.RayActorError):  # killed, and not asked since
            processes[place] = ray.get(actor.ready.remote())
    return processes


def kill(process):
    """Kill a process, and wait until it is gone."""
    os.kill(process, signal.SIGKILL)
    while os.path.exists(f"/proc/{process}/exe"):
        time.sleep(0.01)


@pytest.mark.parametrize(("kind", "layout"), KINDS)
def test_searches_are_those_of_one_index(opened, codes, queries, kind, layout):
    index, one = opened(kind, layout), flat_of(codes)
    assert_same(index.search(queries, 40), one.search(queries, 40))
    among = np.arange(0, 3000, 7)
    assert_same(index.search(queries, 600, among=among), one.search(queries, 600, among=among))
    z = np.random.default_rng(3).normal(size=(5, 32)).astype(np.float32)
    assert_same(index.search(z, 40), one.search(z, 40))
    factors = np.arange(3000, dtype=np.float32) % 11
    assert_same(index.search(z, 40, factors=factors), one.search(z, 40, factors=factors))
    vectors = {"rerank": np.arange(6000.0).reshape(3000, 2) % 7, "rerank_queries": np.ones((20, 2))}
    by_codes = {"rerank": "asymmetric", "rerank_queries": np.tile(z, (4, 1))}
    for more in (vectors, by_codes, {"rerank": lambda ids: ids % 7.0}):
        assert_same(index.search(queries, 5, **more), one.search(queries, 5, **more))
    assert_same(index.radius_search(queries, 4, max_hits=9), one.radius_search(queries, 4, max_hits=9))
    assert (index.get([7, 2900]) == codes[[7, 2900]]).all()
    index.remove([5, 6])
    index.add(near_codes(1))
    assert index.contains([5, 7, 3000]).tolist() == [False, True, True]
    left = np.r_[0:5, 7:3001]
    one = flat_of(np.concatenate([codes, near_codes(1)])[left], left)
    vectors["rerank"] = np.arange(5998.0).reshape(2999, 2) % 7
    assert_same(index.search(queries, 5, **vectors), one.search(queries, 5, **vectors))
    assert index.upsert(codes[:2], [7, 8]) == 2
    assert (index.get([7, 8]) == codes[:2]).all()
    assert len(index._engine._actors) == 2


@pytest.mark.parametrize("replicas", [1, 2])
def test_actors_that_are_killed_are_replaced(opened, codes, queries, replicas):
    index, expected = opened(replicas=replicas), flat_of(codes).search(queries, 40)
    assert_same(index.search(queries, 40), expected)
    for _ in range(2):
        before = processes_of(index)
        assert len(before) <= 2 * replicas
        for process in before.values():
            os.kill(process, signal.SIGKILL)
        assert_same(index.search(queries, 40), expected)
        assert not set(before.values()) & set(processes_of(index).values())


def test_a_node_that_is_killed_is_done_without(nodes, opened, codes, queries):
    import ray

    third = nodes.add_node(**NODE)
    nodes.wait_for_nodes()
    index, expected = opened(replicas=2, actors=3), flat_of(codes).search(queries, 40)
    for _ in range(2):
        assert_same(index.search(queries, 40), expected)
    nodes.remove_node(third, allow_graceful=False)
    for _ in range(4):
        assert_same(index.search(queries, 40), expected)
    while sum(node["Alive"] for node in ray.nodes()) > 2:
        time.sleep(0.1)


def test_what_no_process_answers_is_missing(opened, codes, queries):
    index = opened(timeout=0)
    index.search(queries, 1)
    (group, _), process = next(iter(processes_of(index).items()))
    kill(process)
    found = index.search(queries, 30, partial=True)
    gone = [shard for shard in index.manifest.shards if index._engine._group_of[shard.file] == group]
    assert sorted(found.missing) == sorted(shard.file for shard in gone)
    left = np.setdiff1d(np.arange(3000), np.concatenate([np.arange(s.ids[0], s.ids[1] + 1) for s in gone]))
    assert_same(found, flat_of(codes[left], left).search(queries, 30))
    again = ShardedIndex.open(index.folder, engine="ray", timeout=PATIENCE)
    assert_same(again.search(queries, 30), flat_of(codes).search(queries, 30))
    again.close()


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_damaged_shard_is_named(opened, queries, replicas):
    index = opened(replicas=replicas)
    shard = index.manifest.shards[3]
    (index.folder / shard.file).write_bytes(b"half")
    with pytest.raises(OSError, match=f"ShardedIndex.search: .* got none of 1, {shard.file} for one: load_index: exp"):
        index.search(queries, 3)
    assert list(index.search(queries, 3, partial=True).missing) == [shard.file]


def test_actors_take_no_processors_and_few_threads(opened, queries, nodes):
    import ray

    index = opened(replicas=2)
    for _ in range(2):
        index.search(queries, 3)
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]
    threads = [len(os.listdir(f"/proc/{process}/task")) for process in processes_of(index).values()]
    assert len(threads) == 4
    index.close()
    index.close()


def test_codes_are_encoded_built_and_paired_beside_actors(opened, tmp_path, codes, queries):
    held = opened(replicas=2)
    held.search(queries, 1)
    ids = np.random.default_rng(0).permutation(10**5)[:3000]
    source = write_embeddings(tmp_path / "source", codes, ids)
    settings = {"column": "x", "id_column": "key", "part_rows": 500}
    encoded = encode_files(sign_hasher(), source, tmp_path / "on-ray", engine="ray", **settings)
    assert encoded == encode_files(sign_hasher(), source, tmp_path / "here", **settings)
    assert encode_files(sign_hasher(), source, tmp_path / "on-ray", engine="ray", **settings) == encoded
    index = ShardedIndex.build(tmp_path / "on-ray", tmp_path / "index", n_shards=4, engine="ray")
    one = flat_of(codes, ids)
    assert_same(index.search(queries, 20), one.search(queries, 20))
    assert read(index.pairs(2, tmp_path / "pairs").files) == pairs_of(one, 2)
    index.rebalance(3)
    assert_same(index.search(queries, 20), one.search(queries, 20))
    index.close()


def test_errors_are_those_of_one_process(nodes, tmp_path, codes):
    ids = np.arange(3000)
    ids[2000] = 10
    encoded_folder(tmp_path / "codes", codes, ids)
    with pytest.raises(ValueError, match="^ShardedIndex.build: expected ids none twice, got 10 again$"):
        ShardedIndex.build(tmp_path / "codes", tmp_path / "index", n_shards=3, engine="ray")
    (tmp_path / "codes" / "part-00002.parquet").write_bytes(b"half")
    with pytest.raises(ValueError, match="^ShardedIndex.build: expected a whole Parquet file of codes at"):
        ShardedIndex.build(tmp_path / "codes", tmp_path / "other", n_shards=3, engine="ray")
    source = write_embeddings(tmp_path / "source", codes, np.where(np.arange(3000) == 1500, -1, np.arange(3000)))
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="^encode_files: expected a column 'key' at .*1.parquet without -1"):
        encode_files(sign_hasher(), source, out, column="x", id_column="key", engine="ray", part_rows=500)
    assert len(list(out.glob("part-*.parquet"))) == 5
    assert not (out / MANIFEST).exists()


DRIVER = """
import sys
import ray
from fasthash.cluster import ShardedIndex, encode_files
from tests.cluster.conftest import sign_hasher

address, source, folder = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
print("begins", flush=True)
encode_files(sign_hasher(), source, f"{folder}/codes", column="x", id_column="key", part_rows=200, engine="ray")
ShardedIndex.build(f"{folder}/codes", f"{folder}/index", n_shards=4, engine="ray")
"""


def test_a_driver_that_is_killed_leaves_nothing_half(nodes, tmp_path, codes, queries):
    source = write_embeddings(tmp_path / "source", codes, np.arange(3000) * 2, rows_of_group=100)
    command = [sys.executable, "-c", DRIVER, nodes.address, source, tmp_path]
    for seconds in (2.0, 6.0):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as driver:
            assert driver.stdout.readline() == b"begins\n"
            time.sleep(seconds)
            driver.kill()
        for path in (tmp_path / "codes" / MANIFEST, tmp_path / "index" / MANIFEST):
            assert not path.exists() or path.read_text().endswith("}")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    index = ShardedIndex.open(tmp_path / "index", verify=True)
    assert_same(index.search(queries, 20), flat_of(codes, np.arange(3000) * 2).search(queries, 20))
