"""The tables of the supervised papers on one data set, with a small network that a CPU can train.

`python -m benchmarks.papers.supervised cifar10` (from the repository's root) trains

1. each loss with its own quantisation, with the sliced Wasserstein distance (-S) and with HSWD (-C): "One Loss for
   Quantization", table 1;
2. losses without quantisation, their outputs rotated by ITQ and H2Q: "Deep Hashing via Householder Quantization";
3. one loss end to end.

For 1 and 2 the network "cnn" is trained once, to classify the training items, and frozen; what is trained on its 512
features is a hidden layer of 512 and the last layer.
"""

from __future__ import annotations

import functools
import itertools
import time

import click
import numpy as np

from benchmarks.papers.features import classified, sizes, train_classifier
from benchmarks.papers.grid import Cell, Grid
from benchmarks.papers.options import command, name_of
from benchmarks.papers.tables import Mean, against_first, seeds_used, table, write_markdown
from fasthash.hashers import H2Q, ITQ
from fasthash.recipes.batches import Loaded
from fasthash.recipes.evaluation import evaluate_codes, network_outputs
from fasthash.recipes.protocols import PROTOCOLS, split
from fasthash.recipes.settings import AUGMENTATIONS, SupervisedSettings

QUANTIZATIONS = {"original": "original", "-S": "swd", "-C": "hswd"}
QUANTIZED = ("dsdh", "hashnet", "greedyhash", "dch", "csq", "dbdh")
UNQUANTIZED = ("cel", "dhn", "dpsh", "dch", "wglhh", "hyp2")
END_TO_END = ("csq",)
ROTATIONS = {
    "ITQ": lambda n_bits, seed: ITQ(n_bits, random_state=seed),
    **{
        f"H2Q {loss}": lambda n_bits, seed, loss=loss: H2Q(n_bits, loss=loss, center=False, random_state=seed)
        for loss in ("l2", "l1", "min_entry", "bit_var")
    },
}


def cells_of(classifier, bits, seeds, on_features, whole_network):
    """Every loss with each quantisation on the features, every loss to rotate, and one of the whole network."""
    middle = sorted(bits)[len(bits) // 2]
    tables = (
        ("quantisation", QUANTIZED, bits, seeds, QUANTIZATIONS, on_features),
        ("rotation", UNQUANTIZED, bits, seeds, {"none": "none"}, on_features),
        ("end to end", END_TO_END, [middle], 1, QUANTIZATIONS, whole_network),
    )
    yield classifier
    for title, methods, lengths, n_seeds, variants, common in tables:
        for method, n_bits, seed, variant in itertools.product(methods, lengths, range(n_seeds), variants):
            key = {"table": title, "method": method, "bits": n_bits, "variant": variant, "seed": seed}
            named = {"method": method, "bits": n_bits, "seed": seed, "quantization": variants[variant]}
            yield Cell(key, SupervisedSettings(**common, **named), classifier.given)


def rotated(dataset, parts, network, settings):
    """What the outputs of a network retrieve as they are, and by each rotation."""
    train, query, database = (
        Loaded(dataset.items, dataset.labels, x) for x in (parts.train, parts.query, parts.database)
    )
    u, zq, z = (network_outputs(network, x) for x in (train, query, database))
    yield {"variant": "none", **evaluate_codes(zq, query.labels, z, database.labels)}
    for variant, make in ROTATIONS.items():
        start = time.perf_counter()
        rotation = make(settings.bits, settings.seed).fit(u)
        seconds = time.perf_counter() - start
        results = evaluate_codes(rotation.transform(zq), query.labels, rotation.transform(z), database.labels)
        yield {"variant": variant, **results, "fit_s": seconds}


def variants_table(rows, title):
    """A line a loss and length, a column a variant; then how the others compare with the first."""
    chosen = [row for row in rows if row["table"] == title]
    columns = {
        variant: Mean("mAP", where={"variant": variant}, beside=("quantization_angle", "bit_entropy"))
        for variant in dict.fromkeys(row["variant"] for row in chosen)
    }
    lines = table(chosen, {"loss": "method", "bits": "bits"}, columns)
    return [*lines, *against_first(chosen, "mAP", "variant", "method", "bits")]


def report(rows, name, facts):
    return [
        f"# Supervised hashing: {name}",
        "",
        f"Written by `python -m benchmarks.papers.supervised {name}` in {facts['minutes']:.0f} minutes, "
        f"{facts['threads']} threads. Protocol {facts['protocol']}, split seed 0:",
        f"{facts['train']} items to train, {facts['query']} queries, {facts['database']} in the database. "
        f"Cells: mAP of all ± deviation, {seeds_used(rows)}",
        "(mean angle to the signs in radians, mean entropy of a bit, both of the database).",
        "",
        "## Quantisation: the loss's own, the sliced Wasserstein distance (-S), HSWD (-C)",
        "",
        f"The network cnn, trained for {facts['network_epochs']} epochs to classify the training items "
        f"({facts['accuracy']:.3f} of the queries right), is frozen; a hidden layer of 512",
        f"and the last layer learn from its features, {facts['epochs']} epochs, batches of 128, Adam 1e-3.",
        "",
        *variants_table(rows, "quantisation"),
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


@command(bits=(16, 32, 64), seeds=3, epochs=40)
@click.argument("dataset")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="per-class-v1", show_default=True)
@click.option("--network-epochs", type=click.IntRange(1), default=60, show_default=True, help="Of the whole network.")
@click.option("--augmentation", type=click.Choice(AUGMENTATIONS), default="flip-crop", show_default=True)
def main(dataset, protocol, bits, seeds, epochs, network_epochs, augmentation, options):
    """Train every loss and write the tables of one data set."""
    name = name_of(dataset)
    common = {"dataset": dataset, "protocol": protocol}
    learning = {"epochs": network_epochs, "augmentation": augmentation}
    classifier = Cell({"table": "classifier"}, given={**common, "classifier": learning})
    on_features = {**common, "network": "mlp", "epochs": epochs}
    cells = list(cells_of(classifier, bits, seeds, on_features, {**common, "network": "cnn", **learning}))
    grid = Grid(f"supervised-{name}", cells, options)
    features = grid.folder(classifier) / "features.npz"

    @functools.cache
    def frozen():
        grid.finish(classifier, work)
        return classified(features, options.load(dataset))

    def work(cell):
        whole = options.load(dataset)
        parts = split(whole, protocol)
        if cell is classifier:
            train_classifier(features, whole, parts, **learning, device=options.device)
            return
        items = whole if cell.key["table"] == "end to end" else frozen()[0]
        run = grid.train(cell, dataset=items, parts=parts)
        if cell.key["table"] == "rotation":
            yield from ({**cell.key, **row} for row in rotated(items, parts, run.network, cell.settings))
        else:
            seconds = float(np.median([row["seconds"] for row in run.history]))
            yield {**cell.key, **run.results, "s_per_epoch": seconds}

    def facts():
        measured = {**sizes(split(options.load(dataset), protocol)), "accuracy": frozen()[1]}
        return {"protocol": protocol, "epochs": epochs, "network_epochs": network_epochs, **measured}

    rows = grid.run(work, facts)
    if rows is not None:
        write_markdown(grid.csv.with_suffix(".md"), report(rows, name, grid.facts()))


if __name__ == "__main__":
    main()
