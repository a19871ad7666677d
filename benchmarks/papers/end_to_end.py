"""The supervised papers' losses end to end: a small residual network that each of them trains whole.

`python -m benchmarks.papers.end_to_end cifar10` (from the repository's root) trains "resnet9_narrow" (on a GPU take
`--network resnet9 --device cuda`) on the training items alone, first to classify, from random weights; then, from the
classifier's weights and a new last layer, by each loss with its own quantisation term, with HSWD and with none: "One
Loss for Quantization", table 1. (That paper does not say what its VGG11 starts from; the networks of H2Q's start as
classifiers of ImageNet.) A term has each of the weights, and the table the one that validation chose. The command says
first how long it will take here; `--weight`, `--bits`, `--seeds` and `--only` take a part.
"""

from __future__ import annotations

import dataclasses
import itertools
import time

import click
import torch
from torch.nn import functional

from benchmarks.papers.features import sizes
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
from benchmarks.papers.tables import Mean, seeds_used, write_markdown, written_by
from fasthash.recipes import BACKBONES, PROTOCOLS, Parts, SupervisedSettings, split, train
from fasthash.recipes.batches import Loaded
from fasthash.recipes.evaluation import network_outputs
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.settings import AUGMENTATIONS

TABLE = "end to end"
VARIANTS = ("original", "-C", "none")  # the loss's own quantisation term, HSWD, no term
SMOOTHING = 0.1  # of the classifier's labels
CLASSIFIER_RATE = 2e-3  # of its Adam, down to 0
STEPS, ITEMS = 8, 2048  # that are timed


def classifier_of(seed, learning):
    given = {"loss": f"cross-entropy, labels smoothed by {SMOOTHING}"}
    return Cell({"method": "classifier", "seed": seed}, SupervisedSettings(**learning, seed=seed), given)


def cells_of(bits, seeds, weights, classifying, hashing):
    """A classifier with every seed, then every loss with each quantisation and weight, seed after seed."""
    for seed in range(seeds):
        yield classifier_of(seed, classifying)
        for n_bits, method, variant in itertools.product(bits, QUANTIZED, VARIANTS):
            named = {"method": method, "bits": n_bits, "quantization": QUANTIZATIONS[variant], "seed": seed}
            for weight in weights_of(method, variant, weights):
                key = {"table": TABLE, "method": method, "bits": n_bits, "variant": variant, "seed": seed}
                key |= {} if weight is None else {"weight": weight}
                settings = SupervisedSettings(**hashing, **named, quantization_weight=weight)
                yield Cell(key, settings, {"classifier": classifying})


def is_of_loss(cell):
    return "classifier" in cell.given


def network_of(cell, dataset):
    """Of a loss's training: the architecture of the classifier with a last layer of the codes' length."""
    classifying, settings = cell.given["classifier"], cell.settings
    torch.manual_seed(settings.seed)
    return HashingNetwork(
        classifying["network"], dataset.items.shape[1:], settings.bits, augmentation=classifying["augmentation"]
    )


def from_classifier(grid, classifier, cell, dataset):
    """Of a loss's training: the network that it begins with."""
    trained = HashingNetwork.load(grid.folder(classifier) / "network.safetensors")
    network = network_of(cell, dataset)
    network.backbone.load_state_dict(trained.backbone.state_dict())
    network.standardize(trained.mean, trained.deviation)
    return network


def smoothed_cross_entropy(u, labels):
    return functional.cross_entropy(u, labels, label_smoothing=SMOOTHING)


def classify(grid, cell, dataset, parts):
    """The accuracy of the network trained to classify, whose outputs are the classes."""
    settings = dataclasses.replace(cell.settings, bits=dataset.n_classes)
    run = grid.train(
        dataclasses.replace(cell, settings=settings), dataset=dataset, parts=parts, loss=smoothed_cross_entropy
    )
    query = Loaded(dataset.items, dataset.labels, parts.query)
    accuracy = (network_outputs(run.network, query).argmax(1) == query.labels).float().mean().item()
    return {"accuracy": accuracy, "seconds": run.results["seconds"]}


