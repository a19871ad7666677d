"""Pictures of retrieval, as matplotlib figures that the caller saves. Needs matplotlib (the extra "plots")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasthash.errors import (
    MissingDependencyError,
    check_codes,
    check_integer,
    check_labels,
    check_number,
    check_values,
    dtype_name,
)
from fasthash.evaluate.metrics import PrecisionRecallCurve
from fasthash.ops.arrays import Array, to_tensor

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingDependencyError("drawing", "matplotlib", "plots") from error

_RIGHT, _WRONG, _QUERY, _BAR = "#2a9d4a", "#d1352b", "#444444", "#1f6fb4"


def precision_recall_figure(curves: Mapping[str, PrecisionRecallCurve], title: str = "") -> Figure:
    """Draw precision against recall over the Hamming radius, one line for each named curve."""
    where = "precision_recall_figure"
    _check_title(where, title)
    lines = {}
    for name, curve in _named(where, "curves", curves).items():
        if not isinstance(curve, PrecisionRecallCurve):
            raise TypeError(
                f"{where}: expected curves of PrecisionRecallCurve, got {type(curve).__name__} for {name!r}"
            )
        precision, recall = (_array(where, "curves", part, "[n_bits + 1]", 1) for part in curve)
        if len(precision) != len(recall):
            raise ValueError(f"{where}: expected curves of as many precisions as recalls, got others for {name!r}")
        lines[name] = precision, recall
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot(
        xlabel="recall",
        ylabel="precision",
        xlim=(0, 1),
        ylim=(0, 1.02),
        title=title or "Precision and recall by Hamming radius",
    )
    for name, (precision, recall) in lines.items():
        drawn = np.isfinite(precision)
        axes.plot(recall[drawn], precision[drawn], marker=".", label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def precision_at_figure(curves: Mapping[str, Mapping[int, float]], title: str = "") -> Figure:
    """Draw `precision_at` k against k, one line for each named curve, which maps each k to its value."""
    where = "precision_at_figure"
    _check_title(where, title)
    lines = {}
    for name, curve in _named(where, "curves", curves).items():
        if not isinstance(curve, Mapping):
            raise TypeError(f"{where}: expected curves of mappings from k, got {type(curve).__name__} for {name!r}")
        places = [check_integer(where, "curves' k", k, 1) for k in curve]
        lines[name] = places, [check_number(where, "curves' values", value, minimum=0) for value in curve.values()]
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot(
        xlabel="k", ylabel="precision", xscale="log", ylim=(0, 1.02), title=title or "Precision among the k nearest"
    )
    for name, (places, values) in lines.items():
        axes.plot(places, values, marker=".", label=name)
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
        captions: q times k texts, one above each hit.
        title: of the figure.
    """
    where = "retrieval_grid"
    _check_title(where, title)
    queries = _array(where, "queries", queries, "[q, height, width] or [q, height, width, 3]", 3, 4)
    hits = _array(where, "hits", hits, "[q, k, height, width] or [q, k, height, width, 3]", 4, 5)
    right = _array(where, "right", right, "[q, k]", 2)
    if right.dtype != np.bool_ or 0 in right.shape:
        raise TypeError(
            f"{where}: expected right of dtype bool [q, k], both at least 1, got {right.dtype} {right.shape}"
        )
    if right.shape != hits.shape[:2] or len(queries) != len(hits):
        raise ValueError(
            f"{where}: expected queries, hits and right of the same q and k, got {list(queries.shape)}, "
            f"{list(hits.shape)} and {list(right.shape)}"
        )
    for name, images in (("queries", queries), ("hits", hits[:, 0])):
        if 0 in images.shape or (images.ndim == 4 and images.shape[3] != 3):
            raise ValueError(f"{where}: expected {name} of pixels, of one colour or three, got {list(images.shape)}")
    n_queries, k = right.shape
    fit = isinstance(captions, Sequence) and all(isinstance(row, Sequence) and len(row) == k for row in captions)
    if captions is not None and not (fit and len(captions) == n_queries):
        raise ValueError(f"{where}: expected captions of {n_queries} rows of {k} texts, got others")
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
    where = "codes_figure"
    _check_title(where, title)
    values = {
        name: _array(where, "entropies", each, "[n_bits]", 1)
        for name, each in _named(where, "entropies", entropies).items()
    }
    if _named(where, "angles", angles).keys() != entropies.keys():
        raise ValueError(f"{where}: expected angles of the names of entropies, {', '.join(values)}, got others")
    for name in angles:
        check_number(where, f"angles[{name!r}]", angles[name])
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    names = list(entropies)
    left.boxplot([values[name] for name in names], tick_labels=names, whis=(0, 100))
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

    where = "code_map"
    _check_title(where, title)
    packed, classes_given = to_tensor(where, "codes", codes), to_tensor(where, "labels", labels)
    check_codes(where, "codes", packed)
    check_values(where, "codes", packed)
    check_values(where, "labels", classes_given)
    seed = check_integer(where, "seed", seed, 0, 2**32 - 1)
    if len(packed) < 2:
        raise ValueError(f"{where}: expected codes of at least two rows, got {len(packed)}")
    classes = check_labels(where, "labels", classes_given, len(packed)).cpu().numpy()
    if classes.ndim != 1:
        raise ValueError(f"{where}: expected labels of shape [{len(packed)}], got {list(classes.shape)}")
    bits = np.unpackbits(packed.cpu().numpy(), axis=1)
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
    where = "training_figure"
    _check_title(where, title)
    _check_title(where, ylabel, "ylabel")
    lines = {name: _array(where, "curves", x, "[epochs]", 1) for name, x in _named(where, "curves", curves).items()}
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel=ylabel, title=title)
    for name, values in lines.items():
        axes.plot(np.arange(1, len(values) + 1), values, label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _check_title(where: str, title: str, name: str = "title") -> None:
    if not isinstance(title, str):
        raise TypeError(f"{where}: expected {name} to be a string, got {type(title).__name__}")


def _named(where: str, name: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return things by name, or raise unless there is at least one."""
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise TypeError(f"{where}: expected {name} to be a mapping from names, got {type(values).__name__}")
    if not values:
        raise ValueError(f"{where}: expected {name} of at least one name, got none")
    return values


def _array(where: str, name: str, x: Array, shape: str, *ndims: int) -> NDArray[Any]:
    """Return real numbers of so many dimensions as a NumPy array."""
    tensor = to_tensor(where, name, x)
    check_values(where, name, tensor)
    if tensor.is_complex():
        raise TypeError(f"{where}: expected {name} of real numbers, got {dtype_name(tensor)}")
    if tensor.ndim not in ndims:
        raise ValueError(f"{where}: expected {name} of shape {shape}, got {list(tensor.shape)}")
    tensor = tensor.detach().cpu()
    array: NDArray[Any] = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    return array


def _image(axes, image: np.ndarray, border: str, caption: str) -> None:  # type: ignore[no-untyped-def]
    axes.imshow(image, cmap="gray_r", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(caption, fontsize=7, pad=2)
    for spine in axes.spines.values():
        spine.set(color=border, linewidth=3)
