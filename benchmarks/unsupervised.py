"""The tables and pictures of IDR-AE's paper ("Image Hashing by Minimizing Independent Relaxed Wasserstein Distance").

`python -m benchmarks.unsupervised mnist fashion_mnist cifar10` (from the repository's root) writes, for each data set,
unsupervised-<dataset>.csv, .md and .png to benchmarks/results: P@1000 (the paper's table 1) and mAP (table 2) of every
method, length and split; precision and recall (figure 2), seconds an epoch by distance (figure 3) and distances during
training (figure 4). unsupervised.md compares IDR-AE with the others over the data sets.

A row is kept as soon as it is known and not computed again: a run that was interrupted goes on when it is repeated.
"""

from __future__ import annotations

import csv
import itertools
import re
from pathlib import Path

import click
import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from tqdm import tqdm

from fasthash.data import Dataset, load_dataset
from fasthash.evaluate import precision_recall_curve
from fasthash.hashers import ITQ, LSH, SpectralHashing
from fasthash.ops.packing import pack_bits
from fasthash.recipes.autoencoder import AutoencoderSettings, train_autoencoder
from fasthash.recipes.evaluation import evaluate_codes, network_outputs
from fasthash.recipes.protocols import PROTOCOLS, split
from fasthash.recipes.sgh import SGHSettings, train_sgh
from fasthash.recipes.ssdh import SSDHSettings, train_ssdh
from fasthash.recipes.training import Loaded, write_csv

HASHERS = {
    "LSH": lambda n_bits, seed: LSH(n_bits, seed=seed),
    "SpecHash": lambda n_bits, seed: SpectralHashing(n_bits),
    "ITQ": lambda n_bits, seed: ITQ(n_bits, seed=seed),
}
DISTANCES = {"AE": "none", "AE-JS": "js", "WGAN-AE": "wgan", "OT-AE": "ot", "SWD-AE": "swd", "IDR-AE": "idr"}
METHODS = (*HASHERS, "SGH", "SSDH", *DISTANCES)
METRICS = {"P@1000": "precision_at_1000", "mAP": "mAP"}

# Of CIFAR-10, from fc7 features of VGG: P@1000 at 32, 64 and 128 bits, mAP at 64.
PAPER_BITS = (32, 64, 128)
PAPER = {
    "LSH": (0.1721, 0.1731, 0.2165, 0.1477),
    "SpecHash": (0.1995, 0.1982, 0.1930, 0.1265),
    "ITQ": (0.2424, 0.2585, 0.2700, 0.1824),
    "SGH": (0.1672, 0.1803, 0.1888, 0.1372),
    "SSDH": (0.2218, 0.1766, 0.1766, 0.1664),
    "WGAN-AE": (0.1948, 0.2170, 0.2284, 0.1775),
    "OT-AE": (0.2370, 0.2406, 0.2396, 0.1777),
    "IDR-AE": (0.2692, 0.2747, 0.2961, 0.2084),
}


class Features(click.ParamType):
    name = "pixels|pca<n>"

    def convert(self, value, param, ctx):
        if not re.fullmatch(r"pixels|pca[1-9]\d*", value):
            self.fail(f"expected pixels, or pca and a number of components, got {value!r}", param, ctx)
        return value


def with_features(dataset, parts, features):
    """The data set as it is, or with the principal components of its pixels (from 0 to 1), fitted to training items."""
    if features == "pixels":
        return dataset
    pixels = flat(dataset.items)
    n_components = int(features.removeprefix("pca"))
    pca = PCA(n_components, svd_solver="covariance_eigh").fit(pixels[parts.train])
    return Dataset(dataset.name, pca.transform(pixels).astype(np.float32), dataset.labels, {}, dataset.class_names)


def flat(items):
    return items if items.ndim == 2 else items.reshape(len(items), -1).astype(np.float32) / 255


def trained(dataset, parts, run):
    """A training of the method, by its recipe."""
    common = {"bits": run["bits"], "seed": run["split"], "protocol": run["protocol"]}
    where = {"dataset": dataset, "parts": parts, "device": "cpu"}
    if run["method"] == "SGH":  # its own 40 epochs of batches of 500
        return train_sgh(SGHSettings(**common), **where)
    common |= {name: run[name] for name in ("epochs", "batch_size", "learning_rate")}
    if run["method"] == "SSDH":
        return train_ssdh(SSDHSettings(**common), **where)
    return train_autoencoder(AutoencoderSettings(**common, distance=DISTANCES[run["method"]]), **where)


