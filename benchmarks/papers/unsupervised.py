"""The tables and pictures of IDR-AE's paper ("Image Hashing by Minimizing Independent Relaxed Wasserstein Distance").

`python -m benchmarks.papers.unsupervised mnist fashion_mnist cifar10` (from the repository's root) has, for each data
set, P@1000 (the paper's table 1) and mAP (table 2) of every method, length and split; precision and recall (figure 2),
seconds an epoch by distance (figure 3) and distances during training (figure 4); and IDR-AE beside the others over all.

The weight of a distance is chosen without labels, for each method, length and split: 1,000 training items are held out
from every method, and of the trainings with each weight that one counts whose codes keep the largest share of their 100
Euclidean neighbours (`neighbours_kept`). The rows of all are in the CSV file.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import click
import numpy as np
import torch

from benchmarks.papers.features import Features, flat, sizes, with_features
from benchmarks.papers.grid import Cell, Grid
from benchmarks.papers.options import command, name_of
from benchmarks.papers.pictures import retrieval_and_training
from benchmarks.papers.tables import Mean, Paper, means, rounded, table, write_markdown, written_by
from fasthash.evaluate import precision_at, precision_recall_curve
from fasthash.hashers import ITQ, LSH, SpectralHashing
from fasthash.ops.packing import pack_bits
from fasthash.recipes.batches import Loaded
from fasthash.recipes.evaluation import evaluate_codes, network_outputs
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import PROTOCOLS, split
from fasthash.recipes.settings import AutoencoderSettings, SGHSettings, SSDHSettings

HASHERS = {
    "LSH": lambda n_bits, seed: LSH(n_bits, random_state=seed),
    "SpecHash": lambda n_bits, seed: SpectralHashing(n_bits),
    "ITQ": lambda n_bits, seed: ITQ(n_bits, random_state=seed),
}
DISTANCES = {"AE": "none", "AE-JS": "js", "WGAN-AE": "wgan", "OT-AE": "ot", "SWD-AE": "swd", "IDR-AE": "idr"}
WEIGHTED = [method for method, distance in DISTANCES.items() if distance != "none"]
METHODS = (*HASHERS, "SGH", "SSDH", *DISTANCES)
COMPARED = ("AE", "IDR-AE")  # in every table
HELD_OUT, SEARCHED, NEIGHBOURS = 1000, 10_000, 100  # of the choice of weights: items, among which, their neighbours
SHARED = ("protocol", "features", "epochs", "batch_size", "learning_rate", "split", "method", "bits")  # by all rows
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


def settings_of(method, encoder, **common):
    """The settings of a method's recipe; None of a hasher. SGH and SSDH have batches and rates of their own."""
    if method in HASHERS:
        return None
    if method == "SGH":
        return SGHSettings(**common)
    if method == "SSDH":
        return SSDHSettings(**common)
    return AutoencoderSettings(**common, **encoder, distance=DISTANCES[method])


def cells_of(dataset, protocol, features, bits, splits, weights, methods, encoder):
    """Every method, weight, length and split; and trainings only to time an epoch, as others run beside other work."""
    given = {"dataset": dataset, "protocol": protocol, "features": features, "held_out": HELD_OUT, **encoder}
    runs = [
        ("result", number, method, n_bits, weight)
        for number, method, n_bits in itertools.product(range(splits), methods, bits)
        for weight in (weights if method in WEIGHTED else (None,))
    ]
    runs += [("timing", 0, method, min(bits), None) for method in DISTANCES if method in methods]
    for row, number, method, n_bits, weight in runs:
        learning = encoder if row == "result" else {**encoder, "epochs": 3}
        common = {"dataset": dataset, "protocol": protocol, "bits": n_bits, "seed": number, "split_seed": number}
        key = {"row": row, "split": number, "method": method, "bits": n_bits}
        if weight is not None:
            key["weight"], learning = weight, {**learning, "weight": weight}
        yield Cell(key, settings_of(method, learning, **common), given)


