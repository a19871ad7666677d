"""The tables of the supervised papers on one data set, with a small network that a CPU can train.

`python -m benchmarks.supervised cifar10` (from the repository's root) writes supervised-cifar10.md and .csv to
benchmarks/results:

1. each loss with its own quantisation, with the sliced Wasserstein distance (-S) and with HSWD (-C): "One Loss for
   Quantization", table 1;
2. losses without quantisation, their outputs rotated by ITQ and H2Q: "Deep Hashing via Householder Quantization";
3. one loss trained end to end.

For 1 and 2 the network "cnn" is trained once, to classify the training items, and frozen; what is trained on its 512
features is a hidden layer of 512 and the last layer.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from fasthash.data import Dataset, load_dataset
from fasthash.hashers import H2Q, ITQ
from fasthash.recipes.evaluation import evaluate_codes, network_outputs
from fasthash.recipes.networks import AUGMENTATIONS, HashingNetwork
from fasthash.recipes.protocols import PROTOCOLS, split
from fasthash.recipes.supervised import SupervisedSettings, train_supervised
from fasthash.recipes.training import Loaded, seed_epoch, write_csv

QUANTIZATIONS = {"original": "original", "-S": "swd", "-C": "hswd"}
QUANTIZED = ("dsdh", "hashnet", "greedyhash", "dch", "csq", "dbdh")
UNQUANTIZED = ("cel", "dhn", "dpsh", "dch", "wglhh", "hyp2")
END_TO_END = ("csq",)
ROTATIONS = {
    "ITQ": lambda n_bits, seed: ITQ(n_bits, seed=seed),
    **{
        f"H2Q {loss}": lambda n_bits, seed, loss=loss: H2Q(n_bits, loss=loss, center=False, seed=seed)
        for loss in ("l2", "l1", "min_entry", "bit_var")
    },
}


def classifier_features(dataset, parts, epochs, augmentation):
    """Every item's features by the small network, trained to classify the training items; and its accuracy."""
    seed_epoch(0, 0)
    network = HashingNetwork("cnn", dataset.items.shape[1:], dataset.n_classes, augmentation=augmentation)
    train = Loaded(dataset.items, dataset.labels, parts.train)
    optimizer = torch.optim.Adam(network.parameters(), weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in tqdm(range(1, epochs + 1), desc="classifier", unit="epoch"):
        seed_epoch(0, epoch)
        network.train()
        for items, labels, _ in train.epoch(128, seed=0, epoch=epoch):
            loss = functional.cross_entropy(network(items), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
    query = Loaded(dataset.items, dataset.labels, parts.query)
    accuracy = (network_outputs(network, query).argmax(1) == query.labels).float().mean().item()
    network.head = nn.Identity()
    whole = Loaded(dataset.items, dataset.labels, np.arange(len(dataset.items)))
    return network_outputs(network, whole).numpy(), accuracy


def trained(dataset, parts, settings, variant):
    """A row of a training with one kind of quantisation."""
    settings = dataclasses.replace(settings, quantization=QUANTIZATIONS[variant])
    run = train_supervised(settings, dataset=dataset, parts=parts, device="cpu")
    yield {**names(settings, variant), **run.results, "s_per_epoch": np.median([row["seconds"] for row in run.history])}


def rotated(dataset, parts, settings):
    """A row each rotation of the outputs of a training without quantisation."""
    settings = dataclasses.replace(settings, quantization="none")
    network = train_supervised(settings, dataset=dataset, parts=parts, device="cpu").network
    train, query, database = (
        Loaded(dataset.items, dataset.labels, x) for x in (parts.train, parts.query, parts.database)
    )
    u, zq, z = (network_outputs(network, x) for x in (train, query, database))
    yield {**names(settings, "none"), **evaluate_codes(zq, query.labels, z, database.labels)}
    for variant, make in ROTATIONS.items():
        start = time.perf_counter()
        rotation = make(settings.bits, settings.seed).fit(u)
        seconds = time.perf_counter() - start
        results = evaluate_codes(rotation.transform(zq), query.labels, rotation.transform(z), database.labels)
        yield {**names(settings, variant), **results, "fit_s": seconds}


def names(settings, variant):
    return {"method": settings.method, "bits": settings.bits, "variant": variant, "seed": settings.seed}


def table(rows):
    """Markdown, a row a loss and length, a column a variant; then how the others compare with the first."""
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    questions = list(dict.fromkeys((row["method"], row["bits"]) for row in rows))
    lines = [f"| loss | bits | {' | '.join(variants)} |", "| --- " * (2 + len(variants)) + "|"]
    maps = {}
    for question in questions:
        cells = []
        for variant in variants:
            chosen = [row for row in rows if (row["method"], row["bits"], row["variant"]) == (*question, variant)]
            values = [row["mAP"] for row in chosen]
            angle, entropy = (np.mean([row[key] for row in chosen]) for key in ("quantization_angle", "bit_entropy"))
            maps[question, variant] = np.mean(values)
            deviation = f" ± {np.std(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{deviation} ({angle:.2f}, {entropy:.2f})")
        lines.append(f"| {question[0]} | {question[1]} | {' | '.join(cells)} |")
    if len(questions) == 1:
        return lines
    lines += ["", f"mAP against {variants[0]}, of {len(questions)} pairs of means:", ""]
    for variant in variants[1:]:
        gains = np.array([maps[question, variant] - maps[question, variants[0]] for question in questions])
        lines.append(
            f"- {variant}: at least as high {np.sum(gains >= 0)} times; difference {gains.mean():+.4f} in the mean, "
            f"{gains.min():+.4f} to {gains.max():+.4f}"
        )
    return lines


@click.command()
@click.argument("dataset")
@click.option("--data-root", type=click.Path(path_type=Path))
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="per-class-v1", show_default=True)
@click.option("--bits", type=int, multiple=True, default=(16, 32, 64), show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=40, show_default=True, help="Of the layers on the features.")
@click.option("--network-epochs", type=click.IntRange(1), default=60, show_default=True, help="Of the whole network.")
@click.option("--augmentation", type=click.Choice(AUGMENTATIONS), default="flip-crop", show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("benchmarks/results"))
def main(dataset, data_root, protocol, bits, seeds, epochs, network_epochs, augmentation, out):
    """Train every loss and write the tables of one data set."""
    start = time.perf_counter()
    whole = load_dataset(dataset, data_root)
    parts = split(whole, protocol)
    features, accuracy = classifier_features(whole, parts, network_epochs, augmentation)
    frozen = Dataset(whole.name, features, whole.labels, {}, whole.class_names)
    on_features = {"dataset": dataset, "network": "mlp", "protocol": protocol, "epochs": epochs}
    end_to_end = {**on_features, "network": "cnn", "epochs": network_epochs, "augmentation": augmentation}

    def grid(title, methods, bits, seeds):
        return tqdm(list(itertools.product(methods, bits, range(seeds))), desc=title)

    tables = {"quantisation": [], "rotation": [], "end to end": []}
    for method, n_bits, seed in grid("quantisation", QUANTIZED, bits, seeds):
        settings = SupervisedSettings(method=method, bits=n_bits, seed=seed, **on_features)
        for variant in QUANTIZATIONS:
            tables["quantisation"] += trained(frozen, parts, settings, variant)
    for method, n_bits, seed in grid("rotation", UNQUANTIZED, bits, seeds):
        settings = SupervisedSettings(method=method, bits=n_bits, seed=seed, **on_features)
        tables["rotation"] += rotated(frozen, parts, settings)
    for method, n_bits, seed in grid("end to end", END_TO_END, sorted(bits)[len(bits) // 2 :][:1], 1):
        settings = SupervisedSettings(method=method, bits=n_bits, seed=seed, **end_to_end)
        for variant in QUANTIZATIONS:
            tables["end to end"] += trained(whole, parts, settings, variant)

    minutes = (time.perf_counter() - start) / 60
    seeds_used = f"seeds 0 to {seeds - 1}" if seeds > 1 else "seed 0"
    lines = [
        f"# Supervised hashing: {whole.name}",
        "",
        f"Written by `python -m benchmarks.supervised {dataset}` in {minutes:.0f} minutes, {torch.get_num_threads()} "
        f"threads. Protocol {protocol}, split seed 0:",
        f"{len(parts.train)} items to train, {len(parts.query)} queries, {len(parts.database)} in the database. "
        f"Cells: mAP of all ± deviation, {seeds_used}",
        "(mean angle to the signs in radians, mean entropy of a bit, both of the database).",
        "",
        "## Quantisation: the loss's own, the sliced Wasserstein distance (-S), HSWD (-C)",
        "",
        f"The network cnn, trained for {network_epochs} epochs to classify the training items ({accuracy:.3f} of the "
        f"queries right), is frozen; a hidden layer of 512",
        f"and the last layer learn from its features, {epochs} epochs, batches of 128, Adam 1e-3.",
        "",
        *table(tables["quantisation"]),
        "",
        "## Rotation of outputs trained without quantisation",
        "",
        "The same features and layers; rotations are fitted to the outputs of the training items.",
        "",
        *table(tables["rotation"]),
        "",
        f"## The whole network, {network_epochs} epochs, seed 0",
        "",
        *table(tables["end to end"]),
    ]
    out.mkdir(parents=True, exist_ok=True)
    write_csv(
        out / f"supervised-{whole.name}.csv", [{"table": name, **row} for name, rows in tables.items() for row in rows]
    )
    (out / f"supervised-{whole.name}.md").write_text("\n".join(lines) + "\n")
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
