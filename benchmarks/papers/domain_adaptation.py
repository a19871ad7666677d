"""IGAN's table 4 and what its codes retrieve: losses added one at a time, from one set of digits to another.

`python -m benchmarks.papers.domain_adaptation` (from the repository's root) trains MNIST to USPS and USPS to MNIST;
other pairs of data sets are named as <source>:<target>. Pairs that are named one by one can run side by side.
"""

from __future__ import annotations

import functools
import itertools
import time

import click

from benchmarks.papers.adapted import domains_of, with_itq
from benchmarks.papers.grid import Cell, Grid
from benchmarks.papers.options import command, name_of
from benchmarks.papers.pictures import adaptation
from benchmarks.papers.tables import Mean, Paper, means, read_rows, rounded, seeds_of, table, write_markdown
from fasthash.recipes.igan.model import IGAN
from fasthash.recipes.settings import IGANSettings

ADDED = {"L_c": "epsilon", "+ L_s": "beta", "+ L_h": "alpha", "+ L_a": "adversarial", "+ L_1": "chi"}
PAPER = {  # accuracy
    ("mnist", "usps"): {"L_c": 0.855, "+ L_s": 0.895, "+ L_h": 0.903, "+ L_a": 0.961, "+ L_1": 0.968},
    ("usps", "mnist"): {"L_c": 0.618, "+ L_s": 0.888, "+ L_h": 0.895, "+ L_a": 0.972, "+ L_1": 0.978},
}
SHARED = ("epochs", "batch_size", "image_size", "network")  # by all rows
COLUMNS = {
    "seeds": seeds_of,
    "accuracy": Mean("accuracy"),
    "mAP": Mean("mAP"),
    "mAP in source": Mean("mAP_in_source"),
    "mAP of classes": Mean("mAP_of_classes"),
    "information": Mean("information"),
    "deviation, source": Mean("deviation_source", 2),
    "deviation, target": Mean("deviation_target", 2),
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


def trained(grid):
    """The rows of a pair, and its picture."""
    settings = grid.cells[0].settings

    @functools.cache
    def domains():
        return domains_of(grid, settings)

    def model(cell):
        return IGAN.load(grid.folder(cell) / "igan.safetensors")

    def work(cell):
        start = time.process_time()
        named = {**cell.key, **{name: getattr(cell.settings, name) for name in SHARED}}
        run = grid.train(cell)
        deviations = {name: value for name, value in run.history[-1].items() if name.startswith("deviation")}
        results = rounded({**run.results, **deviations}, 5)
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


def with_chosen(rows):
    """The rows, and after those of all losses again the one of them that an owner of unlabelled targets would keep."""
    best = max((row for row in rows if row["method"] == "+ L_1"), key=lambda row: row["information"])
    place = max(i for i, row in enumerate(rows) if row["method"] == "+ L_1") + 1
    return [*rows[:place], {**best, "method": "+ L_1, the seed of most information"}, *rows[place:]]


def report(tables, options):
    first = next(iter(tables.values()))[0]
    default = IGANSettings(**{name: first[name] for name in SHARED})
    weights = ("alpha", "beta", "chi", "adversarial", "epsilon", "threshold", "v", "learning_rate")
    minutes = sum(row["cpu_s"] for rows in tables.values() for row in rows) / 60
    lines = [
        "# Domain-adaptive hashing: IGAN",
        "",
        f"Written by `python -m benchmarks.papers.domain_adaptation{options}` in {minutes:.0f} minutes of one core.",
        f"{default.bits} bits, images of {default.image_size} x {default.image_size}, the encoder {default.network}, "
        f"{default.epochs} epochs of {default.epoch_steps} steps in batches of {default.batch_size}, "
        f"{default.source_epochs} of them from the source alone.",
        f"Weights: {', '.join(f'{name} {getattr(default, name):g}' for name in weights)}.",
        "Training: the training parts of both domains, but for a tenth each, the target's without labels. Queries: the "
        "target's test part.",
        "mAP: in the target's training items; in source: in the source's; of classes: by predicted class, in the "
        "target's. Information: of the target's predictions, in nats (at most 2.30); no label of the target is looked "
        "at.",
        "Deviation: how much what the source's and the target's generator makes differs from item to item, as a share "
        "of what real items do, in the last epoch.",
        "ITQ: on the hidden features of the network trained on the source alone. HSWD: all losses, the "
        "quantisation term exchanged.",
    ]
    for pair, rows in tables.items():
        paper = Paper({(method,): figure for method, figure in PAPER.get(pair, {}).items()})
        accuracy = means(rows, "accuracy", "method")
        gain = 100 * (accuracy["+ L_1",] - accuracy["source alone",])
        lines += ["", f"## {' to '.join(pair)}", ""]
        lines += table(with_chosen(rows), {"": "method"}, {**COLUMNS, "paper's accuracy": paper})
        lines += ["", f"All losses against the source alone: {gain:+.1f} points of accuracy."]
    return lines


def pairs_of_names(context, parameter, values):
    """The values of an argument, once each has proved to name two data sets."""
    for value in values:
        if len(value.split(":")) != 2 or not all(value.split(":")):
            raise click.BadParameter(f"expected <source>:<target>, got {value!r}", context, parameter)
    return values


@command(seeds=3, epochs=IGANSettings.epochs)
@click.argument("pairs", nargs=-1, callback=pairs_of_names)
@click.option("--batch-size", type=click.IntRange(1), default=IGANSettings.batch_size, show_default=True)
@click.option("--image-size", type=click.IntRange(4), default=IGANSettings.image_size, show_default=True)
@click.option("--network", default=IGANSettings.network, show_default=True, help="Encoder of images.")
def main(pairs, seeds, epochs, batch_size, image_size, network, options):
    """Fill and print the tables of PAIRS, <source>:<target> each; draw the pictures."""
    shared = {"epochs": epochs, "batch_size": batch_size, "image_size": image_size, "network": network}
    tables = {}
    for pair in pairs or ("mnist:usps", "usps:mnist"):
        source, target = pair.split(":")
        cells = list(cells_of(seeds, source=source, target=target, **shared))
        grid = Grid(f"domain_adaptation-{name_of(source)}-{name_of(target)}", cells, options)
        tables[name_of(source), name_of(target)] = trained(grid)
    if None not in tables.values():
        lines = report(tables, "".join(f" {pair}" for pair in pairs))
        write_markdown(options.out / "domain_adaptation.md", lines)


if __name__ == "__main__":
    main()
