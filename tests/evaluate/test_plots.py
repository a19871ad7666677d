from __future__ import annotations

import numpy as np
import pytest

from fasthash import evaluate
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
