"""The papers' figures."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from benchmarks.papers.tables import means

DRAWN = 1000  # items of a t-SNE


def retrieval_and_training(rows, methods, title):
    """Precision and recall at every length, seconds an epoch, and how two of the distances go."""
    drawn = [row for row in rows if row["row"] != "result"]
    bits = sorted({row["bits"] for row in drawn})
    result = Figure(figsize=(max(11, 4.5 * len(bits)), 8), layout="constrained")
    result.suptitle(title)
    upper, lower = result.subfigures(2, 1)
    by_length = upper.subplots(1, len(bits), squeeze=False)[0]
    seconds, losses = lower.subplots(1, 2)

    def values(row, method, n_bits, name):
        matching = (r for r in drawn if (r["row"], r["method"], r["bits"]) == (row, method, n_bits))
        return [r.get(name, np.nan) for r in matching]

    for axes, n_bits in zip(by_length, bits, strict=True):
        for method in methods:
            axes.plot(*(values("radius", method, n_bits, name) for name in ("recall", "precision")), label=method)
        axes.set(xlabel="recall", ylabel="precision", title=f"By Hamming radius, {n_bits} bits")
        axes.legend()
    times = [values("timing", method, bits[0], "seconds")[0] for method in methods]
    seconds.bar(list(methods), times, color="#1f6fb4")
    seconds.set(ylabel="seconds an epoch", title=f"Training, {bits[0]} bits")
    for method in (of for of in ("IDR-AE", "WGAN-AE") if of in methods):
        distances = np.abs(values("epoch", method, bits[0], "distance"))
        losses.plot(np.arange(1, len(distances) + 1), distances / distances.max(), label=method)
    losses.set(xlabel="epoch", ylabel="|distance|, share of its largest", title=f"Distances, {bits[0]} bits")
    losses.legend()
    for axes in (*by_length, seconds, losses):
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


def planes(outputs, title):
    """Outputs of two bits in the plane, by class, and the four codes.

    Args:
        outputs: by name, u [n, 2] and classes [n].
        title: of the whole.
    """
    result = Figure(figsize=(3.4 * len(outputs), 3.8), layout="constrained")
    result.suptitle(title)
    places = result.subplots(1, len(outputs), squeeze=False)[0]
    for axes, (name, (u, labels)) in zip(places, outputs.items(), strict=True):
        reach = max(1.2, 1.05 * float(np.quantile(np.abs(u), 0.995)))
        _scatter(axes, u, labels)
        axes.scatter([-1, -1, 1, 1], [-1, 1, -1, 1], marker="+", s=90, c="black")
        axes.axhline(0, c="gray", lw=0.6)
        axes.axvline(0, c="gray", lw=0.6)
        axes.set(title=name, xlim=(-reach, reach), ylim=(-reach, reach))
    result.legend(*axes.get_legend_handles_labels(), loc="outside right center", markerscale=3, title="class")
    return result


def distances(logs, title):
    """HSWD and the sliced distance to bits over the epochs, and the mAP of the validation items.

    Args:
        logs: by name, a row an epoch.
        title: of the whole.
    """
    result = Figure(figsize=(3.4 * len(logs), 3.6), layout="constrained")
    result.suptitle(title)
    places = result.subplots(1, len(logs), squeeze=False, sharey=True)[0]
    for axes, (name, log) in zip(places, logs.items(), strict=True):
        validated = [row for row in log if "validation_mAP" in row]
        epochs = [row["epoch"] for row in validated]
        lines = [axes.plot(epochs, [row[key] for row in validated], label=key.upper())[0] for key in ("hswd", "swd")]
        right = axes.twinx()
        lines += right.plot(epochs, [row["validation_mAP"] for row in validated], "--", c="tab:red", label="mAP")
        axes.set(title=name, xlabel="epoch", ylabel="distance to bits", ylim=(0, None))
        right.set(ylabel="validation mAP", ylim=(0, 1))
        axes.grid(alpha=0.3)
    result.legend(handles=lines, loc="outside lower center", ncols=3)
    return result


def maps(codes, title):
    """Codes by t-SNE of their Hamming distances, three a row.

    Args:
        codes: by name, bits [n, n_bits] and classes [n].
        title: of the whole.
    """
    n_rows = -(-len(codes) // 3)
    result = Figure(figsize=(11, 3.6 * n_rows), layout="constrained")
    result.suptitle(title)
    places = result.subplots(n_rows, 3, squeeze=False).flat
    for axes in places[len(codes) :]:
        axes.set_axis_off()
    for axes, (name, (bits, labels)) in zip(places[: len(codes)], codes.items(), strict=True):
        bits, labels = bits[:DRAWN], labels[:DRAWN]
        perplexity = min(30, (len(bits) - 1) / 3)
        points = TSNE(metric="hamming", init="random", perplexity=perplexity, random_state=0).fit_transform(bits)
        _scatter(axes, points, labels)
        axes.set(title=name, xticks=[], yticks=[])
    result.legend(*axes.get_legend_handles_labels(), loc="outside right center", markerscale=3, title="class")
    return result


def quality(rows, title):
    """Angle to the signs, entropy of a bit and mAP by loss and quantisation, means over the seeds.

    Args:
        rows: of one length.
        title: of the whole.
    """
    panels = {
        "quantization_angle": "angle to the signs, radians",
        "bit_entropy": "entropy of a bit",
        "mAP": "mean average precision",
    }
    methods, variants = (list(dict.fromkeys(row[name] for row in rows)) for name in ("method", "variant"))
    width = 0.8 / len(variants)
    result = Figure(figsize=(13, 4), layout="constrained")
    result.suptitle(title)
    for axes, (metric, label) in zip(result.subplots(1, 3), panels.items(), strict=True):
        found = means(rows, metric, "method", "variant")
        for i, variant in enumerate(variants):
            heights = [found[method, variant] for method in methods]
            place = np.arange(len(methods)) + width * (i - (len(variants) - 1) / 2)
            axes.bar(place, heights, width=0.9 * width, label=variant)
        axes.set(ylabel=label, xticks=range(len(methods)))
        axes.set_xticklabels(methods, rotation=30)
        axes.grid(axis="y", alpha=0.3)
        if metric != "quantization_angle":
            axes.set_ylim(bottom=max(0, min(found.values()) - 0.05))
    result.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(variants))
    return result


def gains(values, panels, title):
    """Bars of a value by loss, a panel for some ways each.

    Args:
        values: by loss and way.
        panels: ways by the panel's title.
        title: of the whole.
    """
    losses = list(dict.fromkeys(loss for loss, _ in values))
    result = Figure(figsize=(12, 4), layout="constrained")
    result.suptitle(title)
    for axes, (heading, ways) in zip(result.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
        width = 0.8 / len(ways)
        for i, way in enumerate(ways):
            place = np.arange(len(losses)) + width * (i - (len(ways) - 1) / 2)
            axes.bar(place, [values[loss, way] for loss in losses], width=0.9 * width, label=way)
        axes.axhline(0, c="black", lw=0.6)
        axes.set(title=heading, xticks=range(len(losses)), xticklabels=losses)
        axes.grid(axis="y", alpha=0.3)
        axes.legend()
    return result


def _scatter(axes, points, labels):
    """Points of the plane in the colours of their classes."""
    for label in np.unique(labels):
        axes.scatter(*points[labels == label].T, s=4, label=str(label))
