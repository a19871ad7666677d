"""Every line of `benchmarks/ann_benchmarks/config.yml`, run as that project's definitions.py and runner.py do."""

from __future__ import annotations

import importlib.util
import sys
from itertools import product
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

yaml = pytest.importorskip("yaml")

FOLDER = Path(__file__).parents[2] / "benchmarks" / "ann_benchmarks"
CONFIG = yaml.safe_load((FOLDER / "config.yml").read_text())
DIMENSION, COUNT = 24, 10


class BaseANN:
    """That of ann_benchmarks/algorithms/base/module.py, but for the memory that it measures."""

    def done(self):
        pass

    def get_memory_usage(self):
        return None

    def fit(self, X):
        pass

    def query(self, q, n):
        return []

    def batch_query(self, X, n):
        pool = ThreadPool()
        self.res = pool.map(lambda q: self.query(q, n), X)

    def get_batch_results(self):
        return self.res

    def get_additional(self):
        return {}

    def __str__(self):
        return self.name


@pytest.fixture(scope="module")
def module():
    names = ["ann_benchmarks", *(f"ann_benchmarks.algorithms{end}" for end in ("", ".base", ".base.module"))]
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setitem(sys.modules, name, ModuleType(name))
        sys.modules[names[-1]].BaseANN = BaseANN
        spec = importlib.util.spec_from_file_location("ann_benchmarks_module", FOLDER / "module.py")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        yield loaded


def combinations(arguments):
    return [list(each) for each in product(*(x if isinstance(x, list) else [x] for x in arguments))]


def definitions(point_type, metric):
    """What there is to run: the configuration, arguments of the constructor, all arguments of queries."""
    known = {"@count": COUNT, "@metric": metric, "@dimension": DIMENSION}
    by_metric = CONFIG[point_type]
    for config in by_metric.get("any", by_metric.get(metric, [])):
        for group in config["run_groups"].values():
            for arguments in combinations(group["args"]):
                made = [known.get(x, x) for x in [*config["base_args"], *arguments]]
                yield config, made, combinations(group.get("query_args", []))


ALL = [
    pytest.param(metric, *definition, id=f"{metric}-{definition[1][1:]}")
    for point_type, metric in (("bit", "hamming"), ("float", "angular"), ("float", "euclidean"))
    for definition in definitions(point_type, metric)
]


def points(metric, n_train=3000, n_test=20):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_train + n_test, 4)) @ rng.standard_normal((4, DIMENSION)) + 0.1 * rng.random(DIMENSION)
    x = (x > 0) if metric == "hamming" else x.astype(np.float32)
    return x[:n_train], x[n_train:]


def distances(metric, query, rows):
    if metric == "hamming":
        return (query ^ rows).sum(1)
    if metric == "euclidean":
        return np.linalg.norm(query - rows, axis=1)
    return 1 - rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)


def recall(metric, train, test, results):
    """Of all results the share that is as near as the true ones: that project's measure."""
    found = []
    for query, ids in zip(test, results, strict=True):
        assert len(ids) == len(set(ids)) == COUNT
        near = distances(metric, query, train)
        found.append((near[ids] <= np.sort(near)[COUNT - 1] + 1e-3).mean())
    return np.mean(found)


@pytest.mark.parametrize(("metric", "config", "arguments", "query_arguments"), ALL)
def test_a_line_of_the_configuration_runs(module, metric, config, arguments, query_arguments):
    assert config["docker_tag"] == "ann-benchmarks-fasthash"
    assert config["module"] == "ann_benchmarks.algorithms.fasthash"
    assert not config["disabled"]
    train, test = points(metric)
    kept = train.copy()
    algorithm = getattr(module, config["constructor"])(*arguments)
    algorithm.fit(train)
    recalls, names = [], set()
    for each in query_arguments or [[]]:
        if each:
            algorithm.set_query_arguments(*each)
        names.add(str(algorithm))
        singly = [algorithm.query(q, COUNT) for q in test]
        algorithm.batch_query(test, COUNT)
        together = algorithm.get_batch_results()
        recalls.append(recall(metric, train, test, singly))
        assert recall(metric, train, test, together) == pytest.approx(recalls[-1], abs=0.02)
        assert algorithm.get_additional() == {}
    algorithm.done()
    assert len(names) == len(query_arguments or [[]])
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1  # exact, or 2,000 candidates of 3,000
    np.testing.assert_array_equal(train, kept)


def test_fewer_points_than_neighbours_are_all_found(module):
    train, test = points("hamming", 5)
    algorithm = module.FasthashBits("hamming", "rows")
    algorithm.fit(train)
    assert sorted(algorithm.query(test[0], COUNT)) == list(range(5))


@pytest.mark.parametrize("constructor", ["FasthashBits", "FasthashVectors"])
def test_other_metrics_are_not_implemented(module, constructor):
    with pytest.raises(NotImplementedError, match="not by jaccard"):
        getattr(module, constructor)("jaccard", *["itq", 24][: 1 if constructor == "FasthashBits" else 2])


def test_the_image_is_made_of_the_folder_that_it_is_copied_to():
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    assert lines[0] == "FROM ann-benchmarks"
    assert "COPY ann_benchmarks/algorithms/fasthash /tmp/fasthash" in lines
