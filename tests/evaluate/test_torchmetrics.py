from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash import evaluate

pytest.importorskip("torchmetrics")
from fasthash.evaluate import torchmetrics as modules

GENERATOR = torch.Generator().manual_seed(0)
U, V = torch.randn(30, 16, generator=GENERATOR), torch.randn(90, 16, generator=GENERATOR)
QUERY_LABELS, LABELS = torch.arange(30) % 4, torch.arange(90) % 3
METRICS = {
    "MeanAveragePrecision": (evaluate.mean_average_precision, {"at": 7, "ties": "index", "unanswered": "skip"}),
    "PrecisionAt": (evaluate.precision_at, {"k": 5}),
    "RecallAt": (evaluate.recall_at, {"k": 5, "unanswered": "skip"}),
    "PrecisionWithin": (evaluate.precision_within, {"radius": 5}),
    "PrecisionRecallCurve": (evaluate.precision_recall_curve, {}),
    "PrecisionRecallByRank": (evaluate.precision_recall_by_rank, {"at": 9, "ties": "pessimistic"}),
}
EVERY = pytest.mark.parametrize("name", METRICS)


def batches():
    parts = [(V, LABELS, "database"), (U, QUERY_LABELS, "query")]
    return [(x[i : i + 25], y[i : i + 25], part) for x, y, part in parts for i in range(0, len(x), 25)]


def assert_the_same(value, expected):
    expected = torch.tensor(expected) if isinstance(expected, float) else expected
    torch.testing.assert_close(value, expected, equal_nan=True)


@EVERY
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric .* was called before")
@pytest.mark.parametrize("packed", [False, True])
def test_batches_are_the_function_of_all(name, packed):
    function, settings = METRICS[name]
    metric = getattr(modules, name)(**settings)
    for x, y, part in batches():
        assert metric(fh.pack_bits(x) if packed else x, y, part) is None
    metric = pickle.loads(pickle.dumps(metric))
    expected = function(
        query_codes=fh.pack_bits(U), query_labels=QUERY_LABELS, codes=fh.pack_bits(V), labels=LABELS, **settings
    )
    assert_the_same(metric.compute(), expected)
    metric.reset()
    with pytest.raises(ValueError, match=f"^{name}: expected batches of the database before compute, got none$"):
        metric.compute()


@EVERY
def test_queries_that_are_the_database(name):
    function, settings = METRICS[name]
    metric = getattr(modules, name)(**settings, leave_one_out=True)
    codes = fh.pack_bits(V)
    for x, y, part in batches():
        if part == "database":
            metric.update(x, y)
    expected = function(
        query_codes=codes, query_labels=LABELS, codes=codes, labels=LABELS, leave_one_out=True, **settings
    )
    assert_the_same(metric.compute(), expected)
    with pytest.raises(ValueError, match=f"^{name}: expected part to be one of 'database', got 'query'$"):
        metric.update(U, QUERY_LABELS, "query")


def test_ranks_compute_of_what_all_of_them_took(tmp_path):
    torch.save(batches() + batches(), tmp_path / "batches")  # so that each rank has queries
    script = Path(__file__).parent / "gathered_metric.py"
    ranks = [
        subprocess.Popen(
            [
                sys.executable,
                script,
                str(rank),
                "2",
                tmp_path / "s",
                tmp_path / "batches",
            ],
            stdout=subprocess.PIPE,
            env=os.environ | {"GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in range(2)
    ]
    results = [float(rank.communicate(timeout=300)[0]) for rank in ranks]
    all_batches = [part for rank in range(2) for part in (batches() + batches())[rank::2]]
    (v, labels), (u, query_labels) = (
        [torch.cat([batch[i] for batch in all_batches if batch[2] == part]) for i in range(2)]
        for part in ("database", "query")
    )
    expected = evaluate.mean_average_precision(
        fh.pack_bits(u), query_labels, fh.pack_bits(v), labels, at=20, ties="cosine", query_embeddings=u, embeddings=v
    )
    assert results == pytest.approx([expected] * 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: modules.PrecisionAt(3).update(U, LABELS),
            ValueError,
            "PrecisionAt: expected labels of 30 items",
        ),
        (
            lambda: modules.PrecisionAt(3).update(U[0], LABELS),
            ValueError,
            r"PrecisionAt: expected outputs of shape \[",
        ),
        (lambda: modules.PrecisionAt(3).update([1], LABELS), TypeError, "PrecisionAt: expected outputs to be a tensor"),
        (
            lambda: modules.PrecisionAt(3, leave_one_out=1),
            TypeError,
            "PrecisionAt: expected leave_one_out to be",
        ),
        (
            lambda: modules.RecallAt(3, ties="cosine").update(fh.pack_bits(U), QUERY_LABELS),
            TypeError,
            "RecallAt: expected outputs of a floating-point dtype for ties 'cosine', got uint8",
        ),
    ],
)
def test_bad_batches(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_pictures():
    pytest.importorskip("matplotlib")
    for kind in (modules.PrecisionRecallCurve, modules.PrecisionRecallByRank):
        metric = kind()
        for batch in batches():
            metric.update(*batch)
        (line,) = metric.plot("itq").axes[0].get_lines()
        assert line.get_label() == "itq"
        assert np.isfinite(line.get_ydata()).all()
