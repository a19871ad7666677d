"""The papers' figures."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

DRAWN = 1000  # items of a t-SNE


def retrieval_and_training(rows, methods, title):
    """Precision and recall at two lengths, seconds an epoch, and how two of the distances go."""
    drawn = [row for row in rows if row["row"] != "result"]
    bits = sorted({row["bits"] for row in drawn})
    result = Figure(figsize=(11, 8), layout="constrained")
    result.suptitle(title)
    (first, second), (seconds, losses) = result.subplots(2, 2)

    def values(row, method, n_bits, name):
        matching = (r for r in drawn if (r["row"], r["method"], r["bits"]) == (row, method, n_bits))
        return [r.get(name, np.nan) for r in matching]

    for axes, n_bits in zip((first, second), (bits * 2)[:2], strict=True):
        for method in methods:
            axes.plot(*(values("radius", method, n_bits, name) for name in ("recall", "precision")), label=method)
        axes.set(xlabel="recall", ylabel="precision", title=f"By Hamming radius, {n_bits} bits")
        axes.legend()
    times = [values("timing", method, bits[0], "seconds")[0] for method in methods]
    seconds.bar(list(methods), times, color="#1f6fb4")
    seconds.set(ylabel="seconds an epoch", title=f"Training, {bits[0]} bits")
    for method in ("IDR-AE", "WGAN-AE"):
        distances = np.abs(values("epoch", method, bits[0], "distance"))
        losses.plot(np.arange(1, len(distances) + 1), distances / distances.max(), label=method)
    losses.set(xlabel="epoch", ylabel="|distance|, share of its largest", title=f"Distances, {bits[0]} bits")
    losses.legend()
    for axes in (first, second, seconds, losses):
        axes.grid(alpha=0.3)
    return result


def adaptation(domains, models, log, title):
    """Codes by t-SNE before and after, reconstructions in both directions, losses.

    Args:
        domains: both data sets, each with its parts.
        models: trained on the source alone, and adapted.
        log: a row an epoch of the latter.
        title: of the whole.
    """
    generator = np.random.default_rng(0)
    chosen = [
        np.sort(generator.choice(parts.query, min(DRAWN // 2, len(parts.query)), replace=False)) for _, parts in domains
    ]
    items = [torch.from_numpy(x.items[y]) for (x, _), y in zip(domains, chosen, strict=True)]
    labels = np.concatenate([x.labels[y] for (x, _), y in zip(domains, chosen, strict=True)])
    is_target = np.repeat([False, True], [len(x) for x in items])
    result = Figure(figsize=(12, 13), layout="constrained")
    result.suptitle(title)
    top, middle, bottom = result.subfigures(3, 1, height_ratios=(5, 5, 3))
    for axes, model, trained in zip(
        top.subplots(1, 2), models, ("trained on the source alone", "adapted"), strict=True
    ):
        with torch.inference_mode():
            u = torch.cat([model.hash(model.encoder.prepare(x)) for x in items]).numpy()
        places = TSNE(random_state=0).fit_transform(u)
        for which, marker, (domain, _) in zip((~is_target, is_target), ".x", domains, strict=True):
            axes.scatter(
                *places[which].T, c=labels[which], cmap="tab10", marker=marker, s=14, linewidths=0.7, label=domain.name
            )
        axes.set(title=f"t-SNE of u: {trained}", xticks=[], yticks=[])
        axes.legend()
    _reconstructions(middle, models[1], items)
    losses = bottom.subplots()
    for name in ("L_c", "L_h", "L_s", "L_a", "L_1", "D"):
        points = [(row["epoch"], row[name]) for row in log if name in row]
        losses.plot(*zip(*points, strict=True), label=name)
    losses.set(xlabel="epoch", yscale="log", title="losses, before their weights")
    losses.legend(ncols=6)
    losses.grid(alpha=0.3)
    return result


def _reconstructions(place, model, items):
    """Twelve items of each domain and what both generators make of them."""
    grid = place.subplots(6, 12)
    with torch.inference_mode():
        for row, (domain, x) in enumerate(zip(("source", "target"), items, strict=True)):
            shown = model.encoder.prepare(x[:12])
            u = model.hash(shown)
            again = {name: model.generators[name](u) for name in ("source", "target")}
            other = "target" if domain == "source" else "source"
            pictures = {domain: shown, f"as {domain}": again[domain], f"as {other}": again[other]}
            for line, (title, images) in enumerate(pictures.items()):
                for axes, image in zip(grid[3 * row + line], images, strict=True):
                    axes.imshow((image.permute(1, 2, 0).squeeze().numpy() + 1) / 2, cmap="gray", vmin=0, vmax=1)
                    axes.set(xticks=[], yticks=[])
                grid[3 * row + line][0].set_ylabel(title, rotation=0, ha="right")
