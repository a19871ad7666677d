"""The tables and figures of "One Loss for Quantization" on one data set, with a small network that a CPU can train.

`python -m benchmarks.papers.supervised cifar10` (from the repository's root) trains

1. each loss with its own quantisation, with the sliced Wasserstein distance (-S), with HSWD (-C) and with none, by
   each of the weights: the paper's tables 1, 2 and 4;
2. losses without quantisation, their outputs rotated by ITQ and H2Q (`benchmarks.papers.h2q` is that paper's own
   comparison);
3. one loss end to end;
4. two losses to two bits of four classes;

and draws figures 2 to 5 from the folders of the trainings. The network "cnn" is trained once, to classify the training
items, and frozen; what is trained on its 512 features, but for 3, is a hidden layer of 512 and the last layer.
"""

from __future__ import annotations

import itertools

import click
import numpy as np

from benchmarks.papers.features import sizes
from benchmarks.papers.frozen import Frozen, rotated
from benchmarks.papers.grid import Cell, Grid
from benchmarks.papers.options import command, name_of
from benchmarks.papers.quantised import (
    QUANTIZATIONS,
    QUANTIZED,
    WEIGHTS,
    best_weights,
    variants_table,
    weights_of,
    weights_tried,
)
from benchmarks.papers.tables import read_rows, seeds_used, write_markdown, written_by
from fasthash.data import Dataset
from fasthash.recipes.batches import Loaded
from fasthash.recipes.evaluation import network_outputs
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import PROTOCOLS, split
from fasthash.recipes.settings import AUGMENTATIONS, SupervisedSettings

UNQUANTIZED = ("cel", "dhn", "dpsh", "dch", "wglhh", "hyp2")
END_TO_END = ("csq",)
TWO_BITS = ("hashnet", "csq")  # figure 2
N_CLASSES = 4  # of figure 2
CURVES = ("dsdh", "hashnet")  # figure 3
MAPS = ("csq", "dch")  # figure 4


def cells_of(frozen, bits, seeds, weights, on_features, whole_network):
    """Every loss with each quantisation and weight on the features, every loss to rotate, and those of 3 and 4."""

    def cell(common, part, method, n_bits, variant, seed, weight=None):
        key = {"table": part, "method": method, "bits": n_bits, "variant": variant, "seed": seed}
        key |= {} if weight is None else {"weight": weight}
        term = {"quantization": QUANTIZATIONS[variant], "quantization_weight": weight}
        settings = SupervisedSettings(**common, method=method, bits=n_bits, seed=seed, **term)
        return Cell(key, settings, frozen.cell.given)

    yield frozen.cell
    for method, n_bits, seed, variant in itertools.product(QUANTIZED, bits, range(seeds), QUANTIZATIONS):
        for weight in weights_of(method, variant, weights):
            yield cell(on_features, "quantisation", method, n_bits, variant, seed, weight)
    for method, n_bits, seed in itertools.product(UNQUANTIZED, bits, range(seeds)):
        yield cell(on_features, "rotation", method, n_bits, "none", seed)
    for method, variant in itertools.product(END_TO_END, QUANTIZATIONS):
        yield cell(whole_network, "end to end", method, middle(bits), variant, 0)
    for method, variant in itertools.product(TWO_BITS, ("original", "-C")):
        yield cell(on_features, "two bits", method, 2, variant, 0)