def without_held_out(parts, number):
    """The parts of a split, some of what is trained on moved to what validates."""
    drawn = np.random.default_rng([number, 1]).permutation(parts.train)
    n = min(HELD_OUT, len(drawn) // 10)
    return replace(parts, train=np.sort(drawn[n:]), validation=np.sort(drawn[:n]))


def neighbours_kept(codes_of, items, parts):
    """The share of a held-out item's Euclidean neighbours that are the nearest by code, ties averaged over.

    Args:
        codes_of: from positions to packed codes.
        items: of the data set.
        parts: whose validation items ask, and whose first training items are searched.
    """
    searched = parts.train[:: max(len(parts.train) // SEARCHED, 1)][:SEARCHED]
    asked, among = (torch.from_numpy(flat(items[part])) for part in (parts.validation, searched))
    n = min(NEIGHBOURS, len(searched) // 10)
    nearest = torch.cdist(asked, among).topk(n, largest=False).indices
    of_item = torch.zeros(len(asked), len(among), dtype=torch.bool).scatter_(1, nearest, True)  # whose neighbour it is
    codes = codes_of(parts.validation), codes_of(searched)
    return precision_at(n, codes[0], torch.eye(len(asked), dtype=torch.bool), codes[1], of_item.T)


def worked_out(grid, dataset, protocol, features):
    """The grid's rows: results, and of the first split's autoencoders epochs, radii and an epoch's seconds."""

    @functools.cache
    def data(number):
        whole = grid.options.load(dataset)
        parts = without_held_out(split(whole, protocol, number), number)
        return with_features(whole, parts, features), parts

    def work(cell):
        items, parts = data(cell.key["split"])
        row = {
            name: {**cell.given, **cell.key}[name] for name in (*SHARED, *(["weight"] if "weight" in cell.key else []))
        }

        def loaded(positions):
            return Loaded(items.items, items.labels, positions)

        query, database = loaded(parts.query), loaded(parts.database)
        if cell.settings is None:
            hasher = HASHERS[row["method"]](row["bits"], row["split"]).fit(flat(items.items[parts.train]))
            u, v = (torch.from_numpy(hasher.transform(flat(x.items[x.positions]))) for x in (query, database))
            results = evaluate_codes(u, query.labels, v, database.labels)
            kept = neighbours_kept(lambda positions: hasher.encode(flat(items.items[positions])), items.items, parts)
            yield {"row": "result", **row, **rounded({**results, "neighbours_kept": kept}, 5)}
            return
        run = grid.train(cell, dataset=items, parts=parts)
        if cell.key["row"] == "timing":
            yield {"row": "timing", **row, "seconds": round(min(epoch["seconds"] for epoch in run.history), 6)}
            return
        network = HashingNetwork.load(grid.folder(cell) / "network.safetensors")
        kept = neighbours_kept(lambda part: pack_bits(network_outputs(network, loaded(part))), items.items, parts)
        yield {"row": "result", **row, **rounded({**run.results, "neighbours_kept": kept}, 5)}
        if row["method"] in DISTANCES and row["split"] == 0:
            yield from ({"row": "epoch", **row, **rounded(epoch, 6)} for epoch in run.history)
            yield from ({"row": "radius", **row, **radius} for radius in by_radius(network, query, database))

    return grid.run(work, lambda: sizes(data(0)[1]))


def chosen(rows):
    """The rows without those of weights that were not chosen for their method, length and split."""
    best = {}
    for row in rows:
        if row["row"] == "result" and "weight" in row:
            of = row["split"], row["method"], row["bits"]
            best[of] = max(best.get(of, row), row, key=lambda x: x["neighbours_kept"])
    return [
        row
        for row in rows
        if "weight" not in row or row["weight"] == best[row["split"], row["method"], row["bits"]]["weight"]
    ]


def by_radius(network, query, database):
    codes = [pack_bits(network_outputs(network, x)) for x in (query, database)]
    curve = precision_recall_curve(codes[0], query.labels, codes[1], database.labels)
    for radius, (precision, recall) in enumerate(zip(*(x.tolist() for x in curve), strict=True)):
        yield {"radius": radius, "precision": round(precision, 5), "recall": round(recall, 5)}


def metric_table(rows, metric, dataset):
    """A line a method, a column a length; CIFAR-10 beside the paper's."""
    columns = {f"{n} bits": Mean(METRICS[metric], 4, {"bits": n}) for n in sorted({row["bits"] for row in rows})}
    if dataset == "cifar10":
        for place, n in enumerate(PAPER_BITS) if metric == "P@1000" else [(3, 64)]:
            columns[f"paper, {n} bits"] = Paper({(method,): row[place] for method, row in PAPER.items()}, 4)
    return table(rows, {metric: "method"}, columns)


def orderings(rows, metric):
    """Which of the paper's orderings by this metric hold: of IDR-AE over each method, and of all pairs of methods."""
    mean = {method: value for (method,), value in means(rows, METRICS[metric], "method").items()}
    paper = {method: row[3] if metric == "mAP" else np.mean(row[:3]) for method, row in PAPER.items()}
    both = [method for method in PAPER if method in mean]
    pairs = [(a, b) for a, b in itertools.permutations(both, 2) if paper[a] > paper[b]]
    kept = [(a, b) for a, b in pairs if mean[a] > mean[b]]
    others = [method for method in mean if method != "IDR-AE"]
    above = ", ".join(method for method in others if mean["IDR-AE"] > mean[method]) or "none"
    not_above = ", ".join(method for method in others if mean["IDR-AE"] <= mean[method]) or "none"
    return (
        f"By {metric}, averaged over lengths, IDR-AE is above {above}; not above {not_above}. "
        f"Of the {len(pairs)} orderings of two methods in the paper's CIFAR-10, {len(kept)} hold here."
    )


def learning_table(rows):
    """A line an autoencoder and length: the weights chosen by split, and how near it is to bits and to components."""
    last = {(row["method"], row["bits"]): row for row in rows if row["row"] == "epoch"}

    def weights(line, of_line):
        return ", ".join(f"{row['weight']:g}" for row in of_line if "weight" in row)

    def distance(line, of_line):
        value = last[line].get("distance")
        return "" if value is None else f"{value:.3f}"

    autoencoders = [row for row in results_of(rows) if row["method"] in DISTANCES]
    columns = {
        "weights": weights,
        "distance at the end, split 0": distance,
        "variance lost": Mean("variance_lost"),
        "by as many components": Mean("variance_lost_by_pca"),
        "neighbours kept": Mean("neighbours_kept"),
        "bit entropy": Mean("bit_entropy", 2),
    }
    return table(autoencoders, {"autoencoder": "method", "bits": "bits"}, columns)


def report(rows, name, facts):
    first, splits = rows[0], len({row["split"] for row in rows})
    tried = sorted({row["weight"] for row in rows if "weight" in row})
    rows = chosen(rows)
    lines = [
        f"# Unsupervised hashing: {name}",
        "",
        written_by(facts),
        f"Protocol {first['protocol']}: {facts['train']} items to train, {facts['query']} queries, "
        f"{facts['database']} in the database. Features: {first['features']}, for every method.",
        f"Autoencoders learn for {first['epochs']} epochs in batches of {first['batch_size']}, Adam "
        f"{first['learning_rate']} (SGH and SSDH: their recipes' defaults); the last epoch is kept.",
        f"A distance's weight is that of {', '.join(f'{weight:g}' for weight in tried)} whose codes keep most "
        "Euclidean neighbours of held-out training items; no label is looked at.",
        f"Cells: mean ± deviation over {splits} splits, ties averaged over. Pictures: unsupervised-{name}.png.",
    ]
    if name == "cifar10":
        lines += ["", "The paper's features are VGG's (fc7), not made of pixels: compare orders with it, not values."]
    for metric in METRICS:
        lines += ["", *metric_table(results_of(rows), metric, name), "", orderings(results_of(rows), metric)]
    return [*lines, "", *learning_table(rows)]


def results_of(rows):
    """In the order of the methods."""
    return sorted((row for row in rows if row["row"] == "result"), key=lambda row: METHODS.index(row["method"]))


def over_datasets(tables):
    """How IDR-AE and each other method do on average over data sets and lengths."""
    rows = [{"data": name, **row} for name, table_rows in tables.items() for row in results_of(chosen(table_rows))]
    overall = {title: means(rows, metric, "method") for title, metric in METRICS.items()}
    averages = [{"method": of, **{title: overall[title][of,] for title in METRICS}} for (of,) in overall["mAP"]]
    gain = overall["mAP"]["IDR-AE",] - overall["mAP"]["AE",]
    verdict = "IDR-AE is above the plain AE" if gain > 0 else "IDR-AE is not above the plain AE"
    each = means(rows, "mAP", "data", "split", "bits", "method")
    higher = [mean > each[*key, "AE"] for (*key, method), mean in each.items() if method == "IDR-AE"]
    return [
        "# Unsupervised hashing over the data sets",
        "",
        f"Means over {', '.join(tables)} and the lengths; each data set's own table: unsupervised-<dataset>.md.",
        "",
        *table(averages, {"": "method"}, {title: Mean(title, 4) for title in METRICS}),
        "",
        f"{verdict}: its mean mAP less that of AE is {gain:+.4f}; in {sum(higher)} of {len(higher)} pairs of trainings "
        "it is higher.",
    ]


@command(bits=PAPER_BITS, seeds=3, epochs=50)
@click.argument("datasets", nargs=-1, required=True)
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="unsupervised-v1", show_default=True)
@click.option("--features", type=Features(), default="pca128", show_default=True, help="pixels, or pca and a number.")
@click.option("--batch-size", type=click.IntRange(1), default=128, show_default=True, help="Of the autoencoders.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Of the autoencoders.",
)
@click.option(
    "--weights",
    type=click.FloatRange(0),
    multiple=True,
    default=(0.01, 0.03, 0.1, 0.3),
    show_default=True,
    help="Of a distance.",
)
@click.option(
    "--method",
    "others",
    type=click.Choice([method for method in METHODS if method not in COMPARED]),
    multiple=True,
    help=f"Of the table, beside {' and '.join(COMPARED)}; repeatable.  [default: all]",
)
def main(datasets, protocol, features, bits, seeds, epochs, batch_size, learning_rate, weights, others, options):
    """Fill and print the tables of DATASETS; draw the pictures. A seed is a split's and its trainings'."""
    encoder = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    methods = [method for method in METHODS if not others or method in (*others, *COMPARED)]
    tables = {}
    for dataset in datasets:
        name = name_of(dataset)
        cells = list(cells_of(dataset, protocol, features, bits, seeds, weights, methods, encoder))
        grid = Grid(f"unsupervised-{name}", cells, options)
        rows = worked_out(grid, dataset, protocol, features)
        if rows is not None:
            tables[name] = rows
            write_markdown(options.out / f"{grid.name}.md", report(rows, name, grid.facts()))
            trained = {row["method"] for row in rows}
            picture = retrieval_and_training(chosen(rows), [of for of in DISTANCES if of in trained], name)
            picture.savefig(options.out / f"{grid.name}.png", dpi=80)
    if len(tables) == len(datasets):
        write_markdown(options.out / "unsupervised.md", over_datasets(tables))


if __name__ == "__main__":
    main()
