from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from fasthash import evaluate
from fasthash.errors import MissingDependencyError
from fasthash.evaluate import precision_recall_curve


def test_pictures_can_be_saved(tmp_path, rng):
    pytest.importorskip("matplotlib")
    from fasthash.evaluate.plots import precision_recall_figure, retrieval_grid

    codes, labels = rng.integers(0, 256, (40, 2), dtype=np.uint8), rng.integers(0, 4, 40)
    curve = precision_recall_curve(codes, labels, codes, labels)
    figure = precision_recall_figure({"a": curve, "b": curve})
    assert [line.get_label() for line in figure.axes[0].lines] == ["a", "b"]
    figure.savefig(tmp_path / "curve.png")
    right = rng.random((2, 3)) < 0.5
    grid = retrieval_grid(rng.random((2, 8, 8)), rng.random((2, 3, 8, 8)), right)
    greens = [axes.spines["top"].get_edgecolor()[1] > 0.5 for axes in grid.axes]
    assert [greens[1:4], greens[5:8]] == right.tolist()
    grid.savefig(tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 1000


def test_a_picture_of_precision_at_k():
    pytest.importorskip("matplotlib")
    from fasthash.evaluate.plots import precision_at_figure

    axes = precision_at_figure({"a": {1: 0.9, 10: 0.5, 100: 0.2}, "b": {1: 1.0}}).axes[0]
    assert [line.get_label() for line in axes.lines] == ["a", "b"]
    assert axes.lines[0].get_xydata().tolist() == [[1, 0.9], [10, 0.5], [100, 0.2]]
    assert axes.get_title() == "Precision among the k nearest"
    assert precision_at_figure({"a": {1: 0.9}}, "own").axes[0].get_title() == "own"


def test_pictures_of_codes_and_training(tmp_path, rng):
    pytest.importorskip("matplotlib")
    from fasthash.evaluate.plots import code_map, codes_figure, training_figure

    codes, labels = rng.integers(0, 256, (60, 2), dtype=np.uint8), rng.integers(0, 3, 60)
    entropies = {name: evaluate.bit_entropy(codes) for name in ("a", "b")}
    figure = codes_figure(entropies, {"a": 0.5, "b": 0.3})
    assert [bar.get_height() for bar in figure.axes[1].patches] == [0.5, 0.3]
    figure.savefig(tmp_path / "codes.png")
    points = code_map(codes, labels)
    assert [len(points.axes[0].collections[i].get_offsets()) for i in range(3)] == np.bincount(labels).tolist()
    points.savefig(tmp_path / "map.png")
    training = training_figure({"l2": [3, 2, 1]})
    assert training.axes[0].lines[0].get_xydata().tolist() == [[1, 3], [2, 2], [3, 1]]
    training.savefig(tmp_path / "training.png")


def test_a_picture_says_what_it_shows(rng):
    pytest.importorskip("matplotlib")
    from fasthash.evaluate.plots import code_map, codes_figure, precision_recall_figure, retrieval_grid, training_figure

    curve = evaluate.PrecisionRecallCurve(np.array([np.nan, 0.5, 0.25]), np.array([0.0, 0.5, 1.0]))
    codes, labels = rng.integers(0, 256, (9, 2), dtype=np.uint8), np.arange(9) % 2
    axes = precision_recall_figure({"a": curve}).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")
    assert (axes.get_xlim()[0], axes.get_ylim()[0]) == (0, 0)
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 0.5], [1, 0.25]]  # nothing within radius 0
    assert axes.get_title() == "Precision and recall by Hamming radius"
    assert precision_recall_figure({"a": curve}, "other").axes[0].get_title() == "other"
    images = rng.random((2, 3, 8, 8))
    grid = retrieval_grid(images[:, 0], images, np.ones((2, 3), bool), [["a", "b", "c"], ["d", "e", "f"]], "hits")
    assert [axes.get_title() for axes in grid.axes] == ["query", "a", "b", "c", "", "d", "e", "f"]
    assert grid.get_suptitle() == "hits"
    for axes, image in zip(grid.axes[1:4], images[0], strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)
    assert [axes.get_title() for axes in retrieval_grid(images[:, 0], images, np.ones((2, 3), bool)).axes[:2]] == [
        "query",
        "",
    ]
    figure = codes_figure({"a": np.array([0.0, 1.0]), "b": np.array([0.5, 0.5])}, {"b": 0.3, "a": 0.5}, "codes")
    assert [axes.get_ylabel() for axes in figure.axes] == ["entropy of a bit", "angle to the signs, radians"]
    assert [[text.get_text() for text in axes.get_xticklabels()] for axes in figure.axes] == [["a", "b"]] * 2
    assert figure.axes[0].get_ylim()[0] == 0
    assert figure.get_suptitle() == "codes"
    points = [code_map(codes, labels, seed=seed).axes[0] for seed in (0, 0, 1)]
    first, again, other = (axes.collections[0].get_offsets().tolist() for axes in points)
    assert first == again != other
    assert points[0].get_title() == "Codes by t-SNE of their Hamming distances"
    assert [collection.get_label() for collection in points[0].collections] == ["0", "1"]
    assert code_map(codes, labels, title="map").axes[0].get_title() == "map"
    axes = training_figure({"a": [1.0]}).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.lines[0].get_label()) == ("epoch", "loss", "a")
    assert axes.get_title() == ""
    axes = training_figure({"a": [1.0]}, "mAP", "b").axes[0]
    assert (axes.get_ylabel(), axes.get_title()) == ("mAP", "b")


def test_what_cannot_be_drawn_is_named():
    pytest.importorskip("matplotlib")
    from fasthash.evaluate.plots import code_map, codes_figure, precision_recall_figure, retrieval_grid, training_figure

    images = np.zeros((2, 3, 4, 4))
    for call, message in (
        (lambda: precision_recall_figure({"a": 1}), "precision_recall_figure: expected curves of PrecisionRecallCurve"),
        (lambda: training_figure({}), "training_figure: expected curves of at least one name, got none"),
        (lambda: training_figure({"a": [[1]]}), r"training_figure: expected curves of shape \[epochs\], got \[1, 1\]"),
        (
            lambda: codes_figure({"a": [1.0]}, {"b": 1}),
            "codes_figure: expected angles of the names of entropies, a, got",
        ),
        (lambda: retrieval_grid(images[:, 0], images, np.ones((2, 2), bool)), "retrieval_grid: expected queries, hits"),
        (lambda: retrieval_grid(images[:, 0], images, np.ones((2, 3))), "retrieval_grid: expected right of dtype bool"),
        (lambda: code_map(np.zeros((1, 2), np.uint8), [0]), "code_map: expected codes of at least two rows, got 1"),
        (lambda: code_map(np.zeros((3, 2), np.uint8), [0]), "code_map: expected labels of shape"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{message}"):
            call()


def test_pictures_need_matplotlib(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.delitem(sys.modules, "fasthash.evaluate.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"drawing needs matplotlib, .*pip install .*\[plots\]"):
        importlib.import_module("fasthash.evaluate.plots")
