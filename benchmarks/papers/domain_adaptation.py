"""IGAN's table 4 and what its codes retrieve: losses added one at a time, from one set of digits to another.

`python -m benchmarks.papers.domain_adaptation` (from the repository's root) trains MNIST to USPS and USPS to MNIST;
other pairs of data sets are named as <source>:<target>. Pairs that are named one by one can run side by side.
"""

from __future__ import annotations

import functools
import itertools
import time

import click
from torch import nn

from benchmarks.papers.grid import Cell, Grid
from benchmarks.papers.options import command, name_of
from benchmarks.papers.pictures import adaptation
from benchmarks.papers.tables import Mean, Paper, means, read_rows, rounded, seeds_of, table, write_markdown
from fasthash.evaluate import mean_average_precision
from fasthash.hashers import ITQ
from fasthash.recipes.batches import Loaded
from fasthash.recipes.evaluation import network_outputs
from fasthash.recipes.igan.domains import comparable
from fasthash.recipes.igan.model import IGAN
from fasthash.recipes.protocols import split
from fasthash.recipes.settings import IGANSettings

ADDED = {"L_c": "epsilon", "+ L_s": "beta", "+ L_h": "alpha", "+ L_a": "adversarial", "+ L_1": "chi"}
PAPER = {  # accuracy
    ("mnist", "usps"): {"L_c": 0.855, "+ L_s": 0.895, "+ L_h": 0.903, "+ L_a": 0.961, "+ L_1": 0.968},
    ("usps", "mnist"): {"L_c": 0.618, "+ L_s": 0.888, "+ L_h": 0.895, "+ L_a": 0.972, "+ L_1": 0.978},
}
COLUMNS = {
    "seeds": seeds_of,
    "accuracy": Mean("accuracy"),
    "mAP": Mean("mAP"),
    "mAP in source": Mean("mAP_in_source"),
    "mAP of classes": Mean("mAP_of_classes"),
    "information": Mean("information"),
}


def settings_of(method, **common):
    """The settings of a row: the losses that it does not have yet have no weight."""
    if method == "HSWD":
        return IGANSettings(quantization="hswd", **common)
    n_added = (list(ADDED).index(method) + 1) if method in ADDED else 0
    return IGANSettings(**common, **dict.fromkeys(list(ADDED.values())[n_added:], 0.0))


def cells_of(seeds, **common):
    """The losses with every seed, HSWD with one."""
    for seed, method in [*itertools.product(range(seeds), ("source alone", *ADDED)), (0, "HSWD")]:
        yield Cell({"method": method, "seed": seed}, settings_of(method, seed=seed, **common))


def with_itq(domains, settings, encoder):
    """What ITQ retrieves on the hidden features of a network trained on the source alone."""
    (ours, parts), (theirs, their_parts) = domains
    chosen = (ours, parts.train), (theirs, their_parts.query), (theirs, their_parts.database), (ours, parts.database)
    train, *asked_and_searched = (Loaded(x.items, x.labels, positions) for x, positions in chosen)
    encoder.head = nn.Identity()
    hasher = ITQ(settings.bits, random_state=settings.seed).fit(network_outputs(encoder, train))
    query, *searched = ((hasher.encode(network_outputs(encoder, x)), x.labels) for x in asked_and_searched)
    maps = (mean_average_precision(*query, *database) for database in searched)
    return dict(zip(("mAP", "mAP_in_source"), maps, strict=True))


def trained(grid):
    """The rows of a pair, and its picture."""
    settings = grid.cells[0].settings

    @functools.cache
    def domains():
        loaded = (grid.options.load(name) for name in (settings.source, settings.target))
        both = comparable(*loaded, settings.image_size)
        return [(x, split(x, settings.protocol, settings.split_seed)) for x in both]

    def model(cell):
        return IGAN.load(grid.folder(cell) / "igan.safetensors")

    def work(cell):
        start = time.process_time()
        named = {**cell.key, "epochs": cell.settings.epochs}
        results = rounded(grid.train(cell).results, 5)
        yield {**named, **results, "cpu_s": round(time.process_time() - start)}
        if cell.key["method"] == "source alone":
            start = time.process_time()
            results = rounded(with_itq(domains(), cell.settings, model(cell).encoder), 5)
            yield {**named, "method": "ITQ", **results, "cpu_s": round(time.process_time() - start)}

    rows = grid.run(work)
    if rows is not None and not grid.options.tables_only:
        before, *_, after = (cell for cell in grid.cells if cell.key["seed"] == 0 and cell.key["method"] != "HSWD")
        title = f"{' to '.join(x.name for x, _ in domains())}, seed 0"
        log = read_rows(grid.folder(after) / "log.csv")
        adaptation(domains(), (model(before), model(after)), log, title).savefig(grid.csv.with_suffix(".png"), dpi=80)
    return rows


def report(tables, options):
    first = next(iter(tables.values()))[0]
    default = IGANSettings(epochs=first["epochs"])
    weights = ("alpha", "beta", "chi", "adversarial", "epsilon", "threshold", "v", "learning_rate")
    minutes = sum(row["cpu_s"] for rows in tables.values() for row in rows) / 60
    lines = [
        "# Domain-adaptive hashing: IGAN",
        "",
        f"Written by `python -m benchmarks.papers.domain_adaptation{options}` in {minutes:.0f} minutes of one core.",
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
    for pair, rows in tables.items():
        paper = Paper({(method,): figure for method, figure in PAPER.get(pair, {}).items()})
        accuracy = means(rows, "accuracy", "method")
        gain = 100 * (accuracy["+ L_1",] - accuracy["source alone",])
        lines += ["", f"## {' to '.join(pair)}", ""]
        lines += table(rows, {"": "method"}, {**COLUMNS, "paper's accuracy": paper})
        lines += ["", f"All losses against the source alone: {gain:+.1f} points of accuracy."]
    return lines


@command(seeds=3, epochs=IGANSettings.epochs)
@click.argument("pairs", nargs=-1)
def main(pairs, seeds, epochs, options):
    """Fill and print the tables of PAIRS, <source>:<target> each; draw the pictures."""
    tables = {}
    for pair in pairs or ("mnist:usps", "usps:mnist"):
        source, target = pair.split(":")
        cells = list(cells_of(seeds, source=source, target=target, epochs=epochs))
        grid = Grid(f"domain_adaptation-{name_of(source)}-{name_of(target)}", cells, options)
        tables[name_of(source), name_of(target)] = trained(grid)
    if None not in tables.values():
        lines = report(tables, "".join(f" {pair}" for pair in pairs))
        write_markdown(options.out / "domain_adaptation.md", lines)


if __name__ == "__main__":
    main()