def seconds_a_cell(cell, dataset, parts, device):
    """What a training and its evaluation take here, from a few steps and items."""
    settings = cell.settings
    few = Parts(
        parts.train[: STEPS * settings.batch_size], parts.validation[:0], parts.query[:16], parts.database[:ITEMS]
    )
    network = network_of(cell, dataset) if is_of_loss(cell) else None
    run = train(dataclasses.replace(settings, epochs=2), network=network, dataset=dataset, parts=few, device=device)
    start = time.perf_counter()
    network_outputs(run.network, Loaded(dataset.items, dataset.labels, few.database))
    an_item = (time.perf_counter() - start) / len(few.database)
    a_step = run.history[-1]["seconds"] / (len(few.train) // settings.batch_size)
    n_validated = len(parts.validation) * -(-settings.epochs // settings.validate_every)
    n_steps = settings.epochs * (len(parts.train) // settings.batch_size)
    return n_steps * a_step + (n_validated + len(parts.query) + len(parts.database)) * an_item


def report(rows, name, facts):
    classifiers = [row for row in rows if row["method"] == "classifier"]
    rows = [row for row in rows if row["method"] != "classifier"]
    return [
        f"# Supervised hashing end to end: {name}",
        "",
        f"{written_by(facts)} {facts['device']}, protocol {facts['protocol']}, split seed 0:",
        f"{facts['train']} items to train, {facts['query']} queries, {facts['database']} in the database. "
        f"The network {facts['network']} is trained to classify for {facts['network_epochs']} epochs "
        f"({Mean('accuracy')((), classifiers)} of the queries right after",
        f"{Mean('seconds', 0)((), classifiers)} seconds), then by each loss for {facts['epochs']} epochs, with a new "
        f"last layer; Adam {facts['learning_rate']:g}, {facts['backbone_rate']:g} of it below that layer.",
        f"Cells: mAP of all ± deviation, {seeds_used(rows)} (mean angle to the signs in radians, mean entropy of a "
        "bit, both of the database). ▲ and ▼: higher or lower than",
        "the first column by a paired t-test over the seeds, p < 0.05. -C is HSWD in the place of the loss's own term.",
        "",
        *weights_tried(rows),
        *variants_table(best_weights(rows), TABLE),
    ]


@command(bits=(16, 32, 64), seeds=3, epochs=40)
@click.argument("dataset")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="per-class-v1", show_default=True)
@click.option("--weight", "weights", **WEIGHTS)
@click.option("--network", type=click.Choice(list(BACKBONES)), default="resnet9_narrow", show_default=True)
@click.option("--network-epochs", type=click.IntRange(1), default=40, show_default=True, help="Of the classifier.")
@click.option("--augmentation", type=click.Choice(AUGMENTATIONS), default="flip-crop", show_default=True)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Of Adam for a loss, down to 0.",
)
@click.option(
    "--backbone-rate",
    type=click.FloatRange(0),
    default=0.1,
    show_default=True,
    help="Share of it below the last layer.",
)
@click.option("--precision", type=click.Choice(("float32", "bfloat16")), default="bfloat16", show_default=True)
def main(
    dataset, protocol, bits, seeds, weights, epochs, network, network_epochs, augmentation, precision, options, **rates
):
    """Train every loss with every quantisation end to end and write the table of one data set."""
    name = name_of(dataset)
    common = {"dataset": dataset, "protocol": protocol, "precision": precision}
    of_network = {"network": network, "augmentation": augmentation, "epochs": network_epochs}
    classifying = {**common, **of_network, "learning_rate": CLASSIFIER_RATE}
    cells = list(cells_of(bits, seeds, weights, classifying, {**common, **rates, "epochs": epochs}))
    grid = Grid(f"end_to_end-{name}", cells, options)

    def data():
        whole = options.load(dataset)
        return whole, split(whole, protocol)

    def work(cell):
        whole, parts = data()
        if is_of_loss(cell):
            classifier = classifier_of(cell.key["seed"], classifying)
            grid.finish(classifier, work)
            started = from_classifier(grid, classifier, cell, whole)
            run = grid.train(cell, network=started, dataset=whole, parts=parts)
            yield {**cell.key, **run.results}
        else:
            yield {**cell.key, **classify(grid, cell, whole, parts)}

    def facts():
        on_gpu = torch.device(options.device).type == "cuda"
        device = torch.cuda.get_device_name() if on_gpu else "A CPU"
        learning = {"network": network, "network_epochs": network_epochs, "epochs": epochs, **rates}
        return {"protocol": protocol, **learning, "device": device, **sizes(data()[1])}

    if left := grid.left():
        kinds = {is_of_loss(cell): cell for cell in left}
        seconds = {kind: seconds_a_cell(cell, *data(), options.device) for kind, cell in kinds.items()}
        hours = sum(seconds[is_of_loss(cell)] for cell in left) / 3600
        click.echo(f"{len(left)} trainings, about {hours:.1f} hours here")
    rows = grid.run(work, facts)
    if rows is not None:
        write_markdown(grid.csv.with_suffix(".md"), report(rows, name, grid.facts()))


if __name__ == "__main__":
    main()
