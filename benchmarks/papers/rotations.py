"""Codes from rotated principal components: what each rotation does to the distance to the signs and to retrieval.

`python -m benchmarks.papers.rotations digits fashion_mnist cifar10` (from the repository's root) compares them on the
leading principal components of the pixels, as many as bits.
"""

from __future__ import annotations

import functools
import itertools
import time

import click
import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from benchmarks.papers.grid import Cell, Grid
from benchmarks.papers.options import command, name_of
from benchmarks.papers.tables import Mean, seeds_used, table, write_markdown
from fasthash import pack_bits
from fasthash.evaluate import mean_average_precision, precision_at
from fasthash.hashers import H2Q, ITQ, LSH

N_QUERIES = 1000
COLUMNS = {"l2": Mean("l2", 4), "mAP": Mean("mAP", 4), "P@100": Mean("P@100", 4), "fit s": Mean("fit_s", 2)}
ROTATIONS = {
    "none": lambda n_bits, seed: None,
    "LSH": lambda n_bits, seed: LSH(n_bits, random_state=seed),
    "random": lambda n_bits, seed: ITQ(n_bits, n_iterations=0, random_state=seed),
    "ITQ": lambda n_bits, seed: ITQ(n_bits, random_state=seed),
    "ITQ, 300 iterations": lambda n_bits, seed: ITQ(n_bits, n_iterations=300, random_state=seed),
    **{
        f"H2Q {loss}": lambda n_bits, seed, loss=loss: H2Q(n_bits, loss=loss, random_state=seed)
        for loss in ("l2", "l1", "min_entry", "bit_var")
    },
    "H2Q l2, from ITQ": lambda n_bits, seed: H2Q(n_bits, init="itq", random_state=seed),
}


def database_and_queries(dataset, seed):
    """Positions: the training part and some of the test part, or of a set without parts, most and the rest."""
    if "test" in dataset.splits:
        database, test = dataset.splits["train"], dataset.splits["test"]
        return database, np.random.default_rng(seed).choice(test, min(N_QUERIES, len(test)), replace=False)
    positions = np.arange(len(dataset.items))
    return train_test_split(positions, test_size=297, stratify=dataset.labels, random_state=seed)


def distance_to_signs(z):
    """The mean of (|z| - 1)^2 over elements, for rows scaled to length sqrt(n_bits)."""
    z = np.asarray(z, dtype=np.float64)
    z = z / np.linalg.norm(z, axis=1, keepdims=True) * z.shape[1] ** 0.5
    return ((np.abs(z) - 1) ** 2).mean()


def measured(hasher, x, labels, queries, query_labels):
    """The row of a rotation, None for none."""
    start = time.perf_counter()
    if hasher is not None:
        hasher.fit(x)
    seconds = time.perf_counter() - start
    z, zq = (x, queries) if hasher is None else (hasher.transform(x), hasher.transform(queries))
    retrieval = (pack_bits(zq), query_labels, pack_bits(z), labels)
    return {
        "l2": f"{distance_to_signs(z):.4f}",
        "mAP": f"{mean_average_precision(*retrieval):.4f}",
        "P@100": f"{precision_at(100, *retrieval):.4f}",
        "fit_s": f"{seconds:.2f}" if hasher is not None else "",
    }


def report(rows, facts):
    lines = [
        "# Rotations of principal components",
        "",
        f"Written by `python -m benchmarks.papers.rotations`, {seeds_used(rows)}, "
        f"{facts['threads']} threads, fasthash level {facts['level']}. The features are the leading principal "
        "components of the pixels, as many as bits; the",
        "database is the training split, the queries are 1,000 images of the test split (297 of the digits). l2 is the",
        "mean of (|z| - 1)^2 over the database, rows scaled to length sqrt(bits); fit_s are seconds.",
    ]
    for data, n_bits in dict.fromkeys((row["data"], row["bits"]) for row in rows):
        chosen = [row for row in rows if (row["data"], row["bits"]) == (data, n_bits)]
        lines += ["", f"## {data}, {n_bits} bits", "", *table(chosen, {"rotation": "rotation"}, COLUMNS)]
    return lines


@command(bits=(16, 32, 64), seeds=1)
@click.argument("datasets", nargs=-1, required=True)
def main(datasets, bits, seeds, options):
    """Compare rotations on the images of DATASETS."""
    by_name = {name_of(dataset): dataset for dataset in datasets}
    cells = [
        Cell({"data": data, "bits": n_bits, "rotation": rotation, "seed": seed}, given={"dataset": by_name[data]})
        for data, n_bits, rotation, seed in itertools.product(by_name, bits, ROTATIONS, range(seeds))
    ]
    grid = Grid("rotations", cells, options)

    @functools.cache
    def components(data, seed):
        """Of database and queries, with the labels of each."""
        dataset = options.load(by_name[data])
        pixels = dataset.items.reshape(len(dataset.items), -1).astype(np.float32)
        database, queries = database_and_queries(dataset, seed)
        pca = PCA(min(max(bits), pixels.shape[1]), svd_solver="covariance_eigh").fit(pixels[database])
        return [(pca.transform(pixels[x]), dataset.labels[x]) for x in (database, queries)]

    def work(cell):
        data, n_bits, rotation, seed = cell.key.values()
        (x, labels), (queries, query_labels) = components(data, seed)
        x, queries = (np.ascontiguousarray(each[:, :n_bits]) for each in (x, queries))
        yield {**cell.key, **measured(ROTATIONS[rotation](n_bits, seed), x, labels, queries, query_labels)}

    rows = grid.run(work)
    if rows is not None:
        write_markdown(options.out / "rotations.md", report(rows, grid.facts()))


if __name__ == "__main__":
    main()