def rows_of(dataset, parts, run):
    """The result of one run; of the first split's autoencoders also what is drawn."""
    query, database = (Loaded(dataset.items, dataset.labels, part) for part in (parts.query, parts.database))
    if run["method"] in HASHERS:
        hasher = HASHERS[run["method"]](run["bits"], run["split"]).fit(flat(dataset.items[parts.train]))
        u, v = (torch.from_numpy(hasher.transform(flat(dataset.items[x.positions]))) for x in (query, database))
        results = evaluate_codes(u, query.labels, v, database.labels)
    else:
        training = trained(dataset, parts, run)
        results = training.results
    yield {"row": "result", **run, **{name: round(value, 5) for name, value in results.items()}}
    if run["method"] not in DISTANCES or run["split"] > 0:
        return
    for row in training.history:
        yield {"row": "epoch", **run, **{name: round(value, 6) for name, value in row.items()}}
    codes = [pack_bits(network_outputs(training.encoder, x)) for x in (query, database)]
    curve = precision_recall_curve(codes[0], query.labels, codes[1], database.labels)
    for radius, (precision, recall) in enumerate(zip(*(x.tolist() for x in curve), strict=True)):
        yield {"row": "radius", **run, "radius": radius, "precision": round(precision, 5), "recall": round(recall, 5)}


def timing_of(dataset, parts, run):
    """Seconds of an epoch, the least of three, in a training of its own: the others may have run beside other work."""
    history = trained(dataset, parts, {**run, "epochs": 3}).history
    return {"row": "timing", **run, "seconds": round(min(row["seconds"] for row in history), 6)}


def read_rows(path):
    """The rows of a table as they were written, numbers as numbers."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{k: as_number(v) for k, v in row.items() if v != ""} for row in csv.DictReader(file)]


def as_number(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def means(rows, metric):
    """Mean and deviation over the splits by (method, bits)."""
    values = {}
    for row in rows:
        if row["row"] == "result":
            values.setdefault((row["method"], row["bits"]), []).append(row[METRICS[metric]])
    return {key: (np.mean(each), np.std(each)) for key, each in values.items()}


def table(rows, metric, dataset):
    """Markdown, a row a method, a column a length; CIFAR-10 beside the paper's."""
    values = means(rows, metric)
    bits = sorted({n_bits for _, n_bits in values})
    beside = dict(enumerate(PAPER_BITS) if metric == "P@1000" else [(3, 64)]) if dataset == "cifar10" else {}
    head = [metric, *(f"{n} bits" for n in bits), *(f"paper, {n} bits" for n in beside.values())]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for method in METHODS:
        cells = [f"{mean:.4f} ± {deviation:.4f}" for mean, deviation in (values[method, n] for n in bits)]
        cells += [f"{PAPER[method][place]:.4f}" if method in PAPER else "" for place in beside]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def orderings(rows, metric):
    """Which of the paper's orderings by this metric hold: of IDR-AE over each method, and of all pairs of methods."""
    values = means(rows, metric)
    bits = sorted({n_bits for _, n_bits in values})
    mean = {method: np.mean([values[method, n][0] for n in bits]) for method in METHODS}
    paper = {method: row[3] if metric == "mAP" else np.mean(row[:3]) for method, row in PAPER.items()}
    pairs = [(a, b) for a, b in itertools.permutations(PAPER, 2) if paper[a] > paper[b]]
    kept = [(a, b) for a, b in pairs if mean[a] > mean[b]]
    others = [method for method in METHODS if method != "IDR-AE"]
    above = ", ".join(method for method in others if mean["IDR-AE"] > mean[method]) or "none"
    not_above = ", ".join(method for method in others if mean["IDR-AE"] <= mean[method]) or "none"
    return (
        f"By {metric}, averaged over lengths, IDR-AE is above {above}; not above {not_above}. "
        f"Of the {len(pairs)} orderings of two methods in the paper's CIFAR-10, {len(kept)} hold here."
    )


def figure(rows, title):
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
        for method in DISTANCES:
            axes.plot(*(values("radius", method, n_bits, name) for name in ("recall", "precision")), label=method)
        axes.set(xlabel="recall", ylabel="precision", title=f"By Hamming radius, {n_bits} bits")
        axes.legend()
    times = [values("timing", method, bits[0], "seconds")[0] for method in DISTANCES]
    seconds.bar(list(DISTANCES), times, color="#1f6fb4")
    seconds.set(ylabel="seconds an epoch", title=f"Training, {bits[0]} bits")
    for method in ("IDR-AE", "WGAN-AE"):
        distances = np.abs(values("epoch", method, bits[0], "distance"))
        losses.plot(np.arange(1, len(distances) + 1), distances / distances.max(), label=method)
    losses.set(xlabel="epoch", ylabel="|distance|, share of its largest", title=f"Distances, {bits[0]} bits")
    losses.legend()
    for axes in (first, second, seconds, losses):
        axes.grid(alpha=0.3)
    return result