def middle(bits):
    return sorted(bits)[(len(bits) - 1) // 2]


def of_few_classes(dataset):
    """The items of the first classes."""
    few = dataset.labels < N_CLASSES
    return Dataset(dataset.name, dataset.items[few], dataset.labels[few], {}, dataset.class_names[:N_CLASSES])


def report(rows, name, facts):
    best = best_weights(rows)
    lines = [
        f"# Supervised hashing: {name}",
        "",
        f"{written_by(facts)} Protocol {facts['protocol']}, split seed 0:",
        f"{facts['train']} items to train, {facts['query']} queries, {facts['database']} in the database. "
        f"Cells: mAP of all ± deviation, {seeds_used(rows)}",
        "(mean angle to the signs in radians, mean entropy of a bit, both of the database). ▲ and ▼: higher or lower "
        "than the first column by a paired",
        "t-test over the seeds, p < 0.05.",
        "",
        "## Quantisation: the loss's own, the sliced Wasserstein distance (-S), HSWD (-C)",
        "",
        f"The network cnn, trained for {facts['network_epochs']} epochs to classify the training items "
        f"({facts['accuracy']:.3f} of the queries right), is frozen; a hidden layer of 512",
        f"and the last layer learn from its features, {facts['epochs']} epochs, batches of 128, Adam 1e-3.",
        "",
    ]
    lines += weights_tried(rows)
    lines += variants_table(best, "quantisation")
    if any("precision_at_1000" in row for row in best):
        lines += [
            "",
            "### Precision of the first 1,000",
            "",
            *variants_table(best, "quantisation", "precision_at_1000"),
        ]
    return [
        *lines,
        "",
        "## Rotation of outputs trained without quantisation",
        "",
        "The same features and layers; rotations are fitted to the outputs of the training items.",
        "",
        *variants_table(rows, "rotation"),
        "",
        f"## The whole network, {facts['network_epochs']} epochs, seed 0",
        "",
        *variants_table(rows, "end to end"),
    ]


def draw(grid, frozen, rows, bits):
    """Write figures 2 to 5 of seed 0 from the folders of the trainings."""
    from benchmarks.papers import pictures  # a machine that only trains needs no matplotlib

    cells = {tuple(cell.key.values()): cell for cell in grid.cells}
    names = ("table", "method", "bits", "variant", "seed", "weight")
    best = {
        tuple(row[name] for name in names[:4]): grid.folder(cells[tuple(row[name] for name in names if name in row)])
        for row in best_weights(rows)
        if row["seed"] == 0
    }
    features, _ = frozen.features(grid)
    few, n_bits, short = of_few_classes(features), middle(bits), min(bits)

    def of_queries(dataset, *key):
        """Outputs and labels."""
        query = Loaded(dataset.items, dataset.labels, split(dataset, frozen.protocol).query)
        u = network_outputs(HashingNetwork.load(best[key] / "network.safetensors"), query)
        return u.numpy(), query.labels.numpy()

    outputs = {
        named(method, variant): of_queries(few, "two bits", method, 2, variant)
        for method, variant in itertools.product(TWO_BITS, ("original", "-C"))
    }
    logs = {
        named(method, variant): read_rows(best["quantisation", method, n_bits, variant] / "log.csv")
        for method, variant in itertools.product(CURVES, ("-S", "-C"))
    }
    codes = {
        named(method, variant): of_queries(features, "quantisation", method, short, variant)
        for method, variant in itertools.product(MAPS, ("original", "-S", "-C"))
    }
    of_middle = [row for row in best_weights(rows) if (row["table"], row["bits"]) == ("quantisation", n_bits)]
    figures = {
        2: pictures.planes(outputs, f"{grid.name}: outputs of 2 bits, {N_CLASSES} classes"),
        3: pictures.distances(logs, f"{grid.name}, {n_bits} bits: distances to bits, of the validation items"),
        4: pictures.maps({name: (u > 0, of) for name, (u, of) in codes.items()}, f"{grid.name}: codes of {short} bits"),
        5: pictures.quality(of_middle, f"{grid.name}, {n_bits} bits"),
    }
    for number, figure in figures.items():
        figure.savefig(grid.csv.with_name(f"{grid.name}-figure{number}.png"), dpi=80)


def named(method, variant):
    """As the paper calls it."""
    return method if variant == "original" else method + variant


@command(bits=(16, 32, 64, 128), seeds=3, epochs=40)
@click.argument("dataset")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="per-class-v1", show_default=True)
@click.option("--weight", "weights", **WEIGHTS)
@click.option("--network-epochs", type=click.IntRange(1), default=60, show_default=True, help="Of the whole network.")
@click.option("--augmentation", type=click.Choice(AUGMENTATIONS), default="flip-crop", show_default=True)
def main(dataset, protocol, bits, seeds, weights, epochs, network_epochs, augmentation, options):
    """Train every loss, write the tables of one data set and draw the figures."""
    common = {"dataset": dataset, "protocol": protocol}
    frozen = Frozen(options, dataset, protocol, network_epochs, augmentation)
    on_features = {**common, "network": "mlp", "epochs": epochs}
    cells = list(cells_of(frozen, bits, seeds, weights, on_features, {**common, "network": "cnn", **frozen.learning}))
    grid = Grid(f"supervised-{name_of(dataset)}", cells, options)

    def work(cell):
        if cell is frozen.cell:
            yield from frozen.train(grid)
            return
        data, parts = frozen.images, frozen.parts
        if cell.key["table"] != "end to end":
            data, _ = frozen.features(grid)
        if cell.key["table"] == "two bits":
            data = of_few_classes(data)
            parts = split(data, protocol)
        run = grid.train(cell, dataset=data, parts=parts)
        if cell.key["table"] == "rotation":
            yield from ({**cell.key, **row} for row in rotated(data, parts, run.network, cell.settings))
        else:
            seconds = float(np.median([row["seconds"] for row in run.history]))
            yield {**cell.key, **run.results, "s_per_epoch": seconds}

    def facts():
        measured = {**sizes(frozen.parts), "accuracy": frozen.features(grid)[1]}
        return {"protocol": protocol, "epochs": epochs, "network_epochs": network_epochs, **measured}

    rows = grid.run(work, facts)
    if rows is not None:
        write_markdown(grid.csv.with_suffix(".md"), report(rows, name_of(dataset), grid.facts()))
        if not options.tables_only:
            draw(grid, frozen, rows, bits)


if __name__ == "__main__":
    main()
