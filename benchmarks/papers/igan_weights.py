"""What IGAN's weights do to the evidence that needs no target label, one changed from its default at a time.

`python -m benchmarks.papers.igan_weights mnist usps` (from the repository's root) keeps the mutual information of
target item and predicted class and the share of pseudo-labelled items, both of the target's training items, the
accuracy on held-out source items, and how much generated items differ. Nothing else of a run is looked at.
"""

from __future__ import annotations

import click

from benchmarks.papers.grid import Cell, Grid
from benchmarks.papers.options import command, name_of
from benchmarks.papers.tables import Mean, rounded, table, write_markdown
from fasthash.recipes.settings import IGANSettings

OTHERS = {
    "alpha": (1.0, 0.3, 0.01),
    "beta": (0.1, 0.001),
    "adversarial": (1.0, 0.01),
    "chi": (10.0, 0.1),
    "epsilon": (1.0, 0.01),
    "threshold": (0.95, 0.8),
    "v": (0.1, 0.001),
    "learning_rate": (3e-4,),
}
DEFAULTS = {name: getattr(IGANSettings, name) for name in OTHERS}
SEED = 100  # none of the table's
EVIDENCE = ("information", "certain", "source_accuracy", "deviation_source", "deviation_target")


def report(rows, source, target):
    """A line a change from the first row's weights."""
    for row in rows:
        changes = (f"{name} {row[name]:g}" for name in DEFAULTS if row[name] != rows[0][name])
        row["change"] = ", ".join(changes) or "none"
    return [
        f"# IGAN's weights: {source} to {target}",
        "",
        f"Written by `python -m benchmarks.papers.igan_weights {source} {target}`, seed {SEED}: information in nats.",
        "",
        *table(rows, {"change": "change"}, {name.replace("_", " "): Mean(name, 4) for name in EVIDENCE}),
    ]


@command(epochs=IGANSettings.epochs)
@click.argument("source")
@click.argument("target")
def main(source, target, epochs, options):
    """Train with one weight after the other changed, and keep the evidence."""
    common = {"source": source, "target": target, "epochs": epochs, "stages": 1, "seed": SEED}
    changes = [{}, *({name: value} for name, values in OTHERS.items() for value in values)]
    cells = [
        Cell({"change": " ".join(f"{name}={value}" for name, value in change.items()) or "none"}, settings)
        for change in changes
        for settings in [IGANSettings(**common, **change)]
    ]
    grid = Grid(f"igan_weights-{name_of(source)}-{name_of(target)}", cells, options)

    def work(cell):
        run = grid.train(cell)
        results = run.results | run.history[-1]
        yield {name: getattr(cell.settings, name) for name in DEFAULTS} | rounded(
            {name: results[name] for name in EVIDENCE if name in results}, 4
        )

    rows = grid.run(work)
    if rows is not None:
        write_markdown(grid.csv.with_suffix(".md"), report(rows, name_of(source), name_of(target)))


if __name__ == "__main__":
    main()
