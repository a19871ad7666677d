"""IGAN's table 4 and what its codes retrieve: losses added one at a time, from one set of digits to another.

`python -m benchmarks.domain_adaptation` (from the repository's root) trains MNIST to USPS and USPS to MNIST, and writes
domain_adaptation-<source>-<target>.csv, .png and domain_adaptation.md to benchmarks/results. Other pairs of data sets
are named as <source>:<target>.

A row is kept as soon as it is known and not computed again, and a training goes on from its last epoch: a run that was
interrupted goes on when it is repeated. Pairs that are named one by one can run side by side.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import click
import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from tqdm import tqdm

from benchmarks.unsupervised import read_rows
from fasthash.data import load_dataset
from fasthash.evaluate import mean_average_precision
from fasthash.hashers import ITQ
from fasthash.recipes.domains import comparable
from fasthash.recipes.igan import IGAN, IGANSettings, train_igan
from fasthash.recipes.protocols import split
from fasthash.recipes.training import write_csv

ADDED = {"L_c": "epsilon", "+ L_s": "beta", "+ L_h": "alpha", "+ L_a": "adversarial", "+ L_1": "chi"}
METHODS = ("source alone", "ITQ", *ADDED, "HSWD")
COLUMNS = {
    "accuracy": "accuracy",
    "mAP": "mAP",
    "mAP in source": "mAP_in_source",
    "mAP of classes": "mAP_of_classes",
    "information": "information",
}
PAPER = {  # accuracy
    ("mnist", "usps"): {"L_c": 0.855, "+ L_s": 0.895, "+ L_h": 0.903, "+ L_a": 0.961, "+ L_1": 0.968},
    ("usps", "mnist"): {"L_c": 0.618, "+ L_s": 0.888, "+ L_h": 0.895, "+ L_a": 0.972, "+ L_1": 0.978},
}
DRAWN = 1000  # items of a t-SNE


def settings_of(method, **common):
    """The settings of a row: the losses that it does not have yet have no weight."""
    if method == "HSWD":
        return IGANSettings(quantization="hswd", **common)
    n_added = (list(ADDED).index(method) + 1) if method in ADDED else 0
    return IGANSettings(**common, **dict.fromkeys(list(ADDED.values())[n_added:], 0.0))


def folder_of(runs, settings, method):
    return runs / f"{settings.source}-{settings.target}" / f"{method.replace(' ', '')}-{settings.seed}"


def prepared(source, target, settings):
    """Both domains as the recipe takes them, each with its parts."""
    domains = comparable("domain_adaptation", source, target, settings.image_size)
    return [(x, split(x, settings.protocol, settings.split_seed)) for x in domains]


def with_itq(source, target, settings, model):
    """What ITQ retrieves on the hidden features of a network trained on the source alone."""
    (ours, parts), (theirs, their_parts) = prepared(source, target, settings)

    def features(dataset, positions):
        with torch.inference_mode():
            batches = torch.from_numpy(dataset.items[positions]).split(512)
            return torch.cat([model.encoder.backbone(model.encoder.prepare(x)) for x in batches])

    hasher = ITQ(settings.bits, seed=settings.seed).fit(features(ours, parts.train))
    database = {
        "mAP": (theirs, their_parts.database),
        "mAP_in_source": (ours, parts.database),
    }
    codes = hasher.encode(features(theirs, their_parts.query))
    labels = torch.from_numpy(theirs.labels[their_parts.query])
    return {
        name: mean_average_precision(
            codes, labels, hasher.encode(features(x, positions)), torch.from_numpy(x.labels[positions])
        )
        for name, (x, positions) in database.items()
    }


def rows_of(source, target, settings, method, runs):
    """The row of a method; with the source alone, ITQ's as well."""
    start = time.process_time()
    run = train_igan(
        settings,
        source=source,
        target=target,
        device="cpu",
        out=folder_of(runs, settings, method),
        resume=True,
    )
    named = {"method": method, "seed": settings.seed, "epochs": settings.epochs}
    yield {**named, **rounded(run.results), "cpu_s": round(time.process_time() - start)}
    if method == "source alone":
        start = time.process_time()
        results = with_itq(source, target, settings, run.model)
        yield {**named, "method": "ITQ", **rounded(results), "cpu_s": round(time.process_time() - start)}


def rounded(results):
    return {name: round(value, 5) for name, value in results.items()}


def values(rows, method, column):
    return [row[column] for row in rows if row["method"] == method and column in row]


def table(rows, pair):
    """Markdown, a row a method: mean and deviation over the seeds, the paper's accuracy, and what was gained."""
    lines = [f"| | seeds | {' | '.join(COLUMNS)} | paper's accuracy |", "| --- " * (len(COLUMNS) + 3) + "|"]
    for method in METHODS:
        cells = [str(len(values(rows, method, "mAP")))]
        for column in COLUMNS.values():
            each = values(rows, method, column)
            cells.append(f"{np.mean(each):.3f} ± {np.std(each):.3f}" if each else "")
        paper = PAPER.get(pair, {}).get(method)
        lines.append(f"| {method} | {' | '.join(cells)} | {'' if paper is None else f'{paper:.3f}'} |")
    alone = np.mean(values(rows, "source alone", "accuracy"))
    whole = np.mean(values(rows, "+ L_1", "accuracy"))
    return [*lines, "", f"All losses against the source alone: {100 * (whole - alone):+.1f} points of accuracy."]


