"""Codes from rotated principal components: what each rotation does to the distance to the signs and to retrieval.

`python -m benchmarks.rotations digits fashion_mnist cifar10` (from the repository's root) writes a table of these data
sets (see fasthash/data/README.md) to benchmarks/results. The features are the leading principal components of the
pixels.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import click
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from fasthash import _core, pack_bits
from fasthash.data import load_dataset
from fasthash.evaluate import mean_average_precision, precision_at
from fasthash.hashers import H2Q, ITQ, LSH

BITS = (16, 32, 64)
N_QUERIES = 1000
COLUMNS = ("data", "bits", "rotation", "l2", "mAP", "P@100", "fit_s")


def rotations(n_bits, seed):
    """Every method by name; none is None."""
    h2q = {f"H2Q {loss}": H2Q(n_bits, loss=loss, seed=seed) for loss in ("l2", "l1", "min_entry", "bit_var")}
    return {
        "none": None,
        "LSH": LSH(n_bits, seed=seed),
        "random": ITQ(n_bits, n_iterations=0, seed=seed),
        "ITQ": ITQ(n_bits, seed=seed),
        "ITQ, 300 iterations": ITQ(n_bits, n_iterations=300, seed=seed),
        **h2q,
        "H2Q l2, from ITQ": H2Q(n_bits, warm_start="itq", seed=seed),
    }


def database_and_queries(dataset, seed):
    """Pixels and labels: the training part and some of the test part, or of a set without parts, most and the rest."""
    pixels = dataset.items.reshape(len(dataset.items), -1)
    if "test" in dataset.splits:
        database, test = dataset.splits["train"], dataset.splits["test"]
        queries = np.random.default_rng(seed).choice(test, min(N_QUERIES, len(test)), replace=False)
    else:
        database, queries = train_test_split(
            np.arange(len(pixels)), test_size=297, stratify=dataset.labels, random_state=seed
        )
    return pixels[database], pixels[queries], dataset.labels[database], dataset.labels[queries]


def distance_to_signs(z):
    """The mean of (|z| - 1)^2 over elements, for rows scaled to length sqrt(n_bits)."""
    z = np.asarray(z, dtype=np.float64)
    z = z / np.linalg.norm(z, axis=1, keepdims=True) * z.shape[1] ** 0.5
    return ((np.abs(z) - 1) ** 2).mean()


def rows_of(name, database, queries, labels, query_labels, seed):
    pca = PCA(min(max(BITS), database.shape[1]), svd_solver="covariance_eigh").fit(database.astype(np.float32))
    database, queries = (pca.transform(x.astype(np.float32)) for x in (database, queries))
    for n_bits in BITS:
        x, q = np.ascontiguousarray(database[:, :n_bits]), np.ascontiguousarray(queries[:, :n_bits])
        for method, hasher in tqdm(rotations(n_bits, seed).items(), desc=f"{name}, {n_bits} bits", leave=False):
            start = time.perf_counter()
            if hasher is not None:
                hasher.fit(x)
            seconds = time.perf_counter() - start
            z, zq = (x, q) if hasher is None else (hasher.transform(x), hasher.transform(q))
            retrieval = (pack_bits(zq), query_labels, pack_bits(z), labels)
            yield {
                "data": name,
                "bits": n_bits,
                "rotation": method,
                "l2": f"{distance_to_signs(z):.4f}",
                "mAP": f"{mean_average_precision(*retrieval):.4f}",
                "P@100": f"{precision_at(100, *retrieval):.4f}",
                "fit_s": f"{seconds:.2f}" if hasher is not None else "",
            }


def markdown(rows, seed):
    lines = [
        "# Rotations of principal components",
        "",
        f"Written by `python -m benchmarks.rotations`, seed {seed}, {torch.get_num_threads()} threads, fasthash level "
        f"{_core.active_isa()}. The features are the leading principal components of the pixels, as many as bits; the",
        "database is the training split, the queries are 1,000 images of the test split (297 of the digits). l2 is the",
        "mean of (|z| - 1)^2 over the database, rows scaled to length sqrt(bits); fit_s are seconds.",
    ]
    question = None
    for row in rows:
        if (row["data"], row["bits"]) != question:
            question = row["data"], row["bits"]
            lines += ["", f"## {row['data']}, {row['bits']} bits", "", "| rotation | l2 | mAP | P@100 | fit s |"]
            lines.append("| --- " * 5 + "|")
        lines.append("| " + " | ".join(str(row[name]) for name in COLUMNS[2:]) + " |")
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("datasets", nargs=-1, required=True)
@click.option("--data-root", type=click.Path(path_type=Path), help="Where data sets are.  [default: FASTHASH_DATA]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("benchmarks/results"))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(datasets: tuple[str, ...], data_root: Path | None, out: Path, seed: int) -> None:
    """Compare rotations on the images of DATASETS."""
    rows = []
    for name in datasets:
        rows += rows_of(name, *database_and_queries(load_dataset(name, data_root), seed), seed)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "rotations.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (out / "rotations.md").write_text(markdown(rows, seed))
    click.echo(markdown(rows, seed))


if __name__ == "__main__":
    main()