def report(rows, name, options, sizes):
    first, splits = rows[0], len({row["split"] for row in rows})
    lines = [
        f"# Unsupervised hashing: {name}",
        "",
        f"Written by `python -m benchmarks.unsupervised {name} {options}`.",
        f"Protocol {first['protocol']}: {sizes[0]} items to train, {sizes[1]} queries, {sizes[2]} in the database. "
        f"Features: {first['features']}, for every method.",
        f"Encoders learn for {first['epochs']} epochs in batches of {first['batch_size']}, Adam "
        f"{first['learning_rate']} (SGH: 40, 500, 0.01); the last epoch is kept.",
        f"Cells: mean ± deviation over {splits} splits, ties averaged over. Pictures: unsupervised-{name}.png.",
    ]
    if name == "cifar10":
        lines += ["", "The paper's features are VGG's (fc7), not made of pixels: compare orders with it, not values."]
    for metric in METRICS:
        lines += ["", *table(rows, metric, name), "", orderings(rows, metric)]
    return lines


def over_datasets(tables):
    """How IDR-AE and each other method do on average over data sets and lengths."""
    lines = [
        "# Unsupervised hashing over the data sets",
        "",
        f"Means over {', '.join(tables)} and the lengths; each data set's own table: unsupervised-<dataset>.md.",
        "",
        "| | P@1000 | mAP |",
        "| --- | --- | --- |",
    ]
    overall = {
        metric: {
            method: np.mean(
                [m for rows in tables.values() for (of, _), (m, _) in means(rows, metric).items() if of == method]
            )
            for method in METHODS
        }
        for metric in METRICS
    }
    lines += [f"| {method} | {overall['P@1000'][method]:.4f} | {overall['mAP'][method]:.4f} |" for method in METHODS]
    gain = overall["mAP"]["IDR-AE"] - overall["mAP"]["AE"]
    verdict = "IDR-AE is above the plain AE" if gain > 0 else "IDR-AE is not above the plain AE"
    results = {
        (name, row["split"], row["bits"], row["method"]): row["mAP"]
        for name, rows in tables.items()
        for row in rows
        if row["row"] == "result"
    }
    higher = [mean > results[(*key, "AE")] for (*key, method), mean in results.items() if method == "IDR-AE"]
    counted = f"in {sum(higher)} of {len(higher)} pairs of trainings it is higher"
    return [*lines, "", f"{verdict}: its mean mAP less that of AE is {gain:+.4f}; {counted}."]


@click.command()
@click.argument("datasets", nargs=-1, required=True)
@click.option("--data-root", type=click.Path(path_type=Path))
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="unsupervised-v1", show_default=True)
@click.option("--features", type=Features(), default="pca128", show_default=True, help="pixels, or pca and a number.")
@click.option("--bits", type=click.IntRange(1), multiple=True, default=PAPER_BITS, show_default=True)
@click.option("--splits", type=click.IntRange(1), default=3, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Of the encoders.")
@click.option("--batch-size", type=click.IntRange(1), default=128, show_default=True, help="Of the encoders.")
@click.option("--learning-rate", type=float, default=1e-4, show_default=True, help="Of the encoders.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("benchmarks/results"))
def main(datasets, data_root, bits, splits, out, **common):
    """Fill and print the tables of DATASETS; draw the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in common.items())
    tables = {}
    for name in datasets:
        whole = load_dataset(name, data_root)
        path = out / f"unsupervised-{whole.name}.csv"
        rows = read_rows(path)
        others = [row for row in rows if any(row[key] != value for key, value in common.items())]
        if others:
            raise click.ClickException(f"expected rows of these settings in {path}, got others; name another --out")
        done = {(row["split"], row["method"], row["bits"]) for row in rows if row["row"] == "result"}
        for number in range(splits):
            parts = split(whole, common["protocol"], number)
            missing = [run for run in itertools.product([number], METHODS, bits) if run not in done]
            if not missing:
                continue
            dataset = with_features(whole, parts, common["features"])
            for _, method, n_bits in tqdm(missing, desc=f"{whole.name}, split {number}"):
                run = {**common, "split": number, "method": method, "bits": n_bits}
                rows += rows_of(dataset, parts, run)
                write_csv(path, rows)
        timed = {(row["method"], row["bits"]) for row in rows if row["row"] == "timing"}
        untimed = [method for method in DISTANCES if (method, min(bits)) not in timed]
        if untimed:
            parts = split(whole, common["protocol"], 0)
            dataset = with_features(whole, parts, common["features"])
            for method in tqdm(untimed, desc=f"{whole.name}, seconds an epoch"):
                run = {**common, "split": 0, "method": method, "bits": min(bits)}
                rows.append(timing_of(dataset, parts, run))
            write_csv(path, rows)
        tables[whole.name] = [row for row in rows if row["split"] < splits and row["bits"] in bits]
        sizes = [len(x) for x in (parts.train, parts.query, parts.database)]
        lines = report(tables[whole.name], whole.name, options, sizes)
        (out / f"unsupervised-{whole.name}.md").write_text("\n".join(lines) + "\n")
        figure(tables[whole.name], whole.name).savefig(out / f"unsupervised-{whole.name}.png", dpi=80)
        click.echo("\n".join(lines))
    lines = over_datasets(tables)
    (out / "unsupervised.md").write_text("\n".join(lines) + "\n")
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
