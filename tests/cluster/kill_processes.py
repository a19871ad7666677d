"""Kill processes of Ray, and drivers, at random instants, while searches, builds and encodings run; check every result.

python -m tests.cluster.kill_processes --times 100
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from threading import Event, Thread

import numpy as np

from fasthash.cluster import ShardedIndex
from fasthash.cluster.folders import MANIFEST
from tests.cluster.conftest import flat_of, near_codes, write_embeddings
from tests.cluster.test_ray_engine import DRIVER, NODE

SEARCHING, WORKING = ("ray::ShardActor",), ("ray::MapWorker", "ray::_on_one_processor")


def workers_of(cluster, names):
    """The processes below this cluster's raylets whose command line begins with a name; a raylet ends with its agents.

    They are those of a search, or of an encoding or a build.
    """
    found = []
    for node in cluster.list_all_nodes():
        raylet = node.all_processes["raylet"][0].process.pid
        for pid in Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                if Path(f"/proc/{pid}/cmdline").read_text().startswith(names):
                    found.append(int(pid))
    return found


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.kill_processes")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    r = random.Random(options.seed)
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_timeout_ms": "60000"}
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    node = cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    folder = Path(tempfile.mkdtemp())
    codes, ids, queries = near_codes(3000), np.arange(3000) * 2, near_codes(20, seed=1)
    source = write_embeddings(folder / "source", codes, ids, rows_of_group=100)
    expected = flat_of(codes, ids).search(queries, 40)

    def wrong(found):
        return not all((x == y).all() for x, y in zip(found, expected, strict=True))

    def driver(place):
        place.mkdir(exist_ok=True)
        command = [sys.executable, "-c", DRIVER, cluster.address, source, place]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert driver(folder / "searched").wait() == 0
    index = ShardedIndex.open(folder / "searched" / "index", engine="ray", replicas=2)
    counts, done = Counter(), Event()

    def search():
        while not done.is_set():
            try:
                counts["wrong answers" if wrong(index.search(queries, 40)) else "answers"] += 1
            except Exception as error:
                counts[f"errors: {error}"[:200]] += 1

    searcher = Thread(target=search, daemon=True)
    searcher.start()
    for i in range(options.times):
        place = folder / f"made-{i}"
        child, kind = driver(place), r.choice(("actor", "worker", "driver", "driver", "raylet"))
        time.sleep(r.uniform(0.5, 12))
        counts[f"kills of a {kind}"] += 1
        if kind == "driver":
            child.kill()
        elif kind == "raylet":
            cluster.remove_node(node, allow_graceful=False)
            node = cluster.add_node(**NODE)
        else:
            workers = workers_of(cluster, SEARCHING if kind == "actor" else WORKING)
            for pid in r.sample(workers, min(1, len(workers))):
                os.kill(pid, signal.SIGKILL)
        child.wait()
        for manifest in (place / "codes" / MANIFEST, place / "index" / MANIFEST):
            if manifest.exists() and not manifest.read_text().endswith("}"):
                counts["half manifests"] += 1
        counts["runs that ended all the same"] += child.returncode == 0
        if child.returncode and driver(place).wait():
            counts["runs that could not go on"] += 1
        elif wrong(ShardedIndex.open(place / "index", verify=True).search(queries, 40)):
            counts["wrong indexes"] += 1
        print(i + 1, dict(counts), flush=True)
    done.set()
    searcher.join()
    ray.shutdown()
    cluster.shutdown()
    bad = [name for name in counts if name.startswith(("wrong", "half", "errors", "runs that could not"))]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
