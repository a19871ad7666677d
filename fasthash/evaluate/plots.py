"""Pictures of retrieval, as matplotlib figures that the caller saves. Needs matplotlib (the extra "plots")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fasthash.errors import MissingDependencyError
from fasthash.evaluate.metrics import PrecisionRecallCurve
from fasthash.ops.arrays import Array

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingDependencyError("drawing", "matplotlib", "plots") from error

_RIGHT, _WRONG, _QUERY, _BAR = "#2a9d4a", "#d1352b", "#444444", "#1f6fb4"


def precision_recall_figure(curves: Mapping[str, PrecisionRecallCurve], title: str = "") -> Figure:
    """Draw precision against recall over the Hamming radius, one line for each named curve."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot(
        xlabel="recall",
        ylabel="precision",
        xlim=(0, 1),
        ylim=(0, 1.02),
        title=title or "Precision and recall by Hamming radius",
    )
    for name, curve in curves.items():
        drawn = np.isfinite(np.asarray(curve.precision))
        axes.plot(np.asarray(curve.recall)[drawn], np.asarray(curve.precision)[drawn], marker=".", label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def precision_at_figure(curves: Mapping[str, Mapping[int, float]], title: str = "") -> Figure:
    """Draw `precision_at` k against k, one line for each named curve, which maps each k to its value."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot(
        xlabel="k", ylabel="precision", xscale="log", ylim=(0, 1.02), title=title or "Precision among the k nearest"
    )
    for name, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), marker=".", label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def retrieval_grid(
    queries: np.ndarray,
    hits: np.ndarray,
    right: np.ndarray,
    captions: Sequence[Sequence[str]] | None = None,
    title: str = "",
) -> Figure:
    """Draw each query beside its hits, with a green border around right ones and a red one around wrong ones.

    Args:
        queries: images [q, height, width] or [q, height, width, 3].
        hits: images [q, k, height, width] or [q, k, height, width, 3].
        right: bool [q, k].
        captions: a text above each hit, [q][k].
        title: of the figure.
    """
    n_queries, k = right.shape
    figure = Figure(figsize=(0.9 * (k + 1.3), 1.05 * n_queries + 0.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(n_queries, k + 1, squeeze=False, width_ratios=[1.2, *[1] * k])
    for row in range(n_queries):
        _image(grid[row, 0], queries[row], _QUERY, "query" if row == 0 else "")
        for column in range(k):
            caption = captions[row][column] if captions is not None else ""
            _image(grid[row, column + 1], hits[row, column], _RIGHT if right[row, column] else _WRONG, caption)
    return figure


def codes_figure(entropies: Mapping[str, Array], angles: Mapping[str, float], title: str = "") -> Figure:
    """Draw, for each named set of codes, the entropies of its bits and its mean quantisation angle.

    Args:
        entropies: `bit_entropy` of each, [n_bits].
        angles: `quantization_angle` of each, of the same names.
        title: of the figure.
    """
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    names = list(entropies)
    left.boxplot([np.asarray(entropies[name]) for name in names], tick_labels=names, whis=(0, 100))
    left.set(ylabel="entropy of a bit", ylim=(0, 1.03))
    right.bar(names, [angles[name] for name in names], color=_BAR)
    right.set(ylabel="angle to the signs, radians")
    for axes in (left, right):
        axes.tick_params(axis="x", rotation=30)
        axes.grid(axis="y", alpha=0.3)
    return figure


def code_map(codes: Array, labels: Array, seed: int = 0, title: str = "") -> Figure:
    """Draw codes as points of a plane, near each other where their Hamming distance is small (t-SNE).

    Args:
        codes: packed codes, uint8 [n, n_bits / 8], n at least 2; some thousands take a minute.
        labels: a class each, integers [n].
        seed: of t-SNE.
        title: of the figure.
    """
    from sklearn.manifold import TSNE

    bits, classes = np.unpackbits(np.asarray(codes), axis=1), np.asarray(labels)
    perplexity = min(30, (len(bits) - 1) / 3)
    points = TSNE(metric="hamming", init="random", perplexity=perplexity, random_state=seed).fit_transform(bits)
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.add_subplot(title=title or "Codes by t-SNE of their Hamming distances", xticks=[], yticks=[])
    for label in np.unique(classes):
        x, y = points[classes == label].T
        axes.scatter(x, y, s=6, label=str(label))
    figure.legend(loc="outside right center", markerscale=2)
    return figure


def training_figure(curves: Mapping[str, Sequence[float]], ylabel: str = "loss", title: str = "") -> Figure:
    """Draw values over epochs, one line for each named curve."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel=ylabel, title=title)
    for name, values in curves.items():
        axes.plot(np.arange(1, len(values) + 1), values, label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _image(axes, image: np.ndarray, border: str, caption: str) -> None:  # type: ignore[no-untyped-def]
    axes.imshow(image, cmap="gray_r", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(caption, fontsize=7, pad=2)
    for spine in axes.spines.values():
        spine.set(color=border, linewidth=3)
