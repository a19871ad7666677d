"""IGAN's tables 2 and 3: recognition and retrieval across three domains of photographs, from features of them.

`python -m benchmarks.papers.office31 amazon.npz webcam.npz dslr.npz` (from the repository's root) trains every ordered
pair; each file has the arrays features [n, d] and labels [n], as `fasthash.data` reads them. The paper's features are
AlexNet's fc6.
"""

from __future__ import annotations

import functools
import itertools

import click

from benchmarks.papers.adapted import domains_of, with_itq
from benchmarks.papers.grid import Cell, Grid
from benchmarks.papers.options import command, name_of
from benchmarks.papers.tables import Mean, Paper, rounded, table, write_markdown
from fasthash.recipes.igan.model import IGAN
from fasthash.recipes.settings import IGANSettings

CHI = 0.1  # of features; at 1 their reconstruction outweighs what tells classes apart
ALONE = {"adversarial": 0.0, "alpha": 0.0, "beta": 0.0, "chi": 0.0, "epsilon": 0.0}
PAPER_ACCURACY = {
    ("amazon", "webcam"): 0.795,
    ("amazon", "dslr"): 0.772,
    ("webcam", "amazon"): 0.622,
    ("dslr", "amazon"): 0.645,
}
PAPER_MAP = {  # of the source alone ("NoDA"), ITQ and IGAN
    ("webcam", "amazon"): (0.324, 0.465, 0.612),
    ("amazon", "webcam"): (0.511, 0.652, 0.738),
    ("amazon", "dslr"): (0.512, 0.643, 0.746),
}


def cells_of(domains, seeds, **common):
    """Every ordered pair of domains, on the source alone and adapted, with every seed."""
    for (source, target), method, seed in itertools.product(
        itertools.permutations(domains, 2), ("source alone", "IGAN"), range(seeds)
    ):
        weights = ALONE if method == "source alone" else {"chi": CHI}
        settings = IGANSettings(source=source, target=target, seed=seed, split_seed=seed, **common, **weights)
        yield Cell({"source": name_of(source), "target": name_of(target), "method": method, "seed": seed}, settings)


def trained(grid):
    """The rows of every pair."""

    @functools.cache
    def domains(source, target, split_seed):
        return domains_of(grid, cells[source, target, split_seed])

    cells = {(x.settings.source, x.settings.target, x.settings.split_seed): x.settings for x in grid.cells}

    def work(cell):
        settings = cell.settings
        yield {**cell.key, **rounded(grid.train(cell).results, 5)}
        if cell.key["method"] == "source alone":
            encoder = IGAN.load(grid.folder(cell) / "igan.safetensors").encoder
            found = with_itq(domains(settings.source, settings.target, settings.split_seed), settings, encoder)
            yield {**cell.key, "method": "ITQ", **rounded(found, 5)}

    return grid.run(work)


def report(rows, settings, names):
    pair = {"source": "source", "target": "target"}
    accuracy = {method: Mean("accuracy", 3, {"method": method}) for method in ("source alone", "IGAN")}
    retrieval = {method: Mean("mAP", 3, {"method": method}) for method in ("source alone", "ITQ", "IGAN")}
    papers = {
        f"paper's {method}": Paper({key: figures[i] for key, figures in PAPER_MAP.items()})
        for i, method in enumerate(retrieval)
    }
    return [
        "# Domain-adaptive hashing of photographs: IGAN",
        "",
        f"Written by `python -m benchmarks.papers.office31 {' '.join(names)}`. {settings.bits} bits, "
        f"{settings.epochs} epochs of {settings.epoch_steps} steps in batches of {settings.batch_size}.",
        "A seed is a split's and its trainings'. Training: 72 % of both domains, the target's without labels; queries: "
        "20 % of the target. The paper does not state its split.",
        "",
        *table(
            rows, pair, {**{f"accuracy, {x}": mean for x, mean in accuracy.items()}, "paper": Paper(PAPER_ACCURACY)}
        ),
        "",
        "mAP in the target's training items:",
        "",
        *table(rows, pair, {**{f"mAP, {x}": mean for x, mean in retrieval.items()}, **papers}),
    ]


@command(seeds=3, epochs=IGANSettings.epochs)
@click.argument("domains", nargs=-1, required=True)
@click.option("--batch-size", type=click.IntRange(1), default=310, show_default=True, help="10 times the classes.")
def main(domains, seeds, epochs, batch_size, options):
    """Fill and print both tables for all ordered pairs of DOMAINS, feature files or names of data sets."""
    cells = list(cells_of(domains, seeds, epochs=epochs, batch_size=batch_size))
    if not cells:
        raise click.ClickException(f"expected at least two domains, got {', '.join(domains)}")
    grid = Grid("office31", cells, options)
    rows = trained(grid)
    if rows is not None:
        write_markdown(grid.csv.with_suffix(".md"), report(rows, cells[0].settings, [name_of(x) for x in domains]))


if __name__ == "__main__":
    main()
