"""What IGAN's weights do to the evidence that needs no target label, one changed from its default at a time.

`python -m benchmarks.igan_weights mnist usps` (from the repository's root) writes igan_weights-mnist-usps.csv to
benchmarks/results: the mutual information of target item and predicted class and the share of pseudo-labelled items,
both of the target's training items, and the accuracy on held-out source items. Nothing else of a run is looked at. A
row is kept as soon as it is known and not computed again.
"""

from __future__ import annotations

from pathlib import Path

import click
from tqdm import tqdm

from benchmarks.unsupervised import read_rows
from fasthash.data import load_dataset
from fasthash.recipes.igan import IGANSettings, train_igan
from fasthash.recipes.training import write_csv

OTHERS = {
    "alpha": (1.0, 0.3, 0.01),
    "beta": (0.1, 0.001),
    "adversarial": (1.0, 0.01),
    "chi": (1.0, 0.01),
    "epsilon": (1.0, 0.01),
    "threshold": (0.95, 0.8),
    "v": (0.1, 0.001),
    "learning_rate": (3e-4,),
}
DEFAULTS = {name: getattr(IGANSettings, name) for name in OTHERS}
SEED = 100  # none of the table's
EVIDENCE = ("information", "certain", "source_accuracy")


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--data-root", type=click.Path(path_type=Path))
@click.option("--epochs", type=click.IntRange(1), default=12, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("benchmarks/results"))
def main(source, target, data_root, epochs, out):
    """Train with one weight after the other changed, and keep the evidence."""
    out.mkdir(parents=True, exist_ok=True)
    domains = {"source": load_dataset(source, data_root), "target": load_dataset(target, data_root)}
    path = out / f"igan_weights-{source}-{target}.csv"
    rows = read_rows(path)
    done = [{name: row[name] for name in DEFAULTS} for row in rows]
    changed = [DEFAULTS | {name: value} for name, values in OTHERS.items() for value in values]
    for weights in tqdm([x for x in (DEFAULTS, *changed) if x not in done]):
        settings = IGANSettings(**weights, epochs=epochs, stages=1, seed=SEED)
        results = train_igan(settings, **domains, device="cpu").results
        rows.append(weights | {name: round(results[name], 4) for name in EVIDENCE})
        write_csv(path, rows)


if __name__ == "__main__":
    main()
