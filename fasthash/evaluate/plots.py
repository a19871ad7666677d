"""Pictures of retrieval, as matplotlib figures that the caller saves. Needs matplotlib (the extra "plots")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from fasthash.evaluate.metrics import PrecisionRecallCurve

_RIGHT, _WRONG, _QUERY = "#2a9d4a", "#d1352b", "#444444"


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


def _image(axes, image: np.ndarray, border: str, caption: str) -> None:  # type: ignore[no-untyped-def]
    axes.imshow(image, cmap="gray_r", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(caption, fontsize=7, pad=2)
    for spine in axes.spines.values():
        spine.set(color=border, linewidth=3)