def report(tables, epochs, options):
    default = settings_of("+ L_1", epochs=epochs)
    weights = ("alpha", "beta", "chi", "adversarial", "epsilon", "threshold", "v", "learning_rate")
    cpu = sum(row["cpu_s"] for rows in tables.values() for row in rows) / 60
    lines = [
        "# Domain-adaptive hashing: IGAN",
        "",
        f"Written by `python -m benchmarks.domain_adaptation{options}` in {cpu:.0f} minutes of one core.",
        f"{default.bits} bits, images of {default.image_size} x {default.image_size}, {default.epochs} passes over the "
        f"smaller domain in batches of {default.batch_size}, {default.source_epochs} of them from the source alone.",
        f"Weights: {', '.join(f'{name} {getattr(default, name):g}' for name in weights)}.",
        "Training: the training parts of both domains, but for a tenth each, the target's without labels. Queries: the "
        "target's test part.",
        "mAP: in the target's training items; in source: in the source's; of classes: by predicted class, in the "
        "target's. Information: of the target's predictions, in nats (at most 2.30).",
        "ITQ: on the 128 hidden features of the network trained on the source alone. HSWD: all losses, the "
        "quantisation term exchanged.",
    ]
    for (source, target), rows in tables.items():
        lines += ["", f"## {source} to {target}", "", *table(rows, (source, target))]
    return lines


def figure(source, target, settings, runs):
    """Codes before and after by t-SNE, reconstructions in both directions, losses."""
    after_folder = folder_of(runs, settings, "+ L_1")
    before, after = (
        IGAN.load(folder_of(runs, settings, method) / "igan.safetensors") for method in ("source alone", "+ L_1")
    )
    (ours, parts), (theirs, their_parts) = prepared(source, target, settings)
    generator = np.random.default_rng(0)
    chosen = [
        np.sort(generator.choice(x, min(DRAWN // 2, len(x)), replace=False)) for x in (parts.query, their_parts.query)
    ]
    items = [torch.from_numpy(x.items[y]) for x, y in zip((ours, theirs), chosen, strict=True)]
    labels = np.concatenate([x.labels[y] for x, y in zip((ours, theirs), chosen, strict=True)])
    is_target = np.repeat([False, True], [len(x) for x in items])
    result = Figure(figsize=(12, 13), layout="constrained")
    result.suptitle(f"{ours.name} to {theirs.name}, seed {settings.seed}")
    top, middle, bottom = result.subfigures(3, 1, height_ratios=(5, 5, 3))
    for axes, model, title in zip(
        top.subplots(1, 2), (before, after), ("trained on the source alone", "adapted"), strict=True
    ):
        with torch.inference_mode():
            u = torch.cat([model.hash(model.encoder.prepare(x)) for x in items]).numpy()
        places = TSNE(random_state=0).fit_transform(u)
        for which, marker, name in ((~is_target, ".", ours.name), (is_target, "x", theirs.name)):
            axes.scatter(
                *places[which].T, c=labels[which], cmap="tab10", marker=marker, s=14, linewidths=0.7, label=name
            )
        axes.set(title=f"t-SNE of u: {title}", xticks=[], yticks=[])
        axes.legend()
    reconstructions(middle, after, items)
    losses = bottom.subplots()
    rows = read_rows(after_folder / "log.csv")
    for name in ("L_c", "L_h", "L_s", "L_a", "L_1", "D"):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        losses.plot(*zip(*points, strict=True), label=name)
    losses.set(xlabel="epoch", yscale="log", title="losses, before their weights")
    losses.legend(ncols=6)
    losses.grid(alpha=0.3)
    return result


def reconstructions(place, model, items):
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
                    axes.imshow((image.permute(1, 2, 0).squeeze() + 1) / 2, cmap="gray", vmin=0, vmax=1)
                    axes.set(xticks=[], yticks=[])
                grid[3 * row + line][0].set_ylabel(title, rotation=0, ha="right")


@click.command()
@click.argument("pairs", nargs=-1)
@click.option("--data-root", type=click.Path(path_type=Path))
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--epochs", type=click.IntRange(2), default=IGANSettings.epochs, show_default=True)
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default=Path("out/domain_adaptation"))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("benchmarks/results"))
def main(pairs, data_root, seeds, epochs, runs, out):
    """Fill and print the tables of PAIRS, <source>:<target> each; draw the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    tables = {}
    for pair in pairs or ("mnist:usps", "usps:mnist"):
        source, target = (load_dataset(name, data_root) for name in pair.split(":"))
        names = {"source": source.name, "target": target.name}
        path = out / f"domain_adaptation-{source.name}-{target.name}.csv"
        rows = read_rows(path)
        if any(row["epochs"] != epochs for row in rows):
            there = ", ".join(sorted({str(row["epochs"]) for row in rows}))
            raise click.ClickException(
                f"expected rows of {epochs} epochs in {path}, got those of {there}; name another --out"
            )
        done = {(row["seed"], row["method"]) for row in rows}
        wanted = [*itertools.product(range(seeds), [x for x in METHODS if x not in ("ITQ", "HSWD")])]
        wanted.append((0, "HSWD"))
        for seed, method in tqdm([run for run in wanted if run not in done], desc=pair):
            settings = settings_of(method, **names, seed=seed, epochs=epochs)
            rows += rows_of(source, target, settings, method, runs)
            write_csv(path, rows)
        tables[source.name, target.name] = rows
        drawn = settings_of("+ L_1", **names, epochs=epochs)
        if folder_of(runs, drawn, "+ L_1").exists():
            figure(source, target, drawn, runs).savefig(path.with_suffix(".png"), dpi=80)
    lines = report(tables, epochs, "".join(f" {pair}" for pair in pairs))
    (out / "domain_adaptation.md").write_text("\n".join(lines) + "\n")
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
